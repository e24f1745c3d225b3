"""The layer learns in a model that is not ours."""

import runpy
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "custom_layer.py"


def test_the_layer_in_a_pyg_sequential_model_learns_the_forces_of_the_sample():
    """Without knowledge the mean error is three quarters of the spread; 80 steps reach a fifth of it."""
    assert runpy.run_path(str(EXAMPLE))["main"](steps=80) < 0.35
