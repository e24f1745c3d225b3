"""A block is its two branches, each with a norm before it or on both sides."""

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradgradcheck

from pyg_equiformer import EquiformerBlock
from pyg_equiformer.testing import assert_equivariant

IRREPS, SH = "4x0e+2x1o+2x1e+1x2e", "0e+1o+2e"
GRAPHS = {"batch": torch.tensor([0, 0, 0, 1, 1]), "num_graphs": 2}
EDGE_INDEX = torch.tensor([[1, 2, 0, 2, 0, 1, 4, 3], [0, 0, 1, 1, 2, 2, 3, 4]])


def block_of(irreps_out: str | None = None, **settings: Any) -> EquiformerBlock:
    """Float64, with random norms and biases."""
    torch.manual_seed(0)
    block = EquiformerBlock(
        IRREPS, irreps_out=irreps_out, irreps_sh=SH, edge_dim=5, heads=2, irreps_head="2x0e+1x1o+1x1e+1x2e", **settings
    ).double()
    for parameter in block.parameters():
        if parameter.dim() <= 1:
            torch.nn.init.normal_(parameter, std=0.5)
    return block.eval()


def inputs() -> tuple[Tensor, dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return normal(5, 21), {"edge_index": EDGE_INDEX, "edge_sh": normal(8, 9), "edge_attr": normal(8, 5)}


@pytest.mark.parametrize("irreps_out", [None, "6x0e", "3x0e+2x1o"])
@pytest.mark.parametrize("position", ["pre", "sandwich"])
@pytest.mark.parametrize("norm", ["layer", "rms", "merged", "graph"])
def test_is_the_equation_of_its_two_branches(norm: str, position: str, irreps_out: str | None) -> None:
    block = block_of(irreps_out, norm=norm, norm_position=position)
    block.attn.register_forward_hook(lambda *_: None)  # all types are computed then
    x, edges = inputs()
    y = block.attn(block.norm_attn(x, **GRAPHS), **edges)
    h = x + (y if block.norm_attn_out is None else block.norm_attn_out(y, **GRAPHS))
    y = block.ffn(block.norm_ffn(h, **GRAPHS))
    y = y if block.norm_ffn_out is None else block.norm_ffn_out(y, **GRAPHS)
    expected = y + (h if block.shortcut is None else block.shortcut(h))
    assert (block.norm_attn_out is None) == (block.norm_ffn_out is None) == (position == "pre")
    assert torch.allclose(block(x, **edges, **GRAPHS), expected, rtol=1e-12, atol=1e-12)


CASES = [
    {"norm": norm, "norm_position": position, "ffn_activation": activation, "ffn_norms": norms}
    for norm, position, activation, norms in product(
        ["layer", "rms", "merged", "instance"], ["pre", "sandwich"], ["gate", "norm"], [False, True]
    )
]


@pytest.mark.parametrize("settings", CASES, ids=lambda s: "-".join(map(str, s.values())))
def test_every_combination_is_equivariant_and_what_is_not_needed_is_not_missed(settings: dict[str, Any]) -> None:
    block = block_of("6x0e", **settings)
    x, edges = inputs()
    sh = edges.pop("edge_sh")
    assert_equivariant(
        block, x=x, equivariant={"edge_sh": (SH, sh)}, invariant={**edges, **GRAPHS}, trials=1, tolerance=1e-9
    )
    out = block(x, edge_sh=sh, **edges, **GRAPHS)
    block.attn.register_forward_hook(lambda *_: None)
    assert torch.allclose(out, block(x, edge_sh=sh, **edges, **GRAPHS), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("parity", ["kept", "ignored"])
@pytest.mark.parametrize(
    ("settings", "all_types"),
    [
        ({}, False),
        ({"norm": "rms", "norm_position": "sandwich", "ffn_activation": "norm"}, False),
        ({"norm": "merged"}, True),
        ({"ffn_norms": True}, True),
    ],
    ids=str,
)
def test_types_that_nobody_looks_at_are_left_out_only_where_types_do_not_mix(
    settings: dict[str, Any], all_types: bool, parity: str
) -> None:
    attn = block_of("6x0e", parity=parity, **settings).attn
    needed = attn.conv.needed if parity == "ignored" else attn.needed
    assert (len(needed) > 1) == (all_types or parity == "ignored")  # old layers compute everything


@pytest.mark.parametrize("position", ["pre", "sandwich"])
def test_a_dropped_branch_adds_nothing(position: str) -> None:
    block = block_of(norm_position=position, drop_path=1 - 1e-12).train()
    x, edges = inputs()
    assert torch.equal(block(x, **edges, **GRAPHS), x)


@pytest.mark.parametrize("position", ["pre", "sandwich"])
def test_a_norm_does_not_undo_the_scale_of_branches_that_are_kept(position: str) -> None:
    block = block_of(norm_position=position, drop_path=0.5)
    x, edges = inputs()
    y = block.attend(block.layout_in.split(x), graphs=GRAPHS, **edges)
    block.train()
    torch.manual_seed(0)
    found = set()
    for _ in range(30):
        drawn = block.attend(block.layout_in.split(x), graphs=GRAPHS, **edges)
        found.add(round((drawn[0][0] / y[0][0]).mean().item(), 9))
    assert found == {0.0, 2.0}


@pytest.mark.parametrize("settings", CASES[-1:] + CASES[15:16], ids=str)
def test_second_derivatives_pass_gradgradcheck(settings: dict[str, Any]) -> None:
    block = block_of("1x0e+1x1o", **{**settings, "message": "linear"})
    x, edges = inputs()
    sh = edges.pop("edge_sh")
    assert gradgradcheck(
        lambda x, sh: block(x, edge_sh=sh, **edges, **GRAPHS), (x.requires_grad_(), sh.requires_grad_()), fast_mode=True
    )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"norm_position": "post"}, r"norm_position must be one of \('pre', 'sandwich'\), got 'post'"),
        ({"norm_position": "sandwich", "norm": "none"}, "norm_position='sandwich' needs a norm, got norm='none'"),
        ({"ffn_activation": "relu"}, "activation must be one of"),
        ({"norm": "batch"}, "norm must be one of"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        block_of(**settings)
