"""Configurations by name. Those of the publication keep its behaviour to the letter."""

import difflib
from typing import Any

from e3nn.o3 import Irreps

from ..o3 import count
from .config import EquiformerConfig

_MD17: dict[str, Any] = {
    # The published MD17 models take the atomic number as the type, below 64.
    "elements": tuple(range(64)),
    "basis": "exp",
    "num_basis": 32,
    "attn_dropout": 0.0,
}

PRESETS: dict[str, dict[str, Any]] = {
    # arXiv 2206.11990: QM9, MLP attention, non-linear messages, SE(3), L = 2
    "qm9": {},
    # its ablations: linear messages, dot-product attention with linear messages, and E(3)
    "qm9_linear": {"message": "linear"},
    "qm9_dot": {"attention": "dot", "message": "linear"},
    "qm9_e3": {
        "irreps": "128x0e+32x0o+32x1e+32x1o+16x2e+16x2o",
        "irreps_sh": "1x0e+1x1o+1x2e",
        "irreps_head": "32x0e+8x0o+8x1e+8x1o+4x2e+4x2o",
        "irreps_ffn": "384x0e+96x0o+96x1e+96x1o+48x2e+48x2o",
    },
    # arXiv 2206.11990: MD17, L = 2 and L = 3
    "md17": _MD17,
    "md17_l3": {
        **_MD17,
        "irreps": "128x0e+64x1e+64x2e+32x3e",
        "irreps_sh": "1x0e+1x1e+1x2e+1x3e",
        "irreps_head": "32x0e+16x1e+16x2e+8x3e",
        "irreps_ffn": "384x0e+192x1e+192x2e+96x3e",
    },
    # For a first run on two cores: any element, energy and forces smooth at the cutoff and at symmetric structures.
    "small": {
        "irreps": "64x0e+32x1e+16x2e",
        "irreps_head": "16x0e+8x1e+4x2e",
        "irreps_ffn": "128x0e+64x1e+32x2e",
        "irreps_feature": "64x0e",
        "num_layers": 2,
        "message": "linear",
        "norm": "soft",
        "basis": "exp",
        "num_basis": 32,
        "radial_hidden": (64,),
        "attn_dropout": 0.0,
        "envelope": "polynomial",
        "elements": tuple(range(1, 119)),
    },
}


def preset_config(name: str, **overrides: Any) -> EquiformerConfig:
    """Return the configuration of a preset, with some settings changed.

    A model with a vector output keeps vectors in its last block: its `irreps_feature` becomes the scalars of
    the preset and the other types of `irreps`, unless given.

    Raises:
        ValueError: for a name or a setting that does not exist.

    Example:
        >>> preset_config("small", num_layers=2).num_layers
        2
    """
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, n=2)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(f"there is no preset {name!r}, only {', '.join(PRESETS)}{hint}")
    values = {**PRESETS[name], **overrides}
    base = EquiformerConfig(**PRESETS[name])
    if str(values.get("output", "")).endswith("vector") and "irreps_feature" not in overrides:
        scalars = count(Irreps(base.irreps_feature), "0e")
        others = [e for e in Irreps(values.get("irreps", base.irreps)) if str(e.ir) != "0e"]
        values["irreps_feature"] = str(Irreps([(scalars, "0e")]) + Irreps(others))
    return EquiformerConfig.from_dict(values)
