"""Norms against their formulas, atom by atom and graph by graph."""

import pytest
import torch
from e3nn.o3 import Irreps
from hypothesis import given, settings
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from pyg_equiformer.nn import NORM_KINDS, EquivariantNorm
from pyg_equiformer.testing import assert_equivariant

from ..strategies import DEVICES, any_irreps

IRREPS = "4x0e+2x0o+3x1e+2x1o+2x2e"
BATCH = [0, 2, 0, 2, 2, 0, 3]  # graph 1 is empty, graph 3 has one atom, atoms are mixed
every_kind = pytest.mark.parametrize("kind", NORM_KINDS)


def norm_of(kind: str, irreps: Irreps | str = IRREPS) -> EquivariantNorm:
    """Float64, with random weights, biases and mean shifts."""
    norm = EquivariantNorm(irreps, kind).double()
    for parameter in norm.parameters():
        torch.nn.init.normal_(parameter)
    return norm


def merged_reference(norm: EquivariantNorm, x: Tensor) -> Tensor:
    """The docstring's formula with loops over atoms, types and channels."""
    rows = []
    for row in x:
        channels = {
            name: [b[0, :, c] - (b.mean() if name == "0e" else 0) for c in range(b.shape[-1])]
            for name, b in zip(norm.layout_in.names, norm.layout_in.split(row.unsqueeze(0)))
        }
        squares = [sum(v.dot(v) / len(v) for v in vs) / len(vs) for vs in channels.values()]
        length = (sum(squares) / len(squares) + norm.eps) ** 0.5
        blocks = [torch.stack([v / length for v in vs], dim=1) * norm.weight[n] for n, vs in channels.items()]
        blocks = [b + norm.bias if n == "0e" else b for n, b in zip(channels, blocks)]
        rows.append(norm.layout_out.join([b.unsqueeze(0) for b in blocks]))
    return torch.cat(rows)


def reference(norm: EquivariantNorm, x: Tensor, batch: Tensor) -> Tensor:
    """The docstring's formula with loops over types, graphs and atoms."""
    if norm.kind == "merged":
        return merged_reference(norm, x)
    out = []
    for name, b in zip(norm.layout_in.names, norm.layout_in.split(x)):
        y = torch.empty_like(b)
        over_atoms = norm.kind in ("graph", "instance")
        for group in [batch == g for g in batch.unique()] if over_atoms else torch.eye(len(x), dtype=torch.bool):
            rows = b[group.to(b.device)]
            axes: tuple[int, ...] = (0,) if over_atoms else (2,)
            if name == "0e" and norm.kind != "rms":
                mean = rows.mean(dim=axes, keepdim=True)
                rows = rows - (mean if norm.mean_shift is None else mean * norm.mean_shift)
            square = rows.square().mean(dim=(1, *axes), keepdim=True)
            eps = 0.3 if norm.kind == "soft" and name != "0e" else norm.eps
            y[group] = rows / (square + eps).sqrt() * norm.weight[name]
        out.append(y + norm.bias if name == "0e" and norm.bias is not None else y)
    return norm.layout_out.join(out)


@pytest.mark.parametrize("kind", [kind for kind in NORM_KINDS if kind != "none"])
@pytest.mark.parametrize("device", DEVICES)
def test_equals_its_formula_written_as_loops(kind: str, device: str) -> None:
    norm = norm_of(kind).to(device)
    x = 3 * torch.randn(7, norm.irreps_in.dim, dtype=torch.float64, device=device) + 1
    batch = torch.tensor(BATCH, device=device)
    assert torch.allclose(norm(x, batch), reference(norm, x, batch), rtol=1e-12, atol=1e-12)


def test_none_returns_its_input_and_has_no_parameters() -> None:
    norm, x = EquivariantNorm(IRREPS, "none"), torch.randn(3, Irreps(IRREPS).dim)
    assert torch.equal(norm(x), x)
    assert list(norm.parameters()) == []


def test_layer_and_fast_layer_are_the_same_function() -> None:
    layer, fast = norm_of("layer"), norm_of("fast_layer")
    fast.load_state_dict(layer.state_dict())
    x = torch.randn(3, layer.irreps_in.dim, dtype=torch.float64)
    assert torch.equal(layer(x), fast(x))


def test_only_soft_and_merged_leave_what_nearly_vanishes_beside_the_scalars_small() -> None:
    x = torch.cat([torch.randn(1, 8), 1e-3 * torch.randn(1, 12)], dim=1)
    large = {kind: EquivariantNorm("8x0e+4x1o", kind)(x)[0, 8:].norm() > 0.1 for kind in ("layer", "soft", "merged")}
    assert large == {"layer": True, "soft": False, "merged": False}


