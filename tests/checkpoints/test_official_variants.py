"""Every variant of the published models, from random weights: ours agrees with the e3nn-built reference.

Compared are outputs, forces, features after every layer, gradients of positions and of all parameters, and
the weights that come back.
"""

from typing import Any

import e3nn
import pytest
import torch
from torch import nn

from pyg_equiformer import EnergyForces, load_official, radius_graph, to_official_state_dict
from pyg_equiformer.reference import ReferenceEquiformer

from ..shared_data import assert_all_agree
from .runs import Atoms, run_ours, run_reference

GA, DP = "GraphAttentionTransformer", "DotProductAttentionTransformer"
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
GA_MD, DP_MD = GA + "MD17", DP + "MD17"

SE3: dict[str, Any] = {
    "irreps_node_embedding": "6x0e+4x1e+2x2e",
    "irreps_sh": "1x0e+1x1e+1x2e",
    "irreps_head": "3x0e+2x1e+1x2e",
    "num_heads": 2,
    "irreps_mlp_mid": "8x0e+4x1e+2x2e",
    "irreps_feature": "10x0e",
    "num_layers": 1,
    "number_of_basis": 8,
    "fc_neurons": [8, 8],
    "nonlinear_message": True,
}
E3 = {
    **SE3,
    "irreps_node_embedding": "6x0e+4x0o+3x1e+2x1o+2x2e+1x2o",
    "irreps_sh": "1x0e+1x1o+1x2e",
    "irreps_head": "3x0e+2x0o+2x1e+1x1o+1x2e+1x2o",
    "irreps_mlp_mid": "8x0e+4x0o+3x1e+2x1o+2x2e+1x2o",
}
LINEAR = {"nonlinear_message": False}
PRE = {"irreps_pre_attn": "5x0e+3x1e+1x2e"}


def degrees(lmax: int, muls: str, parity: bool = False) -> str:
    signs = "eo" if parity else "e"
    return "+".join(f"{muls[l]}x{l}{p}" for l in range(lmax + 1) for p in signs)


def sizes(lmax: int, parity: bool = False) -> dict[str, Any]:
    """Return irreps up to degree lmax."""
    return {
        **SE3,
        "irreps_node_embedding": degrees(lmax, "42211", parity),
        "irreps_sh": None if parity else degrees(lmax, "11111"),
        "irreps_head": degrees(lmax, "21111", parity),
        "irreps_mlp_mid": degrees(lmax, "42111", parity),
    }


