"""Dense tensors: the call that dense users know, masks, and the same numbers as the sparse network."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from pyg_equiformer import DenseEquiformer
from pyg_equiformer.dense import dense_edges
from pyg_equiformer.testing import random_rotation

KINDS: list[dict[str, Any]] = [
    {},
    {"attention": "dot"},
    {"attention": "distance"},
    {"attend_self": True, "kv_heads": 1},
    {"message": "linear", "num_neighbors": 3},
    {"reversible": True},
    {"linear_attention_heads": 1, "gate_heads": True},
]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=str)


def test_the_call_that_dense_users_know_runs_verbatim() -> None:
    from pyg_equiformer.dense import Equiformer

    model = Equiformer(
        num_tokens=24,
        dim=(4, 4, 2),
        dim_head=(4, 4, 4),
        heads=(2, 2, 2),
        num_degrees=3,
        depth=4,
        attend_self=True,
        reduce_dim_out=True,
        dot_product_attention=False,
    )
    feats = torch.randint(0, 24, (1, 128))
    coors = torch.randn(1, 128, 3)
    mask = torch.ones(1, 128).bool()
    out = model(feats, coors, mask)
    assert out.type0.shape == (1, 128)
    assert out.type1.shape == (1, 128, 3)
    assert len(model.network.blocks) == 4
    assert model.network.blocks[0].attn.lin_self is not None


def model_of(**settings: Any) -> DenseEquiformer:
    torch.manual_seed(0)
    settings = {"num_tokens": 5, "irreps": "4x0e+4x1e+2x2e", "heads": 2, "depth": 2, **settings}
    return DenseEquiformer(**settings).double().eval()


def inputs(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Two molecules of five and eight atoms with places for eight."""
    generator = torch.Generator().manual_seed(seed)
    coors = 2 * torch.randn(2, 8, 3, generator=generator, dtype=torch.float64)
    mask = torch.arange(8) < torch.tensor([[5], [8]])
    return torch.randint(0, 5, (2, 8), generator=generator), coors, mask


@every_kind
def test_outputs_turn_with_the_atoms(kind: dict[str, Any]) -> None:
    model = model_of(**kind)
    feats, coors, mask = inputs()
    rotation = random_rotation()
    out, turned = model(feats, coors, mask), model(feats, coors @ rotation.T + 1.0, mask)
    assert out.type0.shape == (2, 8, 4)
    assert out.type2.shape == (2, 8, 2, 5)
    assert torch.allclose(turned.type0, out.type0, rtol=0, atol=1e-10)
    assert torch.allclose(turned.type1, out.type1 @ rotation.T, rtol=0, atol=1e-10)
    assert (turned.type1 - out.type1).abs().max() > 1e-3


@every_kind
def test_masked_atoms_change_no_bit_of_the_others(kind: dict[str, Any]) -> None:
    model = model_of(**kind)
    feats, coors, mask = inputs()
    out = model(feats, coors, mask)
    other_feats, other_coors = feats.clone(), coors.clone()
    other_feats[0, 5:], other_coors[0, 5:] = 7, torch.nan  # no token, and no place
    other = model(other_feats, other_coors, mask)
    fewer = model(feats[:1, :5], coors[:1, :5])
    for degree in out:
        assert torch.equal(out[degree], other[degree])
        assert not out[degree][0, 5:].any()
        assert torch.allclose(fewer[degree][0], out[degree][0, :5], rtol=0, atol=1e-12)


@every_kind
def test_equals_the_sparse_network_on_the_same_edges(kind: dict[str, Any]) -> None:
    model = model_of(**kind)
    feats, coors, mask = inputs()
    out = model(feats, coors, mask)
    nodes, edges = [], []
    for b in range(2):
        real = mask[b].nonzero().flatten().tolist()
        for i in real:
            others = sorted((j for j in real if j != i), key=lambda j: float((coors[b, i] - coors[b, j]).norm()))
            edges += [
                (len(nodes) + real.index(j), len(nodes) + real.index(i)) for j in others[: kind.get("num_neighbors")]
            ]
        nodes += [(b, i) for i in real]
    graph, atom = torch.tensor(nodes).T
    features = model.network.features(
        feats[graph, atom], coors[graph, atom], graph, edge_index=torch.tensor(edges).T.contiguous()
    )
    sparse = model.lin_out.blocks(features.nodes)
    for degree, block in enumerate(sparse):
        expected = block.squeeze(1) if degree == 0 else block.transpose(1, 2)
        assert torch.allclose(out[degree][graph, atom], expected, rtol=0, atol=1e-11)


