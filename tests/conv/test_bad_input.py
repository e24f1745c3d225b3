"""What cannot be right is refused before any work, with what was given and what was expected."""

import re
from typing import Any

import pytest
import torch
from torch import Tensor

from pyg_equiformer import EquiformerConv
from pyg_equiformer.conv import EdgeDegreeEmbedding

from .samples import make_conv, make_graph

SETTINGS: dict[str, Any] = {"irreps_in": "4x0e+2x1e", "irreps_sh": "0e+1e", "edge_dim": 3, "heads": 2}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"irreps_in": "4x0z"}, "must be irreps such as '16x0e+8x1e', got '4x0z'"),
        ({"irreps_in": ""}, "must hold at least one irrep"),
        ({"irreps_out": "nonsense"}, "must be irreps such as"),
        ({"irreps_pre_attn": "nonsense"}, "irreps_pre_attn must be irreps such as"),
        ({"irreps_head": "nonsense"}, "irreps_head must be irreps such as"),
        ({"irreps_sh": "2x0e"}, "irreps_sh must hold each irrep once"),
        ({"heads": 3}, "heads=3 does not divide the channels 4x0e, 2x1e of irreps_in"),
        ({"heads": 0}, "heads must be at least 1, got 0"),
        ({"irreps_head": "2x1e"}, "irreps_head needs 0e channels for attention='mlp', got 2x1e"),
        ({"irreps_in": "4x1e"}, "irreps_head needs 0e channels for attention='mlp', got 2x1e"),
        ({"attention": "softmax"}, "attention must be one of ('mlp', 'dot', 'distance'), got 'softmax'"),
        ({"message": "quadratic"}, "message must be 'nonlinear' or 'linear', got 'quadratic'"),
        ({"edge_dim": 0}, "edge_dim must be at least 1, got 0"),
        ({"attn_dropout": 1.0}, "attn_dropout must be at least 0 and less than 1, got 1.0"),
        ({"attn_dropout": -0.5}, "attn_dropout must be at least 0 and less than 1, got -0.5"),
        ({"proj_dropout": 1.5}, "dropout must be at least 0 and less than 1, got 1.5"),
        ({"drop_path": 1.0}, "drop_path must be at least 0 and less than 1, got 1.0"),
        ({"flow": "sideways"}, "sideways"),
        ({"irreps_sh": "5e"}, "never gives any of"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict[str, Any], message: str) -> None:
    settings = {**SETTINGS, **changes}
    with pytest.raises(ValueError, match=re.escape(message)):
        EquiformerConv(settings.pop("irreps_in"), **settings)


def test_a_setting_that_does_not_exist_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="num_heads"):
        EquiformerConv("4x0e", irreps_sh="0e", edge_dim=3, num_heads=2)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("x", lambda v: v[:, :-1], "x must have shape [N, 20] for irreps 4x0e+2x1e+2x2e, got shape (6, 19)"),
        ("x", lambda v: v[0], "x must have shape [N, 20] for irreps 4x0e+2x1e+2x2e, got shape (20,)"),
        ("x", lambda v: v.numpy(), "x must have shape [N, 20] for irreps 4x0e+2x1e+2x2e, got ndarray"),
        ("x", lambda v: (v, v[:, 1:]), "got shape (6, 19)"),
        ("x", lambda v: (v[:2], v), "edge_index[0] must lie in [0, 2), got values from 0 to 4"),
        ("edge_index", lambda v: v + 3, "edge_index[0] must lie in [0, 6), got values from 3 to 7"),
        ("edge_index", lambda v: v - 1, "edge_index[0] must lie in [0, 6), got values from -1 to 3"),
        ("edge_index", lambda v: v + torch.tensor([[0], [2]]), "edge_index[1] must lie in [0, 6), got values from"),
        ("edge_index", lambda v: v.double(), "edge_index must be int64, got torch.float64"),
        ("edge_index", lambda v: v.bool(), "edge_index must be int64, got torch.bool"),
        ("edge_index", lambda v: v.t(), "edge_index must have shape [2, E], got (14, 2)"),
        ("edge_index", lambda v: v[0], "edge_index must have shape [2, E], got (14,)"),
        ("edge_index", lambda v: v.tolist(), "edge_index must be a tensor [2, E], EdgeIndex or SparseTensor, got"),
        ("edge_index", lambda v: torch.eye(6).to_sparse(), "edge_index must be a tensor [2, E], EdgeIndex or"),
        ("edge_sh", lambda v: v[1:], "edge_sh must have shape [14, 9], got (13, 9)"),
        ("edge_sh", lambda v: v[:, :4], "edge_sh must have shape [14, 9], got (14, 4)"),
        ("edge_sh", lambda v: None, "edge_sh must have shape [14, 9], got NoneType"),
        ("edge_attr", lambda v: v[1:], "edge_attr must have shape [14, 3], got (13, 3)"),
        ("edge_attr", lambda v: v[:, 0], "edge_attr must have shape [14, 3], got (14,)"),
        ("edge_attr", lambda v: None, "edge_attr must have shape [14, 3], got NoneType"),
        ("edge_weight", lambda v: torch.ones(14, 1), "edge_weight must have shape [14], got (14, 1)"),
        ("edge_weight", lambda v: torch.ones(3), "edge_weight must have shape [14], got (3,)"),
    ],
)
def test_inputs_of_the_wrong_shape_type_or_range_are_refused(name: str, change: Any, message: str) -> None:
    conv = make_conv()
    inputs = make_graph(conv)._asdict()
    inputs[name] = change(inputs.get(name))
    with pytest.raises(ValueError, match=re.escape(message)):
        conv(**inputs)


@pytest.mark.parametrize("flow", ["source_to_target", "target_to_source"])
def test_ranges_of_bipartite_edges_are_those_of_their_own_side(flow: str) -> None:
    conv = make_conv(flow=flow)
    x, _, edge_sh, edge_attr = make_graph(conv, torch.tensor([[0, 1], [4, 3]]), num_nodes=5)
    pair: tuple[Tensor, Tensor] = (x[:2], x)
    conv(pair, torch.tensor([[0, 1], [4, 3]]), edge_sh, edge_attr)
    with pytest.raises(ValueError, match=re.escape("edge_index[0] must lie in [0, 2), got values from 3 to 4")):
        conv(pair, torch.tensor([[4, 3], [0, 1]]), edge_sh, edge_attr)


def test_edge_degree_embedding_needs_scalars_in_its_output() -> None:
    with pytest.raises(ValueError, match="irreps_out needs 0e channels for the edge-degree embedding, got 2x1e"):
        EdgeDegreeEmbedding("2x1e", irreps_sh="0e+1e", edge_dim=3)
    with pytest.raises(ValueError, match="irreps_sh must hold each irrep once"):
        EdgeDegreeEmbedding("2x0e", irreps_sh="2x0e", edge_dim=3)
