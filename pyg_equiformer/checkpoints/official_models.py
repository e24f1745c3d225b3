"""The published models: their names, constructor arguments, and our equivalents."""

from collections.abc import Mapping
from typing import Any

from e3nn.o3 import Irreps
from torch import nn

from ..conv import EdgeDegreeEmbedding, attention_layer
from ..models import Equiformer, EquiformerConfig
from ..nn import BesselBasis, EquivariantNorm, ExpNormalBasis, FeedForward, GaussianBasis, RadialMLP
from .official_heads import parity_of_heads

QM9_ELEMENTS = (1, 6, 7, 8, 9)
MD17_ELEMENTS = tuple(range(64))

#: Class of the published code → its default attention, and the elements it knows.
MODEL_CLASSES: dict[str, dict[str, Any]] = {
    "GraphAttentionTransformer": {"attention": "mlp", "elements": QM9_ELEMENTS},
    "DotProductAttentionTransformer": {"attention": "dot", "elements": QM9_ELEMENTS},
    "GraphAttentionTransformerMD17": {"attention": "mlp", "elements": MD17_ELEMENTS},
    "DotProductAttentionTransformerMD17": {"attention": "dot", "elements": MD17_ELEMENTS},
}

#: What the published constructors take where an argument is not given.
_DEFAULTS: dict[str, Any] = {
    "irreps_node_embedding": "128x0e+64x1e+32x2e",
    "num_layers": 6,
    "irreps_node_attr": "1x0e",
    "irreps_sh": "1x0e+1x1e+1x2e",
    "max_radius": 5.0,
    "number_of_basis": 128,
    "basis_type": "gaussian",
    "fc_neurons": [64, 64],
    "irreps_feature": "512x0e",
    "irreps_head": "32x0e+16x1o+8x2e",
    "num_heads": 4,
    "irreps_pre_attn": None,
    "rescale_degree": False,
    "nonlinear_message": False,
    "irreps_mlp_mid": "128x0e+64x1e+32x2e",
    "use_attn_head": False,
    "norm_layer": "layer",
    "alpha_drop": 0.2,
    "proj_drop": 0.0,
    "out_drop": 0.0,
    "drop_path_rate": 0.0,
    "scale": None,
}
_IGNORED = {"irreps_in", "mean", "std", "atomref"}


def unsupported(text: str) -> str | None:
    """Return why a class or model name of the published code cannot be converted yet, or None."""
    low = text.lower()
    for mark, what in (("oc20", "OC20"), ("dens", "DeNS")):
        if mark in low:
            return f"{what} models of the published code are not supported yet, got {text!r}; QM9 and MD17 models are"
    return None


def official_config(cls: str, ctor: Mapping[str, Any]) -> EquiformerConfig:
    """Return our settings for a published model class and its constructor arguments.

    Raises:
        ValueError: for a class or argument that is not known.

    Example:
        >>> official_config("GraphAttentionTransformerMD17", {"basis_type": "exp"}).basis
        'exp'
    """
    name = cls.rsplit(".", 1)[-1]
    reason = unsupported(cls)
    if reason is not None or name not in MODEL_CLASSES:
        raise ValueError(reason or f"unknown class {cls!r} of the published code, expected {', '.join(MODEL_CLASSES)}")
    unknown = set(ctor) - set(_DEFAULTS) - _IGNORED
    if unknown:
        raise ValueError(f"{name} has no constructor argument {', '.join(sorted(unknown))}")
    a = {**_DEFAULTS, **ctor}
    if Irreps(a["irreps_node_attr"]) != Irreps("1x0e"):
        raise ValueError(f"irreps_node_attr must be 1x0e, got {a['irreps_node_attr']}")
    lmax = Irreps(a["irreps_node_embedding"]).lmax
    sh = a["irreps_sh"] if a["irreps_sh"] is not None else Irreps.spherical_harmonics(lmax)
    dot = MODEL_CLASSES[name]["attention"] == "dot"
    return EquiformerConfig(
        irreps=str(a["irreps_node_embedding"]),
        irreps_sh=str(sh),
        irreps_head=str(a["irreps_head"]),
        irreps_ffn=str(a["irreps_mlp_mid"]),
        irreps_feature=str(a["irreps_feature"]),
        irreps_pre_attn=None if a["irreps_pre_attn"] is None else str(a["irreps_pre_attn"]),
        num_layers=int(a["num_layers"]),
        heads=int(a["num_heads"]),
        cutoff=float(a["max_radius"]),
        basis=a["basis_type"],
        num_basis=int(a["number_of_basis"]),
        radial_hidden=tuple(a["fc_neurons"]),
        # The published dot-product attention ignores nonlinear_message.
        message="nonlinear" if a["nonlinear_message"] and not dot else "linear",
        norm="none" if a["norm_layer"] is None else a["norm_layer"],
        rescale_degree=bool(a["rescale_degree"]),
        attention_parity=parity_of_heads(Irreps(a["irreps_head"]), int(a["num_heads"])) if dot else "kept",
        attn_dropout=float(a["alpha_drop"]),
        proj_dropout=float(a["proj_drop"]),
        out_dropout=float(a["out_drop"]),
        drop_path=float(a["drop_path_rate"]),
        head="attention" if a["use_attn_head"] else "mlp",
        output_scale=1.0 if a["scale"] is None else float(a["scale"]),
        **MODEL_CLASSES[name],
    )


