"""Relaxing structures until they break no rules of covalent geometry, in a force field of OpenMM."""

from collections.abc import Sequence
from copy import copy
from itertools import pairwise
from typing import get_args

import torch
from torch import Tensor
from torch_geometric.data import Data

from ..neighbors import radius_graph
from ..units import KCAL_PER_MOL
from .amber import PlatformName, RestrainedProtein, Solvent, require_openmm
from .amber_atoms import residue_needs, stretches
from .relaxed import Relaxed, mirrored_residues
from .report import entry_violations
from .templates import residue_atoms
from .violations import Violations

STIFFNESS = 10 * KCAL_PER_MOL  #: eV/Å²: AlphaFold's 10 kcal/mol/Å²
BRIDGE = 3.0  #: Å within which two SG are taken for a disulfide bridge; in crystals they are 2.05 Å apart
NEAREST = 0.01  #: Å; atoms that are nearer have no direction in which to move apart
_NAMED = 5  #: residues that an error names


def relax(
    chains: Sequence[Data],
    *,
    stiffness: float = STIFFNESS,
    max_rounds: int = 5,
    solvent: Solvent = "obc",
    tolerance: float = 12.0,
    platform: PlatformName = "auto",
    threads: int | None = None,
) -> Relaxed:
    r"""Relax a structure as AlphaFold does (Nature 596, 583 (2021), supplement, section 1.8.6).

    .. math:: x \leftarrow \arg\min_x\; E_\text{Amber}(x) + \frac k2 \sum_{a \in \text{held}} |x_a - x_a^0|^2

    Hydrogens are added, and the energy is minimised with all heavy atoms held to where they were given. Residues that
    still violate (`structural_violations`) are set free, and it is minimised again from there, until none violates, or
    none is left to set free, or `max_rounds` are done. (AlphaFold has no solvent, and holds atoms to where the round
    before left them.)

    The force field is Amber ff99SB at pH 7. Hydrogens, and the second oxygen (OXT) at ends of chains, are not returned.
    Residues are bonded where `seq_pos` follow each other, however far apart they are; where a chain is broken, ends are
    charged as those of chains. SG of cysteines within 3 Å, the nearest pairs first, are bonded. X is taken as alanine,
    or as glycine where it has no CB. Cα that are mirrored are turned (a term of its own, zero in L amino acids);
    threaded rings stay.

    Args:
        chains: of one structure, with all heavy atoms, as `fold_sequences` or `read_protein_chains(…, "heavy")` give
            them.
        stiffness: k of the restraints in eV/Å²; 0 holds nothing.
        max_rounds: most minimisations.
        solvent: "obc", a generalised Born model of water, or "none", which takes a small part of the time.
        tolerance: in standard deviations, see `structural_violations`.
        platform: of OpenMM: "auto" is CUDA where it works, else the CPU.
        threads: on the CPU; None: all cores. On one thread results are the same each time.

    Raises:
        ImportError: if OpenMM is not installed.
        ValueError: if a setting is out of range; there are no chains; heavy atoms are missing, not finite, or in the
            same place; a residue has no bonded neighbour; or the energy cannot be minimised.

    Example:
        >>> glycine = torch.tensor([[-0.53, 1.36, 0.0], [0.0, 0.0, 0.0], [1.53, 0.0, 0.0], [2.15, -1.06, 0.0]])
        >>> second = torch.tensor([[2.12, 1.19, 0.0], [3.58, 1.19, 0.0], [4.11, 2.62, 0.0], [3.34, 3.58, 0.0]])
        >>> chain = Data(
        ...     pos=torch.cat([glycine, second + torch.tensor([0.5, 0.0, 0.0])]),  # a peptide link that is torn
        ...     residue=torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]),
        ...     seq_pos=torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]),
        ...     atom_names=("N", "CA", "C", "O") * 2,
        ...     sequence="GG",
        ...     chain="A",
        ...     residue_ids=("1", "2"),
        ... )
        >>> found = relax([chain], threads=1)
        >>> sum(found.before.count().values()), sum(found.after.count().values())
        (1, 0)
    """
    require_openmm()
    _check_settings(stiffness, max_rounds, solvent, platform, threads)
    given = [_plain(chain) for chain in chains]
    before, names = entry_violations(given, tolerance)
    _check_atoms(given, names)
    pairs = _bridges(given)
    protein = RestrainedProtein(given, pairs, stiffness=stiffness, solvent=solvent, platform=platform, threads=threads)
    energy, free = protein.energy, torch.zeros(len(names), dtype=torch.bool)
    for rounds in range(1, max_rounds + 1):
        pos = protein.minimise(free)
        after, _ = entry_violations([_moved(*each) for each in zip(given, pos)], tolerance)
        wrong = _violating(after)
        if rounds == max_rounds or not bool((wrong & ~free).any()):
            break
        free = free | wrong
    residues = [torch.cat(each) for each in zip(*(residue_atoms(_moved(*each)) for each in zip(given, pos)))]
    steps = torch.cat([(new - old.pos).norm(dim=1) for new, old in zip(pos, given)])
    return Relaxed(
        [_moved(*each) for each in zip(chains, pos)],
        before,
        after,
        energy_before=energy,
        energy_after=protein.energy,
        rmsd=float(steps.square().mean().sqrt()),
        furthest=float(steps.max()),
        rounds=rounds,
        freed=tuple(names[k] for k in free.nonzero().flatten().tolist()),
        bridges=tuple((names[a], names[b]) for a, b in pairs),
        mirrored=tuple(names[k] for k in mirrored_residues(*residues)),
    )