#: name: (class, constructor arguments)
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "nonlinear": (GA, {**SE3, "num_layers": 2}),
    "linear": (GA, {**SE3, **LINEAR}),
    "dot": (DP, {**SE3, "num_layers": 2}),
    "nonlinear, E(3)": (GA, E3),
    "linear, E(3)": (GA, {**E3, **LINEAR}),
    "MD17 nonlinear": (GA_MD, {**SE3, "num_layers": 2}),
    "MD17 linear": (GA_MD, {**SE3, **LINEAR}),
    "MD17 dot": (DP_MD, {**SE3, "num_layers": 2}),
    "MD17 nonlinear, E(3)": (GA_MD, E3),
    "MD17 linear, E(3)": (GA_MD, {**E3, **LINEAR}),
    **{
        f"norm {norm}{name}": (GA, {**base, "norm_layer": norm})
        for norm in ("fast_layer", "graph", "instance", None)
        for name, base in (("", SE3), (", E(3)", E3))
    },
    "norm graph, dot, MD17": (DP_MD, {**SE3, "norm_layer": "graph"}),
    **{
        f"basis {basis} {cls}": (cls, {**SE3, "basis_type": basis})
        for basis in ("exp", "bessel")
        for cls in (GA, GA_MD, DP_MD)
    },
    **{f"rescale_degree {cls}": (cls, {**SE3, "rescale_degree": True}) for cls in (GA, DP, DP_MD)},
    "rescale_degree linear": (GA, {**SE3, **LINEAR, "rescale_degree": True}),
    "irreps_pre_attn": (GA, {**SE3, **PRE}),
    "irreps_pre_attn linear": (GA, {**SE3, **PRE, **LINEAR}),
    "irreps_pre_attn dot": (DP, {**SE3, **PRE}),
    "irreps_pre_attn E(3)": (GA, {**E3, "irreps_pre_attn": "5x0e+3x1o+1x2e"}),
    "irreps_pre_attn scalars": (GA, {**SE3, "irreps_pre_attn": "5x0e"}),
    "irreps_pre_attn of more degrees": (GA, {**SE3, "irreps_pre_attn": "5x0e+2x1e+2x3e"}),
    "scale": (GA, {**SE3, "scale": 0.7}),
    "scale MD17": (GA_MD, {**SE3, "scale": 0.7}),
    **{
        f"attention head {name}": (
            cls,
            {**base, "use_attn_head": True, "irreps_feature": base["irreps_node_embedding"]},
        )
        for name, cls, base in (
            ("nonlinear", GA_MD, {**SE3, "rescale_degree": True}),
            ("linear", GA_MD, {**SE3, **LINEAR}),
            ("dot", DP_MD, SE3),
            ("E(3)", GA_MD, E3),
            ("irreps_pre_attn", GA_MD, {**SE3, **PRE}),
        )
    },
    **{f"lmax {lmax} {cls}": (cls, sizes(lmax)) for lmax in (1, 3, 4) for cls in (GA, DP)},
    "lmax 3 linear": (GA, {**sizes(3), **LINEAR}),
    "lmax 3, E(3)": (GA, sizes(3, parity=True)),
    "lmax 4, E(3), linear, MD17": (GA_MD, {**sizes(4, parity=True), **LINEAR}),
    "irreps_sh not given": (GA, {**E3, "irreps_sh": None}),
    # The published default: heads with 1o, which messages of SE(3) irreps never reach.
    **{
        f"head out of reach {name}": (cls, {**SE3, **message, "irreps_head": "3x0e+2x1o+1x2e"})
        for name, cls, message in (("nonlinear", GA, {}), ("linear", GA, LINEAR), ("dot", DP, {}))
    },
    "E(3) dot, one parity per degree in a head": (DP, {**E3, "irreps_head": "3x0e+2x1o+1x2e"}),
    "dot, heads without scalars": (DP, {**SE3, "irreps_head": "2x1e+1x2e"}),
    "irreps_mlp_mid scalars": (GA, {**SE3, "irreps_mlp_mid": "8x0e"}),
    "irreps_mlp_mid of other degrees": (GA, {**SE3, "irreps_mlp_mid": "8x0e+2x3e+2x1e"}),
    "irreps_mlp_mid in pieces": (GA, {**SE3, "irreps_mlp_mid": "2x0e+4x0e+2x1e+2x2e+3x1e"}),
    "odd before even": (GA, {**E3, "irreps_node_embedding": "6x0e+4x0o+2x1o+3x1e+1x2o+2x2e"}),
    "scalars not first": (DP, {**SE3, "irreps_node_embedding": "4x1e+6x0e+2x2e"}),
    "irreps in pieces": (GA, {**SE3, "irreps_node_embedding": "2x0e+4x0e+3x1e+1x1e", "norm_layer": "graph"}),
    "irreps_sh in another order": (GA, {**SE3, "irreps_sh": "1x2e+1x0e+1x1e"}),
    "one head": (GA, {**SE3, "num_heads": 1}),
    "three heads dot": (DP, {**SE3, "num_heads": 3}),
    "one radial layer": (GA, {**SE3, "fc_neurons": [8]}),
    "three radial layers": (GA_MD, {**SE3, "fc_neurons": [8, 9, 10]}),
    "max_radius": (GA_MD, {**SE3, "max_radius": 3.0, "basis_type": "exp"}),
    "class with its module, mean given": ("nets.graph_attention_transformer." + GA, {**SE3, "mean": 1.0}),
}


