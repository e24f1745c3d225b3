"""What is wrong with a structure, as numbers per residue and as a figure."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from ..data.protein_atoms import LETTER_TO_NAME
from ..training.panels import COLORS, OTHER_COLORS, new_figure, save_figure
from .geometry import atom_label
from .templates import residue_atoms
from .violations import KINDS, Violations, structural_violations

#: Positions in the sequence between chains of one entry: no peptide link joins them.
APART = 10
WORST = 10  #: violations of each kind that a summary names


def entry_violations(chains: Sequence[Data], tolerance: float = 12.0) -> tuple[Violations, list[str]]:
    """Return the violations of all chains of an entry together, and the name of each residue, such as "A 52A SER".

    Args:
        chains: as `read_protein_chains(…, atoms="heavy")` gives them.
        tolerance: see `structural_violations`.

    Raises:
        ValueError: if there are no chains.
    """
    if not chains:
        raise ValueError("expected the chains of an entry, got none")
    parts: list[tuple[Tensor, Tensor]] = [residue_atoms(chain) for chain in chains]
    places, start = [], 0
    for chain in chains:
        place = torch.zeros(len(chain.sequence), dtype=torch.long)
        place[chain.residue] = chain.seq_pos
        places.append(place + start)
        start = int(places[-1].max()) + APART
    names = [
        f"{chain.chain} {number} {LETTER_TO_NAME[letter]}"
        for chain in chains
        for number, letter in zip(chain.residue_ids, chain.sequence)
    ]
    pos, there = (torch.cat(each) for each in zip(*parts))
    letters = "".join(chain.sequence for chain in chains)
    return structural_violations(pos.double(), there, letters, torch.cat(places), tolerance=tolerance), names


def violation_summary(found: Violations, names: Sequence[str]) -> dict[str, Any]:
    """Return counts of each kind, and each residue with violations, as plain numbers."""
    per_residue = found.per_residue()
    total: Tensor = sum(per_residue.values(), torch.zeros(found.num_residues, dtype=torch.long))
    return {
        "residues": found.num_residues,
        "residues_with_violations": int((total > 0).sum()),
        "violations": found.count(),
        "terms": {kind: len(t.excess) for kind, t in found.terms.items() if kind != "clashes"},
        "by_residue": [
            {"residue": names[k], **{kind: int(per_residue[kind][k]) for kind in KINDS if per_residue[kind][k]}}
            for k in (total > 0).nonzero().flatten().tolist()
        ],
        "worst": [
            {"kind": kind, "atoms": atoms, "residues": [names[r] for r in residues], "excess": excess}
            for excess, kind, atoms, residues in _worst(found)
        ],
    }


def _worst(found: Violations) -> list[tuple[float, str, str, list[int]]]:
    """The violations that are furthest beyond what is tolerated, each kind in its own unit."""
    rows = []
    for kind, t in found.terms.items():
        order = t.excess.argsort(descending=True)[:WORST].tolist()
        wrong = [k for k in order if t.excess[k] > 0]
        labels = [atom_label(t.sequence, t.atoms[k].tolist()) for k in wrong]
        rows += [(float(t.excess[k]), kind, label, t.residues[k].tolist()) for k, label in zip(wrong, labels)]
    return rows


def plot_violations(path: str | Path, found: Violations, title: str = "") -> None:
    """Draw how many violations of each kind each residue takes part in.

    Args:
        path: of the PNG to write.
        found: of one entry.
        title: written above.

    Raises:
        ImportError: if matplotlib is not installed.
    """
    figure, (axes,) = new_figure(title, 1)
    figure.set_size_inches(9, 3.4)
    place, base = torch.arange(found.num_residues), torch.zeros(found.num_residues)
    for color, (kind, count) in zip((*COLORS.values(), *OTHER_COLORS), found.per_residue().items()):
        label = f"{kind.replace('_', ' ')}: {found.count()[kind]}"
        axes.bar(place.numpy(), count.numpy(), bottom=base.numpy(), width=1.0, color=color, label=label)
        base = base + count
    axes.set(xlabel="residue", ylabel="violations", xlim=(-0.5, found.num_residues - 0.5))
    axes.set_ylim(0, max(4.0, 1.3 * float(base.max())))
    axes.legend(frameon=False, fontsize=8, ncols=5, loc="upper center")
    save_figure(figure, path)