def join_by_numbers(chain: Data) -> Data:
    """Return a chain whose residues are bonded where their numbers follow each other, however far apart they are.

    Reading a file takes C and N more than 2 Å apart for a break; in a prediction they are a link to be mended.

    Args:
        chain: as `read_protein_chains` gives it; residues with insertion codes are bonded as they were read.

    Example:
        >>> places = torch.tensor([0, 2, 4, 6])
        >>> chain = Data(residue=torch.arange(4), seq_pos=places, residue_ids=("7", "8", "10", "10A"))
        >>> join_by_numbers(chain).seq_pos.tolist()  # 9 is missing
        [0, 1, 3, 5]
    """
    seq_pos = torch.zeros(len(chain.residue_ids), dtype=torch.long)
    seq_pos[chain.residue] = chain.seq_pos
    steps = seq_pos.diff()
    for k, (before, after) in enumerate(pairwise(chain.residue_ids)):
        try:
            linked = int(after) - int(before) == 1
        except ValueError:  # an insertion code
            continue
        steps[k] = 1 if linked else steps[k]
    out = copy(chain)
    out.seq_pos = torch.cat([seq_pos[:1], seq_pos[:1] + steps.cumsum(0)])[chain.residue]
    return out


def _check_settings(stiffness: float, max_rounds: int, solvent: str, platform: str, threads: int | None) -> None:
    if not 0 <= stiffness < float("inf"):
        raise ValueError(f"stiffness must be finite and not negative, in eV/Å², got {stiffness}")
    for name, value in (("max_rounds", max_rounds), ("threads", 1 if threads is None else threads)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    for name, given, allowed in (("solvent", solvent, Solvent), ("platform", platform, PlatformName)):
        if given not in get_args(allowed):
            raise ValueError(f"{name} must be one of {', '.join(get_args(allowed))}, got {given!r}")


def _check_atoms(chains: Sequence[Data], names: list[str]) -> None:
    """Refuse what the force field has nothing for, naming the residues."""
    lacking, alone, first = [], [], 0
    for chain in chains:
        atoms: list[set[str]] = [set() for _ in chain.sequence]
        for k, atom in zip(chain.residue.tolist(), chain.atom_names):
            atoms[k].add(atom)
        for k, letter in enumerate(chain.sequence):
            if missing := [atom for atom in residue_needs(letter) if atom not in atoms[k]]:
                lacking.append(f"{names[first + k]} ({', '.join(missing)})")
        alone += [names[first + stretch[0]] for stretch in stretches(chain) if len(stretch) == 1]
        first += len(chain.sequence)
    if lacking:
        raise ValueError(f"expected all heavy atoms of each residue, these lack some: {_few(lacking)}")
    if alone:
        raise ValueError(f"expected residues that are bonded to a neighbour, these stand alone: {_few(alone)}")
    label = [f"{atom} of {names[k]}" for k, atom in _labels(chains)]
    pos = torch.cat([chain.pos for chain in chains])
    if (near := radius_graph(pos, NEAREST)).shape[1]:
        a, b = near[:, 0].tolist()
        raise ValueError(f"expected atoms in different places, got {label[a]} and {label[b]} in the same")


def _labels(chains: Sequence[Data]) -> list[tuple[int, str]]:
    """Residue, among those of all chains, and name of each atom."""
    found, first = [], 0
    for chain in chains:
        found += [(first + k, atom) for k, atom in zip(chain.residue.tolist(), chain.atom_names)]
        first += len(chain.sequence)
    return found


def _few(found: list[str]) -> str:
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return f"{', '.join(found[:_NAMED])}{more}"


def _bridges(chains: Sequence[Data]) -> list[tuple[int, int]]:
    """Pairs of residues whose SG are near, the nearest first, each in one pair at most."""
    residues = [k for k, atom in _labels(chains) if atom == "SG"]
    names = [atom == "SG" for _, atom in _labels(chains)]
    pos = torch.cat([chain.pos for chain in chains])[torch.tensor(names)]
    near = radius_graph(pos, BRIDGE)
    near = near[:, near[0] < near[1]]
    order = (pos[near[0]] - pos[near[1]]).norm(dim=1).argsort(stable=True)
    found: list[tuple[int, int]] = []
    for a, b in near[:, order].T.tolist():
        pair = residues[a], residues[b]
        if not {k for each in found for k in each} & set(pair):
            found.append(pair)
    return sorted(found)


def _plain(chain: Data) -> Data:
    """The chain on the CPU, in double precision."""
    needed = ("sequence", "residue", "seq_pos", "atom_names", "pos", "chain", "residue_ids")
    if missing := [name for name in needed if chain.get(name) is None]:
        raise ValueError(f"expected chains of read_protein_chains, got data without {', '.join(missing)}")
    out = copy(chain)
    out.pos, out.residue, out.seq_pos = chain.pos.detach().cpu().double(), chain.residue.cpu(), chain.seq_pos.cpu()
    if len(wrong := (~out.pos.isfinite().all(1)).nonzero()):
        atom, residue = out.atom_names[int(wrong[0])], out.residue_ids[int(out.residue[wrong[0]])]
        raise ValueError(f"expected finite positions in Å, got NaN or infinity for {atom} of {chain.chain} {residue}")
    return out


def _moved(chain: Data, pos: Tensor) -> Data:
    """The chain with other positions, in its own precision and on its own device."""
    out = copy(chain)
    out.pos = pos.to(chain.pos)
    return out


def _violating(found: Violations) -> Tensor:
    """Which residues take part in a violation [L]."""
    return torch.stack(list(found.per_residue().values())).sum(0) > 0