@pytest.fixture(autouse=True, scope="module")
def _build_quickly():
    before = e3nn.get_optimization_defaults()["optimize_einsums"]
    e3nn.set_optimization_defaults(optimize_einsums=False)
    yield
    e3nn.set_optimization_defaults(optimize_einsums=before)


def reference_of(cls: str, ctor: dict[str, Any]) -> ReferenceEquiformer:
    """Return a reference with every parameter random, norms and biases too."""
    torch.manual_seed(0)
    model = ReferenceEquiformer(cls, ctor, dtype=torch.float64).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            # The widths of Gaussians stay away from zero.
            p.mul_(1 + 0.1 * torch.randn_like(p)) if name.startswith("rbf.") else p.add_(0.1 * torch.randn_like(p))
    return model


def atoms_for(model: ReferenceEquiformer) -> Atoms:
    """Four graphs: five atoms, one of them far away; four; one alone; two beyond each other's reach."""
    generator = torch.Generator().manual_seed(1)
    pos = 1.6 * torch.randn(12, 3, generator=generator, dtype=torch.float64)
    pos[4], pos[11] = pos[3] + torch.tensor([9.0, 0, 0]), pos[10] + torch.tensor([0, 5.5, 0])
    batch = torch.tensor([0] * 5 + [1] * 4 + [2] + [3] * 2)
    z = torch.tensor([6, 1, 1, 8, 7, 9, 6, 1, 1, 6, 7, 1])
    if model.forces:
        z[5] = 17
    return Atoms(z, pos, batch, radius_graph(pos, model.cutoff, batch))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_agrees_with_the_reference(name, device):
    check_variant(*VARIANTS[name], device)


def check_variant(cls: str, ctor: dict[str, Any], device: str = "cpu") -> None:
    """Assert that weights go in and out, and that outputs, features and gradients agree."""
    reference = reference_of(cls, ctor)
    weights = {k: v.clone() for k, v in reference.state_dict().items()}
    ours = load_official({"cls": cls, "ctor": ctor, "state_dict": weights})
    assert isinstance(ours, EnergyForces) == reference.forces

    back = to_official_state_dict(ours)
    assert set(back) == set(weights)
    for key, value in weights.items():
        assert back[key].shape == value.shape, key
        assert torch.equal(back[key], value), key

    atoms = Atoms(*(t.to(device) for t in atoms_for(reference)))
    actual, expected = run_ours(ours.to(device), atoms), run_reference(reference.to(device), atoms)
    assert_all_agree(actual.outputs, expected.outputs, "output")
    assert_all_agree(actual.intermediates, expected.intermediates, "feature")
    assert_all_agree({k: actual.gradients[k] for k in expected.gradients}, expected.gradients, "gradient of")


def test_every_parameter_of_the_reference_matters():
    """The comparison of gradients has power: those of a variant with neighbours are not zero."""
    for cls in (GA, DP_MD):
        reference = reference_of(cls, SE3)
        gradients = run_reference(reference, atoms_for(reference)).gradients
        idle = [k for k, v in gradients.items() if float(v.abs().max()) < 1e-9]
        assert not idle


@pytest.mark.parametrize("cls", [GA, GA_MD, DP, DP_MD])
def test_float32_weights_give_a_float32_model_of_the_same_function(cls):
    reference = reference_of(cls, SE3)
    atoms = atoms_for(reference)
    weights = {k: v.float() for k, v in reference.state_dict().items()}
    ours: nn.Module = load_official({"cls": cls, "ctor": SE3, "state_dict": weights})
    assert {p.dtype for p in ours.parameters()} == {torch.float32}
    assert all(torch.equal(v, weights[k]) for k, v in to_official_state_dict(ours).items())
    out = ours(atoms.z, atoms.pos.float(), atoms.batch)
    expected = reference(atoms.z, atoms.pos, atoms.batch)
    pairs = (
        [(out["energy"][:, None], expected[0]), (out["forces"], expected[1])] if reference.forces else [(out, expected)]
    )
    for a, b in pairs:
        assert a.dtype == torch.float32
        assert float((a - b).detach().abs().max()) < 1e-4 * float(b.detach().abs().max())
