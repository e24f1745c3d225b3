"""Golden files of the published architecture, where the checkout has them beside it, and how close is close."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

GOLDEN = Path(__file__).parents[1].parent / "shared" / "golden"
DATA = GOLDEN.parent / "data"

MODELS = ["qm9_nonlinear", "md17_exp"]
MODULES = [
    "mod_dpa",
    "mod_edge_deg_embed",
    "mod_ffn",
    "mod_ga_linear",
    "mod_ga_nonlinear",
    "mod_ga_nonlinear_e3",
    "mod_graph_norm",
    "mod_instance_norm",
    "mod_ln_fast",
    "mod_ln_v2",
    "mod_ln_v2_e3",
    "mod_radial_profile",
    "mod_rbf_bessel",
    "mod_rbf_exp",
    "mod_rbf_gaussian",
]


def golden(name: str) -> dict[str, Any]:
    """Return the content of a golden file; skip the test where there is none."""
    path = GOLDEN / f"{name}.pt"
    if not path.is_file():
        pytest.skip("the golden files of the published architecture are not beside this checkout")
    return torch.load(path, weights_only=True)


def assert_agree(actual: Tensor, expected: Tensor, name: str) -> None:
    """Assert max|a − b| ≤ 1e-9 · max|b| over the tensor, 1e-12 where b is zero."""
    assert actual.shape == expected.shape, f"{name}: shape {tuple(actual.shape)}, expected {tuple(expected.shape)}"
    if expected.numel() == 0:
        return
    error, size = float((actual - expected).detach().abs().max()), float(expected.detach().abs().max())
    # Below 1e-13 are gradients that vanish by symmetry, up to rounding.
    bound = 1e-9 * size if size > 1e-13 else 1e-12
    assert error <= bound, f"{name}: differs by {error:.3g}, expected values up to {size:.3g}"


def assert_all_agree(actual: dict[str, Tensor], expected: dict[str, Tensor], what: str) -> None:
    """Assert that both hold the same names, and tensors that agree."""
    assert set(actual) == set(expected), f"{what}: {sorted(set(actual) ^ set(expected))[:5]} in one of the two only"
    for name, value in expected.items():
        assert_agree(actual[name], value, f"{what} {name}")
