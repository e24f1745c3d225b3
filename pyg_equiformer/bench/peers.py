"""Who is compared: this package, its variants, and other implementations of the same network."""

import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from importlib.util import find_spec
from io import StringIO
from typing import Any

import torch
from e3nn.o3 import Irreps
from torch import Tensor, nn

from ..kernels.engines import ENGINES, EngineWarning
from ..models import EnergyForces, Equiformer, EquiformerConfig
from .systems import System
from .variants import OURS, Variant, accepted

#: Name of each peer and the module that it needs; None: comes with this package.
PEERS: dict[str, str | None] = {
    OURS: None,
    "e3nn": None,
    "equiformer-pytorch": "equiformer_pytorch",
    "cuequivariance": "cuequivariance_torch",
    "openequivariance": "openequivariance",
}

#: Those who may need more memory than there is: a step of one molecule takes 0.4 GB (QM9) to 1.1 GB (MD17).
HUNGRY = ("equiformer-pytorch",)

#: energy [B] and forces [N, 3], or None, of a system at positions.
Predict = Callable[[System, bool], tuple[Tensor, Tensor | None]]


class Unavailable(Exception):
    """A peer cannot take part, for a reason that is told."""


@dataclass(frozen=True)
class Peer:
    """Somebody who takes part.

    Attributes:
        label: in tables and figures.
        module: its network.
        predict: energies and, if asked for, forces of a system.
        differences: in what it is not the same network.
    """

    label: str
    module: nn.Module
    predict: Predict
    differences: tuple[str, ...] = field(default=())

    @property
    def weights(self) -> int:
        return sum(p.numel() for p in self.module.parameters())


def check_peers(names: list[str]) -> list[str]:
    """Return the names without doubles.

    Raises:
        ValueError: for a name that is not known, listing those that are.

    Example:
        >>> check_peers(["e3nn", "e3nn"])
        ['e3nn']
    """
    for name in names:
        if name not in PEERS:
            raise ValueError(f"--peers: there is no peer {name!r}, expected some of {', '.join(PEERS)}")
    return list(dict.fromkeys(names))


def missing(name: str) -> str | None:
    """Return why a peer cannot take part as far as packages go; None if it can."""
    module = PEERS[name]
    if module is None or find_spec(module) is not None:
        return None
    return f"{module} is not installed"


def build_peer(
    name: str, config: EquiformerConfig, system: System, device: torch.device, variant: Variant | None = None
) -> Peer:
    """Return a peer with new weights.

    Args:
        name: one of `PEERS`.
        config: of the network.
        system: what it will be timed on; some are made for its number of neighbours.
        device: to run on.
        variant: of our own network.

    Raises:
        Unavailable: if its package is missing, it cannot have these settings, or its engine cannot serve.
    """
    reason = missing(name)
    if reason is not None:
        raise Unavailable(reason)
    torch.manual_seed(0)
    if name == "e3nn":
        peer = _e3nn(config)
    elif name == "equiformer-pytorch":
        peer = _equiformer_pytorch(config, system)
    elif name == OURS:
        peer = _ours(config, variant or Variant())
    elif "engine" in accepted():
        peer = _ours(config, Variant(engine=name), label=name)
    else:
        raise Unavailable("this Equiformer has no choice of engines")
    peer.module.to(device)
    engine = (variant or Variant()).engine if name == OURS else name
    if engine in ENGINES and engine not in ("auto", "torch"):
        _check_served(peer, system.first(1), device)
    return peer


def _ours(config: EquiformerConfig, variant: Variant, label: str | None = None) -> Peer:
    model = Equiformer(config, **variant.arguments())
    potential = EnergyForces(model)
    weight = next(model.parameters())  # its precision is a choice

    def predict(s: System, forces: bool) -> tuple[Tensor, Tensor | None]:
        pos = s.pos.to(weight.dtype)
        if forces:
            out = potential(s.z, pos, s.batch, edge_index=s.edge_index)
            return out["energy"], out["forces"]
        return model(s.z, pos, s.batch, edge_index=s.edge_index).squeeze(1), None

    return Peer(label or variant.label, model, predict)


