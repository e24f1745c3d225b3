"""What an Equiformer is made of: one frozen record, saved with every checkpoint."""

import dataclasses
import difflib
import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

from e3nn.o3 import Irreps

from ..conv import MessageKind, check_kv_heads
from ..nn import (
    FFN_ACTIVATIONS,
    NORM_KINDS,
    SCORES,
    AttentionKind,
    BasisKind,
    FFNActivationKind,
    NormKind,
    ScalarScoreKind,
)
from ..o3 import SCALAR, as_irreps, check_irreps_sh, count
from .block import NORM_POSITIONS, NormPosition, check_norm_position

OutputKind = Literal["graph_scalar", "node_scalar", "graph_vector", "node_vector"]
HeadKind = Literal["mlp", "attention"]
EnvelopeKind = Literal["none", "polynomial"]
ParityKind = Literal["kept", "ignored"]

AVG_NUM_NODES = 18.03065905448718  # QM9, as published
AVG_DEGREE = 15.57930850982666  # QM9 within 5 Å, as published


@dataclass(frozen=True)
class EquiformerConfig:
    """Settings of an `Equiformer`; the defaults are the published QM9 model (arXiv 2206.11990).

    Attributes:
        irreps: node features between the blocks.
        irreps_sh: spherical harmonics of the edges.
        irreps_head: one attention head.
        irreps_ffn: inside the feed-forward networks.
        irreps_feature: output of the last block, input of the head.
        irreps_pre_attn: messages; None: as `irreps`.
        num_layers, heads: number of blocks, and of heads in each.
        cutoff: in Å; neighbours are strictly nearer.
        basis, num_basis: radial basis "gaussian", "exp" or "bessel", and its size.
        radial_hidden: hidden widths of the radial networks.
        attention, scalar_score, kv_heads, attend_self, gate_heads, linear_attention_heads: kind and options of
            attention, see `EquiformerConv`.
        message, norm, rescale_degree: see `EquiformerConv` and `EquivariantNorm`.
        norm_position: "pre" normalises what a branch of a block is given, "sandwich" what it gives too; see
            `EquiformerBlock`.
        ffn_activation: "gate" or "norm", inside the feed-forward networks; see `FeedForward`.
        ffn_norms: the feed-forward networks also see the norms of the channels of higher types.
        attention_parity: "ignored" makes attention blind to parity, as published dot-product attention is where
            a head holds both parities; see `ParityBlindConv`.
        envelope: "polynomial" makes energy and forces smooth at the cutoff; "none" is as published.
        elements: atomic numbers the model knows.
        num_tokens: number of kinds of nodes where they are not elements, residues for example: z then holds tokens
            from 0 to num_tokens - 1, and `elements` becomes these. None: atomic numbers.
        num_positions: length of the longest sequence, for an embedding of `node_position` in the first features; 0:
            none.
        irreps_node: irreps of further inputs of the nodes, `node_attr`, mapped into the first features; "1x1o" for
            velocities ("1x1e" where `irreps` has no parity). None: none.
        edge_dim: number of extra features per edge, beside the radial basis.
        num_edge_types: number of edge types, for an embedding beside the radial basis; 0: none.
        edge_type_dim: size of that embedding.
        attn_dropout, proj_dropout, out_dropout, drop_path: probabilities.
        reversible: all blocks but the last work on two streams and can be undone, so that memory in training does not
            grow with depth, at the price of computing them once more; another function of the same weights, see
            `reversible_blocks`.
        output: "graph_scalar" [B, num_outputs], "node_scalar" [N, num_outputs], "graph_vector" [B, 3] or
            "node_vector" [N, 3] ([…, num_outputs, 3] if there are several).
        num_outputs: number of such outputs.
        head: "mlp", or "attention" for graph and node scalars.
        output_scale: factor of the output.
        output_mean, output_std: output = output_mean + output_std · (output_scale · network).
        avg_num_nodes, avg_degree: averages that sums over atoms and edges are scaled by (square root).

    Raises:
        ValueError: if the settings do not fit together.

    Example:
        >>> EquiformerConfig(num_layers=2).num_layers
        2
    """

    irreps: str = "128x0e+64x1e+32x2e"
    irreps_sh: str = "1x0e+1x1e+1x2e"
    irreps_head: str = "32x0e+16x1e+8x2e"
    irreps_ffn: str = "384x0e+192x1e+96x2e"
    irreps_feature: str = "512x0e"
    irreps_pre_attn: str | None = None
    num_layers: int = 6
    heads: int = 4
    cutoff: float = 5.0
    basis: BasisKind = "gaussian"
    num_basis: int = 128
    radial_hidden: tuple[int, ...] = (64, 64)
    attention: AttentionKind = "mlp"
    scalar_score: ScalarScoreKind = "distance"
    kv_heads: int | None = None
    attend_self: bool = False
    gate_heads: bool = False
    linear_attention_heads: int = 0
    message: MessageKind = "nonlinear"
    attention_parity: ParityKind = "kept"
    norm: NormKind = "layer"
    norm_position: NormPosition = "pre"
    ffn_activation: FFNActivationKind = "gate"
    ffn_norms: bool = False
    rescale_degree: bool = False
    envelope: EnvelopeKind = "none"
    elements: tuple[int, ...] = (1, 6, 7, 8, 9)
    num_tokens: int | None = None
    num_positions: int = 0
    irreps_node: str | None = None
    edge_dim: int = 0
    num_edge_types: int = 0
    edge_type_dim: int = 16
    attn_dropout: float = 0.2
    proj_dropout: float = 0.0
    out_dropout: float = 0.0
    drop_path: float = 0.0
    reversible: bool = False
    output: OutputKind = "graph_scalar"
    num_outputs: int = 1
    head: HeadKind = "mlp"
    output_scale: float = 1.0
    output_mean: float = 0.0
    output_std: float = 1.0
    avg_num_nodes: float = AVG_NUM_NODES
    avg_degree: float = AVG_DEGREE

    def __post_init__(self) -> None:
        if self.num_tokens is not None:
            object.__setattr__(self, "elements", tuple(range(self.num_tokens)))
        for name in ("radial_hidden", "elements"):
            object.__setattr__(self, name, tuple(int(v) for v in getattr(self, name)))
        for name in ("irreps", "irreps_head", "irreps_ffn", "irreps_feature", "irreps_pre_attn", "irreps_node"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, str(as_irreps(value, name)))
        object.__setattr__(self, "irreps_sh", str(check_irreps_sh(self.irreps_sh)))
        self._check_choices()
        self._check_numbers()
        self._check_reversible()
        self._check_node_inputs()
        if count(Irreps(self.irreps), SCALAR) == 0:
            raise ValueError(f"irreps needs 0e channels for the atom types, got {self.irreps}")
        if self.output.endswith("scalar"):
            if count(Irreps(self.irreps_feature), SCALAR) == 0:
                raise ValueError(
                    f"irreps_feature needs 0e channels for output={self.output!r}, got {self.irreps_feature}"
                )
        elif count(Irreps(self.irreps_feature), self.vector) == 0:
            raise ValueError(
                f"irreps_feature needs {self.vector} channels for output={self.output!r}, got {self.irreps_feature}; "
                f"for example irreps_feature='{self.irreps}'"
            )
        elif self.head == "attention":
            raise ValueError(f"head='attention' gives scalars, got output={self.output!r}")

    @property
    def vector(self) -> str:
        """The irrep of a polar vector: 1o where the harmonics have parity, else 1e."""
        return "1o" if any(ir.p == -1 for _, ir in Irreps(self.irreps_sh)) else "1e"

    def edge_settings(self) -> dict[str, Any]:
        """Return what every layer over edges is made with."""
        return {
            "irreps_sh": self.irreps_sh,
            "edge_dim": self.num_basis + self.edge_dim + (self.edge_type_dim if self.num_edge_types else 0),
            "radial_hidden": self.radial_hidden,
            "avg_degree": self.avg_degree,
        }

    def attention_settings(self) -> dict[str, Any]:
        """Return what every attention layer is made with, `edge_settings` among it."""
        return {
            **self.edge_settings(),
            "heads": self.heads,
            "irreps_head": self.irreps_head,
            "irreps_pre_attn": self.irreps_pre_attn,
            "attention": self.attention,
            "scalar_score": self.scalar_score,
            "kv_heads": self.kv_heads,
            "attend_self": self.attend_self,
            "gate_heads": self.gate_heads,
            "linear_attention_heads": self.linear_attention_heads,
            "message": self.message,
            "parity": self.attention_parity,
            "rescale_degree": self.rescale_degree,
            "attn_dropout": self.attn_dropout,
            "proj_dropout": self.proj_dropout,
        }

    def _check_choices(self) -> None:
        choices: dict[str, tuple[str, ...]] = {
            "basis": ("gaussian", "exp", "bessel"),
            "attention": tuple(SCORES),
            "scalar_score": get_args(ScalarScoreKind),
            "message": ("nonlinear", "linear"),
            "norm": NORM_KINDS,
            "norm_position": NORM_POSITIONS,
            "ffn_activation": tuple(FFN_ACTIVATIONS),
            "attention_parity": ("kept", "ignored"),
            "envelope": ("none", "polynomial"),
            "output": ("graph_scalar", "node_scalar", "graph_vector", "node_vector"),
            "head": ("mlp", "attention"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {allowed}, got {getattr(self, name)!r}")
        for name in ("ffn_norms", "reversible"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be true or false, got {getattr(self, name)!r}")
        check_norm_position(self.norm_position, self.norm)

    def _check_numbers(self) -> None:
        for name in ("num_layers", "heads", "num_basis", "num_outputs", "edge_type_dim"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("cutoff", "avg_num_nodes", "avg_degree"):
            value = getattr(self, name)
            if not (value > 0 and math.isfinite(value)):
                raise ValueError(f"{name} must be positive and finite, got {value}")
        check_kv_heads(self.kv_heads, self.heads)
        for name in ("attend_self", "gate_heads"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be true or false, got {getattr(self, name)!r}")
        for name in ("edge_dim", "num_edge_types", "num_positions", "linear_attention_heads"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.num_tokens is not None and self.num_tokens < 1:
            raise ValueError(f"num_tokens must be at least 1, or None for atomic numbers, got {self.num_tokens}")
        if not self.elements or len(set(self.elements)) != len(self.elements) or min(self.elements) < 0:
            raise ValueError(f"elements must be distinct atomic numbers, got {self.elements}")

    def _check_reversible(self) -> None:
        if self.reversible and self.num_layers < 2:
            raise ValueError(
                "reversible needs num_layers of at least 2, as the last block is not reversible, "
                f"got {self.num_layers}; use reversible=False"
            )

    def _check_node_inputs(self) -> None:
        if self.irreps_node is None:
            return
        lost = [str(ir) for _, ir in Irreps(self.irreps_node) if count(Irreps(self.irreps), str(ir)) == 0]
        if lost:
            raise ValueError(
                f"irreps_node={self.irreps_node!r} holds {', '.join(lost)}, which irreps={self.irreps!r} has no "
                "channels for: add them to irreps, or name the inputs as irreps does (vectors are 1e where it has no "
                "parity)"
            )

    def replace(self, **changes: Any) -> "EquiformerConfig":
        """Return a copy with some settings changed.

        Raises:
            ValueError: for a setting that does not exist, naming the nearest ones.
        """
        return type(self).from_dict({**self.to_dict(), **changes})

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values (tuples as lists), fit for JSON, YAML and checkpoints."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "EquiformerConfig":
        """Return the config with these settings.

        Raises:
            ValueError: for a setting that does not exist, naming the nearest ones.

        Example:
            >>> EquiformerConfig.from_dict({"num_layer": 3})
            Traceback (most recent call last):
            ...
            ValueError: EquiformerConfig has no setting 'num_layer'; did you mean num_layers?
        """
        names = [f.name for f in dataclasses.fields(cls)]
        for key in values:
            if key not in names:
                near = difflib.get_close_matches(key, names, n=3)
                hint = f"did you mean {', '.join(near)}?" if near else f"it has {', '.join(names)}"
                raise ValueError(f"{cls.__name__} has no setting {key!r}; {hint}")
        return cls(**values)