def test_edges_are_those_of_the_nearest_and_of_bonds() -> None:
    _, coors, mask = inputs()
    bonds = torch.zeros(2, 8, 8, dtype=torch.bool)
    bonds[1, 0, 7] = bonds[1, 7, 0] = bonds[0, 0, 7] = True  # the last is to an atom that is not there
    found = dense_edges(coors, mask, 2, bonds)
    number = {(b, i): n for n, (b, i) in enumerate(mask.nonzero().tolist())}
    expected = set()
    for b, i in number:
        others = [j for j in range(8) if (b, j) in number and j != i]
        near = sorted(others, key=lambda j: float((coors[b, i] - coors[b, j]).norm()))[:2]
        expected |= {(number[b, j], number[b, i]) for j in {*near, *(j for j in others if bonds[b, i, j])}}
    assert set(map(tuple, found.edge_index.T.tolist())) == expected
    assert found.edge_index.shape[1] == len(expected)


def test_equally_near_atoms_are_taken_in_order() -> None:
    square = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]])
    found = dense_edges(square, torch.ones(1, 4, dtype=torch.bool), 1)
    assert found.edge_index.tolist() == [[1, 0, 1, 0], [0, 1, 2, 3]]


def test_edge_tokens_features_bonds_and_positions_matter() -> None:
    feats, coors, mask = inputs()
    tokens, numbers = torch.randint(0, 3, (2, 8, 8)), torch.randn(2, 8, 8, 2, dtype=torch.float64)
    bonds = torch.rand(2, 8, 8, generator=torch.Generator().manual_seed(1)) < 0.3
    cases = [
        ({"num_edge_tokens": 3}, {"edges": tokens}, {"edges": (tokens + 1) % 3}),
        ({"edge_dim": 2}, {"edges": numbers}, {"edges": -numbers}),
        ({"attend_adjacent": True, "num_neighbors": 2}, {"adj_mat": bonds}, {"adj_mat": ~bonds}),
        ({"attend_adjacent": True}, {"adj_mat": bonds[0]}, {"adj_mat": bonds[0].T}),
    ]
    for settings, one, other in cases:
        model = model_of(**settings)
        assert (model(feats, coors, mask, **one).type0 - model(feats, coors, mask, **other).type0).abs().max() > 1e-4
    model = model_of(num_positions=8)
    order = [1, 0, 2, 3, 4, 5, 6, 7]
    out, moved = model(feats, coors, mask), model(feats[:, order], coors[:, order], mask)
    assert (moved.type0[:, order] - out.type0).abs().max() > 1e-4


def test_pairs_are_told_as_target_and_source() -> None:
    _, coors, mask = inputs()
    pairs = torch.arange(2 * 8 * 8).view(2, 8, 8)
    found = dense_edges(coors, mask)
    graph, atom = mask.nonzero().T
    source, target = found.edge_index
    assert torch.equal(found.pick(pairs), graph[target] * 64 + atom[target] * 8 + atom[source])


def test_features_in_place_of_tokens_and_pooled_outputs() -> None:
    _, coors, mask = inputs()
    model = model_of(num_tokens=None, dim_in=3, reduce_dim_out=True)
    feats = torch.randn(2, 8, 3, dtype=torch.float64)
    out, pooled = model(feats, coors, mask), model(feats, coors, mask, return_pooled=True)
    assert out.type1.shape == (2, 8, 3)
    assert torch.allclose(pooled.type1[0], out.type1[0, :5].mean(0))
    assert torch.allclose(pooled.type0[1], out.type0[1].mean(0))
    assert out.type0.std() > 1e-4


@every_kind
def test_every_weight_can_be_trained(kind: dict[str, Any]) -> None:
    model = model_of(num_edge_tokens=2, num_positions=8, **kind).train()
    feats, coors, mask = inputs()
    out = model(feats, coors.requires_grad_(), mask, edges=torch.randint(0, 2, (2, 8, 8)))
    sum(v.square().sum() for v in out.values()).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []
    assert coors.grad is not None
    assert not coors.grad[0, 5:].any()


def test_an_empty_entry_of_the_batch_and_a_lone_atom_have_outputs() -> None:
    feats, coors, _ = inputs()
    mask = torch.zeros(2, 8, dtype=torch.bool)
    mask[1, 3] = True
    out = model_of()(feats, coors, mask)
    assert not out.type0[0].any()
    assert torch.isfinite(out.type0).all()
    assert out.type0[1, 3].any()


