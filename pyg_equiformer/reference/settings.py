"""Classes and constructor arguments of the published code, and our configuration in their terms."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from e3nn.o3 import Irreps

from .attention import DotProductAttention, GraphAttention

if TYPE_CHECKING:
    from ..models import EquiformerConfig

#: What the published constructors take where an argument is not given. Written out a second time on purpose: an
#: oracle that took it from the converter would take its mistakes too.
DEFAULTS: dict[str, Any] = {
    "irreps_node_embedding": "128x0e+64x1e+32x2e",
    "num_layers": 6,
    "irreps_node_attr": "1x0e",
    "irreps_sh": "1x0e+1x1e+1x2e",
    "max_radius": 5.0,
    "number_of_basis": 128,
    "basis_type": "gaussian",
    "fc_neurons": (64, 64),
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
#: Arguments that do not change the network: it takes one-hot types, and targets are standardised outside.
UNUSED = {"irreps_in", "mean", "std", "atomref"}

QM9_TYPES = (1, 6, 7, 8, 9)
MD17_TYPES = tuple(range(64))


@dataclass(frozen=True)
class ModelClass:
    """A class of the published code: its attention, the elements it knows, whether it returns forces."""

    attention: type[GraphAttention] | type[DotProductAttention]
    elements: tuple[int, ...]
    forces: bool


MODEL_CLASSES = {
    "GraphAttentionTransformer": ModelClass(GraphAttention, QM9_TYPES, False),
    "DotProductAttentionTransformer": ModelClass(DotProductAttention, QM9_TYPES, False),
    "GraphAttentionTransformerMD17": ModelClass(GraphAttention, MD17_TYPES, True),
    "DotProductAttentionTransformerMD17": ModelClass(DotProductAttention, MD17_TYPES, True),
}


def complete(cls: str, ctor: Mapping[str, Any]) -> tuple[ModelClass, dict[str, Any]]:
    """Return the class and all of its constructor arguments, defaults filled in.

    Raises:
        ValueError: for a class or argument that the published code does not have.

    Example:
        >>> complete("GraphAttentionTransformer", {"num_layers": 2})[1]["num_layers"]
        2
    """
    name = cls.rsplit(".", 1)[-1]
    if name not in MODEL_CLASSES:
        raise ValueError(f"unknown class {cls!r}, expected one of {', '.join(MODEL_CLASSES)}")
    unknown = set(ctor) - set(DEFAULTS) - UNUSED
    if unknown:
        raise ValueError(f"{name} has no constructor argument {', '.join(sorted(unknown))}")
    args = {**DEFAULTS, **ctor}
    if Irreps(args["irreps_node_attr"]) != Irreps("1x0e"):
        raise ValueError(f"irreps_node_attr must be 1x0e, got {args['irreps_node_attr']}")
    if args["irreps_sh"] is None:
        args["irreps_sh"] = Irreps.spherical_harmonics(Irreps(args["irreps_node_embedding"]).lmax)
    feature = Irreps(args["irreps_feature"])
    if not args["use_attn_head"] and any(str(ir) != "0e" for _, ir in feature):
        raise ValueError(f"irreps_feature must hold 0e only unless use_attn_head is set, got {feature}")
    return MODEL_CLASSES[name], args


def from_config(config: "EquiformerConfig") -> tuple[str, dict[str, Any]]:
    """Return published class and constructor arguments of one of our configurations.

    Raises:
        ValueError: for a setting that the published code does not have.

    Example:
        >>> from pyg_equiformer import EquiformerConfig
        >>> from_config(EquiformerConfig(attention="dot", message="linear"))[0]
        'DotProductAttentionTransformer'
    """
    c = config
    wanted: dict[str, tuple[Any, ...]] = {
        "envelope": ("none",),
        "reversible": (False,),
        "norm": ("layer", "fast_layer", "graph", "instance", "none"),
        "norm_position": ("pre",),
        "ffn_activation": ("gate",),
        "ffn_norms": (False,),
        "edge_dim": (0,),
        "attention": ("mlp", "dot"),
        "kv_heads": (None, c.heads),
        "attend_self": (False,),
        "gate_heads": (False,),
        "linear_attention_heads": (0,),
        "num_edge_types": (0,),
        "num_positions": (0,),
        "irreps_node": (None,),
        "output": ("graph_scalar",),
        "num_outputs": (1,),
        "elements": (QM9_TYPES, MD17_TYPES),
        "output_mean": (0.0,),
        "output_std": (1.0,),
        "message": ("linear",) if c.attention == "dot" else ("linear", "nonlinear"),
    }
    for name, allowed in wanted.items():
        if getattr(c, name) not in allowed:
            raise ValueError(
                f"the published code has {name} = {' or '.join(map(repr, allowed))} with attention={c.attention!r}, "
                f"got {getattr(c, name)!r}"
            )
    head = Irreps(c.irreps_head)
    if c.attention == "dot" and c.attention_parity == "kept" and head.sort().irreps.simplify() != head:
        raise ValueError(
            "the published dot-product attention keeps the irreps of a head together only in the order "
            f"{head.sort().irreps.simplify()}, got irreps_head={head}"
        )
    cls = "DotProductAttentionTransformer" if c.attention == "dot" else "GraphAttentionTransformer"
    return cls + ("MD17" if c.elements == MD17_TYPES else ""), {
        "irreps_node_embedding": c.irreps,
        "num_layers": c.num_layers,
        "irreps_sh": c.irreps_sh,
        "max_radius": c.cutoff,
        "number_of_basis": c.num_basis,
        "basis_type": c.basis,
        "fc_neurons": c.radial_hidden,
        "irreps_feature": c.irreps_feature,
        "irreps_head": c.irreps_head,
        "num_heads": c.heads,
        "irreps_pre_attn": c.irreps_pre_attn,
        "rescale_degree": c.rescale_degree,
        "nonlinear_message": c.message == "nonlinear",
        "irreps_mlp_mid": c.irreps_ffn,
        "use_attn_head": c.head == "attention",
        "norm_layer": None if c.norm == "none" else c.norm,
        "alpha_drop": c.attn_dropout,
        "proj_drop": c.proj_dropout,
        "out_drop": c.out_dropout,
        "drop_path_rate": c.drop_path,
        "scale": None if c.output_scale == 1.0 else c.output_scale,
    }