def test_merged_keeps_what_types_measure_against_each_other_and_the_others_do_not() -> None:
    merged, layer = EquivariantNorm("8x1o+2x2e", "merged"), EquivariantNorm("8x1o+2x2e", "layer")
    x = torch.cat([torch.randn(3, 24), 10 * torch.randn(3, 10)], dim=1)
    for norm, same in ((merged, True), (layer, False)):
        before, after = (norm.layout_in.split(v) for v in (x, norm(x).detach()))
        shares = [b[0].flatten(1).norm(dim=1) / b[1].flatten(1).norm(dim=1) for b in (before, after)]
        assert torch.allclose(*shares, rtol=1e-5) == same


def test_rms_has_no_bias_and_keeps_the_mean_of_scalars() -> None:
    norm = EquivariantNorm("4x0e+2x1o", "rms")
    assert norm.bias is None
    assert torch.allclose(norm(torch.full((1, 10), 3.0)), torch.ones(1, 10), atol=1e-5)


@pytest.mark.parametrize("kind", NORM_KINDS)
def test_only_norms_that_say_so_mix_types(kind: str) -> None:
    norm, batch = norm_of(kind), torch.tensor(BATCH)
    x = norm.layout_in.split(torch.randn(7, norm.irreps_in.dim, dtype=torch.float64))
    before = norm.blocks(x, batch)
    after = norm.blocks([*x[:-1], 2 * x[-1]], batch)
    assert torch.equal(before[0], after[0]) != norm.mixes_types


@every_kind
def test_batched_equals_graph_by_graph(kind: str) -> None:
    norm, batch = norm_of(kind), torch.tensor(BATCH)
    x = torch.randn(7, norm.irreps_in.dim, dtype=torch.float64)
    together = norm(x, batch, 5)
    assert torch.allclose(together, norm(x, batch), rtol=1e-14)
    for graph in batch.unique():
        assert torch.allclose(together[batch == graph], norm(x[batch == graph]), rtol=1e-12, atol=1e-12)


@every_kind
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("device", DEVICES)
def test_is_equivariant(kind: str, dtype: torch.dtype, device: str) -> None:
    norm = norm_of(kind).to(device, dtype)
    x = torch.randn(7, norm.irreps_in.dim, dtype=dtype, device=device)
    assert_equivariant(norm, x=x, invariant={"batch": torch.tensor(BATCH, device=device)})


@given(any_irreps)
@settings(deadline=None, max_examples=15)
def test_any_irreps_keep_their_shape_and_stay_equivariant(irreps: Irreps) -> None:
    for kind in NORM_KINDS:
        assert_equivariant(norm_of(kind, irreps), trials=1)


@every_kind
def test_new_norms_give_unit_mean_square_to_every_type(kind: str) -> None:
    norm = EquivariantNorm("32x0e+16x1o+8x2e", kind).double()
    x = torch.randn(50, norm.irreps_in.dim, dtype=torch.float64)
    x = x if kind == "none" else 7 * x
    for block in norm.layout_out.split(norm(x).detach()):
        assert float(block.square().mean()) == pytest.approx(1, rel=0.1)


@every_kind
def test_derivatives_pass_gradcheck_and_gradgradcheck(kind: str) -> None:
    norm, batch = norm_of(kind, "2x0e+2x1o"), torch.tensor([0, 1, 0])
    x = torch.randn(3, 8, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda x: norm(x, batch).sin(), x)
    assert gradgradcheck(lambda x: norm(x, batch).sin(), x)


@every_kind
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_zero_features_give_finite_values_gradients_and_second_gradients(kind: str, dtype: torch.dtype) -> None:
    norm = norm_of(kind).to(dtype)
    x = torch.zeros(3, norm.irreps_in.dim, dtype=dtype, requires_grad=True)
    out = norm(x)
    (first,) = torch.autograd.grad(out.sin().sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum() + 0 * x.sum(), x)
    assert all(v.isfinite().all() for v in (out, first, second))


@every_kind
def test_no_atoms_give_no_rows(kind: str) -> None:
    norm = norm_of(kind)
    x = torch.zeros(0, norm.irreps_in.dim, dtype=torch.float64)
    assert norm(x, torch.zeros(0, dtype=torch.long)).shape == x.shape


@pytest.mark.parametrize("kind", [kind for kind in NORM_KINDS if kind != "none"])
def test_statistics_of_half_precision_features_are_taken_in_float32(kind: str) -> None:
    norm = EquivariantNorm("4x0e+2x1o", kind)
    x = torch.randn(5, 10).bfloat16()
    assert torch.equal(norm(x), norm(x.float()))


@every_kind
def test_reset_parameters_restores_ones_and_zeros(kind: str) -> None:
    norm = norm_of(kind)
    norm.reset_parameters()
    fresh = EquivariantNorm(IRREPS, kind).double()
    for (name, a), b in zip(norm.named_parameters(), fresh.parameters(), strict=True):
        assert torch.equal(a, b), name


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"norm must be one of \('layer', .*'none'\), got 'batch'"):
        EquivariantNorm("2x0e", "batch")
