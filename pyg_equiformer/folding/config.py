"""Settings of an `EquiFold`, and those that have names."""

import dataclasses
import difflib
from dataclasses import dataclass
from typing import Any, Literal, get_args

from e3nn.o3 import Irreps

from ..models import EquiformerConfig
from ..models.presets import preset_config
from ..nn import SCORES, AttentionKind
from .graph import NUM_EDGE_TYPES
from .groups import GROUPS

StartKind = Literal["random", "black_hole"]


@dataclass(frozen=True)
class EquiFoldConfig:
    """Sizes of an `EquiFold`; the defaults are those of the publication (bioRxiv 2022.10.07.511322), but for the edges.

    Attributes:
        blocks: number of blocks, each of which moves the frames once.
        layers: layers of attention in a block.
        irreps: features of the groups: scalars (0e), vectors (1e), perhaps higher types. Scalars alone make a model
            that sees distances only, and moves frames along their own axes.
        heads: attention heads; each has the irreps through the heads.
        cutoff: range of the radial basis in Å, and of the neighbours where `num_neighbors` is None.
        num_neighbors: a group sees this many nearest ones; None: all within the cutoff, as published.
        sequence_reach: it also sees all groups of so many residues before and behind it in its chain.
        attention: kind of attention, see `EquiformerConv`.
        message: "nonlinear" or "linear", see `EquiformerConv`.
        num_basis, radial_hidden: radial basis, and hidden widths of the radial networks.
        start: where the frames begin: "random" (uniform rotations, normal origins) or "black_hole" (all in one place
            with one rotation, which is the same in every prediction).
        spread: standard deviation of random origins in Å, per coordinate.
        translation_scale: length in Å of a movement of 1 of the network's output.
        recycles: how often a prediction goes through all blocks once more; training draws 0 to so many.

    Raises:
        ValueError: if a value is out of range or the settings do not fit together.

    Example:
        >>> EquiFoldConfig(blocks=2).network().num_layers
        2
    """

    blocks: int = 4
    layers: int = 2
    irreps: str = "64x0e+64x1e"
    heads: int = 2
    cutoff: float = 32.0
    num_neighbors: int | None = 32
    sequence_reach: int = 2
    attention: AttentionKind = "mlp"
    message: Literal["nonlinear", "linear"] = "nonlinear"
    num_basis: int = 32
    radial_hidden: tuple[int, ...] = (64, 64)
    start: StartKind = "random"
    spread: float = 10.0
    translation_scale: float = 10.0
    recycles: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "radial_hidden", tuple(int(v) for v in self.radial_hidden))
        for name in ("blocks", "layers", "heads", "num_basis"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("sequence_reach", "recycles"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.num_neighbors is not None and self.num_neighbors < 1:
            raise ValueError(
                f"num_neighbors must be at least 1, or None for all within the cutoff: {self.num_neighbors}"
            )
        for name in ("cutoff", "spread", "translation_scale"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be positive and finite, got {getattr(self, name)}")
        for name, allowed in (("start", get_args(StartKind)), ("attention", tuple(SCORES))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {allowed}, got {getattr(self, name)!r}")
        if any(ir.p != 1 for _, ir in Irreps(self.irreps)):
            raise ValueError(f"irreps must be without parity (0e, 1e, …), as proteins are chiral, got {self.irreps}")
        if not self.scalars:
            raise ValueError(f"irreps needs scalars (0e), got {self.irreps}")
        if self.lmax > 0 and Irreps(self.irreps).count("1e") == 0:
            raise ValueError(f"irreps needs vectors (1e) where it has higher types, got {self.irreps}")
        self.network()

    @property
    def lmax(self) -> int:
        """Highest degree of the features."""
        return Irreps(self.irreps).lmax

    @property
    def scalars(self) -> int:
        """Number of scalar channels."""
        return sum(mul for mul, ir in Irreps(self.irreps) if ir.l == 0)

    def network(self, avg_degree: float | None = None) -> EquiformerConfig:
        """Return the settings of the network of a block.

        Args:
            avg_degree: mean number of neighbours, which sums over them are scaled by. None: a guess from the settings.
        """
        irreps = Irreps(self.irreps)
        uneven = [str(m) for m, _ in irreps if m % self.heads]
        if uneven:
            raise ValueError(f"irreps={self.irreps!r} must divide into {self.heads} heads, {uneven[0]} channels do not")
        near = 64 if self.num_neighbors is None else self.num_neighbors
        return preset_config(
            "small",
            irreps=self.irreps,
            irreps_sh=str(Irreps.spherical_harmonics(self.lmax, p=1)),
            irreps_head=str(Irreps([(mul // self.heads, ir) for mul, ir in irreps])),
            irreps_ffn=str(Irreps([(2 * mul, ir) for mul, ir in irreps])),
            irreps_feature=self.irreps,
            num_layers=self.layers,
            heads=self.heads,
            attention=self.attention,
            message=self.message,
            norm="layer",
            cutoff=self.cutoff,
            basis="gaussian",
            num_basis=self.num_basis,
            radial_hidden=self.radial_hidden,
            num_tokens=len(GROUPS),
            num_edge_types=NUM_EDGE_TYPES,
            avg_degree=near + 6.0 * self.sequence_reach if avg_degree is None else avg_degree,
            output="node_vector" if self.lmax else "node_scalar",
            num_outputs=3 if self.lmax else 9,
            # Frames are moved, no forces are taken: nothing has to be smooth at the cutoff.
            envelope="none",
        )

    def replace(self, **changes: Any) -> "EquiFoldConfig":
        """Return a copy with some settings changed.

        Raises:
            ValueError: for a setting that does not exist, naming the nearest ones.
        """
        return type(self).from_dict({**self.to_dict(), **changes})

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values (tuples as lists)."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "EquiFoldConfig":
        """Return the config with these settings.

        Raises:
            ValueError: for a setting that does not exist, naming the nearest ones.
        """
        names = [f.name for f in dataclasses.fields(cls)]
        for key in values:
            if key not in names:
                near = difflib.get_close_matches(key, names, n=3)
                hint = f"did you mean {', '.join(near)}?" if near else f"it has {', '.join(names)}"
                raise ValueError(f"{cls.__name__} has no setting {key!r}; {hint}")
        return cls(**values)


PRESETS: dict[str, dict[str, Any]] = {
    "equifold": {},
    # As published for antibodies; their training clamps the error at 30 Å and weighs violations by 0.2.
    "antibody": {"blocks": 6, "cutoff": 64.0},
    # For a first run on two cores.
    "small": {
        "blocks": 3,
        "irreps": "32x0e+32x1e",
        "num_neighbors": 16,
        "message": "linear",
        "num_basis": 16,
        "radial_hidden": (32,),
    },
}


def fold_config(name: str, **overrides: Any) -> EquiFoldConfig:
    """Return the settings of a preset, some of them changed.

    Raises:
        ValueError: for a name or a setting that does not exist.

    Example:
        >>> fold_config("small", heads=4).heads
        4
    """
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, n=2)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(f"there is no preset {name!r}, only {', '.join(PRESETS)}{hint}")
    return EquiFoldConfig.from_dict({**PRESETS[name], **overrides})
