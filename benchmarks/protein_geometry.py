"""Measure bond lengths and angles of amino acids in crystal structures: writes `pyg_equiformer/folding/geometry.json`.

    python benchmarks/protein_geometry.py

Which atoms are bonded tells the Chemical Component Dictionary (wwPDB), through biotite; means and standard deviations
are those of the 100 training chains of `protein_bm5_chains.npz`. Angles are kept as cosines, as their gradients are
finite everywhere.
"""

import argparse
import json
from collections import defaultdict
from itertools import combinations
from pathlib import Path

import biotite.structure.info as info
import numpy as np
from tasks import SHARED

from pyg_equiformer.data.protein_atoms import LETTER_TO_NAME, RESIDUE_ATOMS, UNKNOWN
from pyg_equiformer.data.protein_chains import read_protein_chains
from pyg_equiformer.data.protein_split import split_chains

OUT = Path(__file__).parents[1] / "pyg_equiformer" / "folding" / "geometry.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder of the chains")
    chains = read_protein_chains(parser.parse_args().shared / "protein_bm5_chains.npz", atoms="heavy").chains
    residues = defaultdict(list)
    for chain in split_chains(chains, 30)[0]:
        atoms = [{} for _ in chain.sequence]
        for k, name, pos in zip(chain.residue.tolist(), chain.atom_names, chain.pos.double().numpy()):
            atoms[k][name] = pos
        for letter, found in zip(chain.sequence, atoms):
            residues[letter].append(found)
    table = {letter: _measure(letter, residues[letter]) for letter in RESIDUE_ATOMS if letter != UNKNOWN}
    table[UNKNOWN] = table["A"]
    lines = [f' "{letter}": {json.dumps(kinds)}' for letter, kinds in table.items()]
    OUT.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def _measure(letter: str, residues: list[dict[str, np.ndarray]]) -> dict[str, list]:
    bonds = _bonds(letter)
    angles = [
        (a, middle, b)
        for middle in RESIDUE_ATOMS[letter]
        for a, b in combinations([n for bond in bonds if middle in bond for n in bond if n != middle], 2)
    ]
    lengths = [(*names, *_spread([_length(r, *names) for r in residues if r.keys() >= set(names)])) for names in bonds]
    cosines = [(*names, *_spread([_cosine(r, *names) for r in residues if r.keys() >= set(names)])) for names in angles]
    return {"bonds": lengths, "angles": cosines}


def _bonds(letter: str) -> list[tuple[str, str]]:
    residue, atoms = info.residue(LETTER_TO_NAME[letter]), RESIDUE_ATOMS[letter]
    names = [str(name) for name in residue.atom_name]
    pairs = [(names[i], names[j]) for i, j, _ in residue.bonds.as_array()]
    return [pair for pair in pairs if set(pair) <= set(atoms)]


def _length(atoms: dict[str, np.ndarray], a: str, b: str) -> float:
    return float(np.linalg.norm(atoms[a] - atoms[b]))


def _cosine(atoms: dict[str, np.ndarray], a: str, middle: str, b: str) -> float:
    u, v = atoms[a] - atoms[middle], atoms[b] - atoms[middle]
    return float(u @ v / np.linalg.norm(u) / np.linalg.norm(v))


def _spread(values: list[float]) -> tuple[float, float]:
    return round(float(np.mean(values)), 4), round(float(np.std(values)), 4)


if __name__ == "__main__":
    main()
