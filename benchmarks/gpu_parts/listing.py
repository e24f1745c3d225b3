"""All pieces, in the order in which they are done."""

from collections.abc import Sequence
from functools import partial

from pyg_equiformer.bench.scaling import AXES
from pyg_equiformer.bench.variants import accepted
from pyg_equiformer.kernels import ENGINES

from . import correctness, md, speed, training
from .pieces import Piece

#: What is timed, and how many molecules in a batch; None: as many as the network was published with.
SPEED = {"qm9": ("qm9", None), "qm9-128": ("qm9", 128), "md17": ("md17", None)}


def all_pieces() -> list[Piece]:
    """Return the pieces: correctness first, then speed, then training."""
    pieces = [
        Piece(
            f"correctness:{engine}",
            "products, energies, forces and gradients against the default engine in float64 on the CPU",
            partial(correctness.check_engine, engine),
        )
        for engine in ENGINES
        if engine != "auto"
    ]
    choices = [name for name in ("compile", "precision", "checkpoint") if name in accepted()]
    pieces += [
        Piece(
            f"correctness:{choice}",
            f"energies, forces and gradients of a network with {choice}=…, against the CPU in float64",
            partial(correctness.check_choice, choice),
        )
        for choice in choices
    ]
    for name, (preset, molecules) in SPEED.items():
        told = f"{preset}, {'as published' if molecules is None else f'{molecules} molecules'}"
        everybody = f"forward, training step and memory of all peers and engines: {told}"
        pieces.append(Piece(f"speed:{name}", everybody, partial(speed.compare, preset, molecules)))
        for choice in choices:
            do = partial(speed.compare_choice, preset, molecules, choice)
            pieces.append(Piece(f"speed:{name}-{choice}", f"the same of our own network with {choice}=…: {told}", do))
    pieces += [Piece(f"speed:{axis}", f"growth of times with {axis}", partial(speed.follow, axis)) for axis in AXES]
    told = "energies and forces of 21 to 10,000 atoms, with and without the search for neighbours"
    pieces.append(Piece("speed:md", f"{told}: all engines", partial(md.md, None)))
    for choice in [name for name in choices if name != "checkpoint"]:  # which is for training
        pieces.append(Piece(f"speed:md-{choice}", f"{told}: {choice}=…", partial(md.md, choice)))
    pieces += [
        Piece(f"training:{name}", f"a run from call to call: {name}", partial(training.train_on, name), goes_on=True)
        for name in training.BENCHMARKS
    ]
    return pieces


def select(pieces: Sequence[Piece], only: str | None) -> list[Piece]:
    """Return the pieces of these names, or whose group has one of these names, with commas between.

    Raises:
        ValueError: for a name that there is not.
    """
    if only is None:
        return list(pieces)
    names = [name.strip() for name in only.split(",") if name.strip()]
    for name in names:
        if not any(_belongs(piece, name) for piece in pieces):
            groups = dict.fromkeys(piece.name.split(":")[0] for piece in pieces)
            raise ValueError(f"--only: there is no piece {name!r}; expected {', '.join(groups)}, or names from --list")
    return [piece for piece in pieces if any(_belongs(piece, name) for name in names)]


def _belongs(piece: Piece, name: str) -> bool:
    return piece.name == name or piece.name.startswith(f"{name}:")