GOOD = inputs()


@pytest.mark.parametrize(
    ("settings", "arguments", "message"),
    [
        ({}, (GOOD[0][:, :7], GOOD[1], GOOD[2]), r"feats must have shape \(2, 8\), got \(2, 7\)"),
        ({}, (GOOD[0], GOOD[1][0], GOOD[2]), r"coors must have shape \[batch, atoms, 3\]"),
        ({}, (GOOD[0], GOOD[1], GOOD[2].long()), "mask must hold bools"),
        ({}, (GOOD[0] + 5, GOOD[1], GOOD[2]), "feats must hold tokens from 0 to 4"),
        ({}, (GOOD[0].double(), GOOD[1], GOOD[2]), "feats must hold tokens as int64, got torch.float64"),
        ({}, (GOOD[0], GOOD[1] / 0, GOOD[2]), r"coors must be finite where mask is true, got \[.*inf.*\] at \[0, 0\]"),
        ({"num_positions": 4}, GOOD, "num_positions is 4, got 8 atoms"),
        ({"num_edge_tokens": 3}, GOOD, r"expected edges of shape \(2, 8, 8\), got None"),
        ({"attend_adjacent": True}, GOOD, "expected adj_mat, got None"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(settings: dict[str, Any], arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model_of(**settings)(*arguments)


def test_inputs_that_the_model_was_not_made_for_are_refused() -> None:
    feats, coors, mask = inputs()
    bonds = torch.zeros(8, 8, dtype=torch.bool)
    with pytest.raises(ValueError, match="expected no edges, or a model made with edge_dim"):
        model_of()(feats, coors, mask, edges=torch.zeros(2, 8, 8))
    with pytest.raises(ValueError, match="expected no adj_mat, or a model made with attend_adjacent"):
        model_of()(feats, coors, mask, adj_mat=bonds)
    model = model_of(num_edge_tokens=3)
    for edges, message in ((-1, "from 0 to 2, got -1"), (3, "from 0 to 2, got 3"), (0.5, "as int64")):
        with pytest.raises(ValueError, match=f"edges must hold tokens {message}"):
            model(feats, coors, mask, edges=torch.full((2, 8, 8), edges))
    with pytest.raises(ValueError, match="has no setting 'depht'"):
        model_of(depht=3)
    with pytest.raises(ValueError, match="irreps must hold each degree once"):
        model_of(irreps="4x0e+2x0o+1x1o")
    with pytest.raises(ValueError, match="reduce_dim_out gives degrees 0 and 1"):
        model_of(irreps="4x0e+2x2e", reduce_dim_out=True)
    with pytest.raises(AttributeError, match="there is no type3, expected one of type0, type1, type2"):
        _ = model_of()(feats, coors, mask).type3


def test_arguments_by_degree_that_do_not_fit_are_refused() -> None:
    from pyg_equiformer.dense import Equiformer

    with pytest.raises(ValueError, match="heads must be the same for all degrees"):
        Equiformer(num_tokens=2, dim=(4, 4), heads=(2, 1))
    with pytest.raises(ValueError, match="needs num_degrees"):
        Equiformer(num_tokens=2, dim=4)
    with pytest.raises(ValueError, match="dim_head must hold num_degrees=2"):
        Equiformer(num_tokens=2, dim=4, num_degrees=2, dim_head=(4, 4, 4))
    with pytest.raises(ValueError, match="choose one of dot_product_attention"):
        Equiformer(num_tokens=2, dim=(4, 4), dot_product_attention=True, l2_dist_attention=True)


@pytest.mark.parametrize(("dot", "distance"), list(itertools.product([False, True], [False, True]))[:3])
def test_arguments_by_degree_choose_the_attention(dot: bool, distance: bool) -> None:
    from pyg_equiformer.dense import Equiformer

    options = {"dot_product_attention": dot, "l2_dist_attention": distance, "single_headed_kv": True}
    model = Equiformer(num_tokens=2, dim=(4, 4), dim_head=4, heads=2, depth=1, linear_attention=True, **options)
    attention = model.network.blocks[0].attn
    assert attention.attention == ("dot" if dot else "distance" if distance else "mlp")
    assert attention.kv_heads == 1
    assert attention.linear_attention is not None
