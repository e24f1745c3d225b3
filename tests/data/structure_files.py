"""Small structure files that tests write, with numbers that are exact in binary."""

from pathlib import Path

import numpy as np

#: A frame of water as extended XYZ: comment, energy and the three atoms can be replaced.
WATER = """3
Properties=species:S:1:pos:R:3:forces:R:3 energy=-137.5 pbc="F F F"
O 0.0 0.0 0.125 0.5 -0.25 0.125
H 0.0 0.75 -0.5 -0.25 0.125 0.0
H 0.0 -0.75 -0.5 -0.25 0.125 -0.125
"""

PDB = """CRYST1   10.000   10.000   10.000  90.00  90.00  90.00 P 1           1
ATOM      1  N   SER A   1       1.000   2.000   3.125  1.00 10.50           N1+
ATOM      2  CA AALA A   2       2.500   2.000   3.000  0.40 11.00           C
ATOM      3  CA BALA A   2       2.625   2.000   3.000  0.60 12.00           C
HETATM    4 ZN    ZN A   3       9.000   9.000   9.000  1.00 20.00          ZN2+
HETATM    5  O   HOH A   4       5.000   5.000   5.000  1.00 30.00           O
END
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def waters(count: int, change=lambda index, text: text) -> str:
    """Frames of water with another position and energy each."""
    frames = []
    for index in range(count):
        text = WATER.replace("0.125 0.5", f"{0.125 + index / 8} 0.5").replace("-137.5", f"{-137.5 - index / 64}")
        frames.append(change(index, text))
    return "".join(frames)


def labelled_atoms(index: int):
    """A molecule or a crystal in turn, with energy, forces and, if periodic, stress."""
    from ase.build import bulk, molecule
    from ase.calculators.singlepoint import SinglePointCalculator

    rng = np.random.default_rng(index)
    atoms = molecule("CH3OH") if index % 2 else bulk("Cu", cubic=True)
    atoms.positions += rng.normal(size=atoms.positions.shape) / 10
    results = {"energy": -100.0 * len(atoms) + rng.random(), "forces": rng.normal(size=(len(atoms), 3))}
    if atoms.pbc.any():
        results["stress"] = rng.normal(size=6)
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def same(first, second) -> bool:
    """Whether two structures have the same fields, bit for bit, NaN being equal to NaN."""
    one, two = first.to_dict(), second.to_dict()
    return one.keys() == two.keys() and all(
        one[key].dtype == two[key].dtype and np.array_equal(one[key].numpy(), two[key].numpy(), equal_nan=key != "z")
        for key in one
    )