def _check_served(peer: Peer, system: System, device: torch.device) -> None:
    """Raise `Unavailable` where another engine would silently do the work of the one that was asked for."""
    with warnings.catch_warnings():
        # Other warnings of an engine, that it is untested say, are no reason to leave it out.
        warnings.filterwarnings("error", message=".*taking 'torch'", category=EngineWarning)
        try:
            with torch.no_grad():
                peer.predict(system.to(device), False)
        except (EngineWarning, ImportError) as error:
            raise Unavailable(str(error)) from None


def _with_forces(energy: Callable[[System], Tensor]) -> Predict:
    """Give forces to a network that has energies only; differentiable while gradients are enabled."""

    def predict(s: System, forces: bool) -> tuple[Tensor, Tensor | None]:
        if not forces:
            return energy(s), None
        keep = torch.is_grad_enabled()
        with torch.enable_grad():
            pos = s.pos.detach().requires_grad_()
            e = energy(System(s.z, pos, s.batch, s.edge_index, s.energy, s.forces))
            (gradient,) = torch.autograd.grad(e.sum(), pos, create_graph=keep)
        return (e if keep else e.detach()), -gradient

    return predict


def _e3nn(config: EquiformerConfig) -> Peer:
    from ..reference import ReferenceEquiformer
    from ..reference.settings import MD17_TYPES, QM9_TYPES

    changes: dict[str, Any] = {}
    if config.envelope != "none":
        changes["envelope"] = "none"
    if config.norm == "soft":
        changes["norm"] = "layer"
    if config.elements not in (QM9_TYPES, MD17_TYPES):
        changes["elements"] = MD17_TYPES
    told = {
        "envelope": "no smooth envelope at the cutoff",
        "norm": "layer norms in place of soft ones",
        "elements": "embeds atomic numbers below 64 only",
    }
    try:
        model = ReferenceEquiformer.from_config(config.replace(**changes), dtype=torch.float32)
    except ValueError as error:
        raise Unavailable(str(error)) from None
    predict = _with_forces(lambda s: model.energy(s.z, s.pos, s.batch, s.edge_index).squeeze(1))
    return Peer("e3nn", model, predict, tuple(told[name] for name in changes))


def _equiformer_pytorch(config: EquiformerConfig, system: System) -> Peer:
    channels, head = _even_channels(config.irreps, "irreps"), _even_channels(config.irreps_head, "irreps_head")
    if len(head) != len(channels):
        raise Unavailable("needs the same degrees in irreps and irreps_head")
    neighbors = max(1, round(system.degree))
    # The package takes lengths of its tuples for a type: one entry for each degree.
    from equiformer_pytorch import Equiformer as DenseEquiformer

    with redirect_stdout(StringIO()):  # it tells of the tables that it keeps in the user's home
        model = DenseEquiformer(
            num_tokens=max(config.elements) + 1,
            dim=channels,
            num_degrees=len(channels),
            heads=config.heads,
            dim_head=head,
            depth=config.num_layers,
            num_neighbors=neighbors,
            radial_hidden_dim=config.radial_hidden[0],
            l2_dist_attention=False,
            reduce_dim_out=True,
        )

    def energy(s: System) -> Tensor:
        shape = (s.molecules, -1)
        out = model(s.z.view(shape), s.pos.view(*shape, 3)).type0
        return out.view(shape).sum(1)

    differences = (
        f"no cutoff: each atom attends to its {neighbors} nearest atoms (the mean number of neighbours) and itself",
        "full tensor products with a radial network on the bare distance, instead of depthwise ones on a radial basis",
        "feed-forward networks four times as wide as the features",
        "no dropout",
        "its forces do not see how directions change (computed without gradient), which is less work",
        "finds its neighbours itself, among all pairs",
    )
    return Peer("equiformer-pytorch", model, _with_forces(energy), differences)


def _even_channels(irreps: str, name: str) -> tuple[int, ...]:
    """Return channels per degree for a package that knows no parity and has every degree from 0."""
    found = [(mul, ir.l, ir.p) for mul, ir in Irreps(irreps)]
    if [l for _, l, _ in found] != list(range(len(found))) or any(p < 0 for _, _, p in found):
        raise Unavailable(f"needs one even type for each degree from 0, got {name}={irreps}")
    return tuple(mul for mul, _, _ in found)