def registered_model(name: str) -> tuple[str, dict[str, Any]]:
    """Return class and constructor arguments of a model that the published code registers under `name`.

    Raises:
        ValueError: for a name that is not registered there.

    Example:
        >>> registered_model("graph_attention_transformer_nonlinear_exp_l2_md17")[0]
        'GraphAttentionTransformerMD17'
    """
    table = _registered()
    if name not in table:
        raise ValueError(unsupported(name) or f"unknown published model {name!r}, expected one of {', '.join(table)}")
    return table[name]


def _sizes(lmax: int, e3: bool) -> dict[str, Any]:
    if not e3:
        parts = {2: "{0}x0e+{1}x1e+{2}x2e", 3: "{0}x0e+{1}x1e+{1}x2e+{2}x3e"}[lmax]
        muls = [128, 64, 32]
        sh = "+".join(f"1x{l}e" for l in range(lmax + 1))
    elif lmax == 2:
        parts, muls, sh = "{0}x0e+{1}x0o+{1}x1e+{1}x1o+{2}x2e+{2}x2o", [128, 32, 16], "1x0e+1x1o+1x2e"
    else:
        parts = "{0}x0e+{1}x0o+{2}x1e+{2}x1o+{2}x2e+{2}x2o+{3}x3e+{3}x3o"
        muls, sh = [128, 64, 32, 16], "1x0e+1x1o+1x2e+1x3o"
    return {
        "irreps_node_embedding": parts.format(*muls),
        "irreps_head": parts.format(*(m // 4 for m in muls)),
        "irreps_mlp_mid": parts.format(*(3 * m for m in muls)),
        "irreps_sh": sh,
    }


def _registered() -> dict[str, tuple[str, dict[str, Any]]]:
    """Return all registered names of the published QM9 and MD17 models (commit 64cb786)."""
    ga, dp = "graph_attention_transformer", "dot_product_attention_transformer"
    # name → (nonlinear, E(3), basis, lmax, attention dropout)
    qm9 = {
        f"{ga}_l2": (False, False, "gaussian", 2, 0.2),
        f"{ga}_nonlinear_l2": (True, False, "gaussian", 2, 0.2),
        f"{ga}_nonlinear_l2_e3": (True, True, "gaussian", 2, 0.2),
        f"{ga}_nonlinear_bessel_l2": (True, False, "bessel", 2, 0.2),
        f"{ga}_nonlinear_bessel_l2_drop01": (True, False, "bessel", 2, 0.1),
        f"{ga}_nonlinear_bessel_l2_drop00": (True, False, "bessel", 2, 0.0),
        f"{dp}_l2": (False, False, "gaussian", 2, 0.2),
    }
    md17 = {
        f"{ga}_l2_md17": (False, False, "gaussian", 2, 0.2),
        f"{ga}_nonlinear_l2_md17": (True, False, "gaussian", 2, 0.2),
        f"{ga}_nonlinear_l2_e3_md17": (True, True, "gaussian", 2, 0.2),
        f"{ga}_nonlinear_bessel_l2_md17": (True, False, "bessel", 2, 0.0),
        f"{ga}_nonlinear_exp_l2_md17": (True, False, "exp", 2, 0.0),
        f"{ga}_nonlinear_exp_l3_md17": (True, False, "exp", 3, 0.0),
        f"{ga}_nonlinear_attn_exp_l3_md17": (True, False, "exp", 3, 0.0),
        f"{ga}_nonlinear_exp_l3_e3_md17": (True, True, "exp", 3, 0.0),
        f"{ga}_nonlinear_bessel_l3_md17": (True, False, "bessel", 3, 0.0),
        f"{ga}_nonlinear_bessel_l3_e3_md17": (True, True, "bessel", 3, 0.0),
        f"{dp}_exp_l2_md17": (False, False, "exp", 2, 0.0),
        f"{dp}_exp_l3_md17": (False, False, "exp", 3, 0.0),
    }
    out = {}
    for name, (nonlinear, e3, basis, lmax, drop) in {**qm9, **md17}.items():
        cls = "DotProductAttentionTransformer" if name.startswith(dp) else "GraphAttentionTransformer"
        ctor = {**_sizes(lmax, e3), "nonlinear_message": nonlinear, "basis_type": basis, "alpha_drop": drop}
        if "_attn_" in name:
            ctor |= {"use_attn_head": True, "irreps_feature": ctor["irreps_node_embedding"]}
        out[name] = (cls + ("MD17" if name in md17 else ""), ctor)
    return out


def build_module(cls: str, ctor: Mapping[str, Any]) -> nn.Module:
    """Return our untrained equivalent of a published class: a whole network or one of its layers."""
    name = cls.rsplit(".", 1)[-1]
    if name in MODEL_CLASSES or unsupported(cls):
        return Equiformer(official_config(cls, ctor))
    builders = {
        "GraphAttention": _attention,
        "DotProductAttention": _attention,
        "EdgeDegreeEmbeddingNetwork": _edge_degree,
        "FeedForwardNetwork": _feed_forward,
        "EquivariantLayerNormV2": lambda n, a: EquivariantNorm(a["irreps"], "layer", a.get("eps", 1e-5)),
        "EquivariantLayerNormFast": lambda n, a: EquivariantNorm(a["irreps"], "fast_layer", a.get("eps", 1e-5)),
        "EquivariantGraphNorm": lambda n, a: EquivariantNorm(a["irreps"], "graph", a.get("eps", 1e-5)),
        "EquivariantInstanceNorm": lambda n, a: EquivariantNorm(a["irreps"], "instance", a.get("eps", 1e-5)),
        "GaussianRadialBasisLayer": lambda n, a: GaussianBasis(a["num_basis"], a["cutoff"]),
        "ExpNormalSmearing": lambda n, a: ExpNormalBasis(a["num_rbf"], a["cutoff_upper"]),
        "RadialBasis": lambda n, a: BesselBasis(a["num_radial"], a["cutoff"]),
        "RadialProfile": lambda n, a: RadialMLP(a["ch_list"][0], a["ch_list"][1:-1], a["ch_list"][-1]),
    }
    if name not in builders:
        raise ValueError(
            f"unknown class {cls!r} of the published code, expected {', '.join([*MODEL_CLASSES, *builders])}"
        )
    return builders[name](name, dict(ctor))


def _attention(name: str, a: dict[str, Any]) -> nn.Module:
    dot = name == "DotProductAttention"
    return attention_layer(
        a["irreps_node_input"],
        parity=parity_of_heads(Irreps(a["irreps_head"]), a["num_heads"]) if dot else "kept",
        irreps_sh=a["irreps_edge_attr"],
        edge_dim=a["fc_neurons"][0],
        radial_hidden=a["fc_neurons"][1:],
        heads=a["num_heads"],
        irreps_head=a["irreps_head"],
        irreps_out=a["irreps_node_output"],
        irreps_pre_attn=a.get("irreps_pre_attn"),
        attention="dot" if dot else "mlp",
        message="nonlinear" if a.get("nonlinear_message", False) and not dot else "linear",
        rescale_degree=a.get("rescale_degree", False),
        attn_dropout=a.get("alpha_drop", 0.1),
        proj_dropout=a.get("proj_drop", 0.1),
    )


def _edge_degree(name: str, a: dict[str, Any]) -> nn.Module:
    return EdgeDegreeEmbedding(
        a["irreps_node_embedding"],
        irreps_sh=a["irreps_edge_attr"],
        edge_dim=a["fc_neurons"][0],
        radial_hidden=a["fc_neurons"][1:],
        avg_degree=a["avg_aggregate_num"],
    )


def _feed_forward(name: str, a: dict[str, Any]) -> nn.Module:
    mid = a["irreps_node_input"] if a.get("irreps_mlp_mid") is None else a["irreps_mlp_mid"]
    drop = a.get("proj_drop", 0.1)
    return FeedForward(a["irreps_node_input"], a["irreps_node_output"], irreps_mid=mid, dropout=drop)
