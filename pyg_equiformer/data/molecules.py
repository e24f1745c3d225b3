"""From what a user types to a molecule: a structure file, a name, or a SMILES string. Positions in Å."""

from __future__ import annotations

import difflib
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ase import Atoms

HEAVIEST = 86  #: GFN2-xTB has parameters up to radon

#: What people call molecules: a name in ASE's collection or, where it has none, a SMILES string.
_COMMON_NAMES = {
    "acetaldehyde": "CH3CHO", "acetamide": "CH3CONH2", "acetic acid": "CH3COOH", "acetone": "CH3COCH3",
    "acetonitrile": "CH3CN", "acetylene": "C2H2", "ammonia": "NH3", "benzene": "C6H6",
    "butane": "trans-butane", "carbon dioxide": "CO2", "carbon monoxide": "CO", "chloroform": "HCCl3",
    "dimethyl ether": "CH3OCH3", "dmso": "C2H6SO", "ethane": "C2H6", "ethanol": "CH3CH2OH",
    "ethene": "C2H4", "ethylene": "C2H4", "ethyne": "C2H2", "formaldehyde": "H2CO", "formic acid": "HCOOH",
    "furan": "C4H4O", "hydrogen": "H2", "hydrogen peroxide": "H2O2", "methane": "CH4", "methanol": "CH3OH",
    "methylamine": "H3CNH2", "nitrogen": "N2", "oxygen": "O2", "propane": "C3H8", "pyridine": "C5H5N",
    "pyrrole": "C4H4NH", "thiophene": "C4H4S", "water": "H2O",
    "alanine dipeptide": "smiles:CC(=O)N[C@@H](C)C(=O)NC", "aspirin": "smiles:CC(=O)Oc1ccccc1C(=O)O",
    "azobenzene": "smiles:c1ccc(cc1)/N=N/c1ccccc1", "caffeine": "smiles:Cn1cnc2c1c(=O)n(C)c(=O)n2C",
    "cyclohexane": "smiles:C1CCCCC1", "glycine": "smiles:NCC(=O)O", "malonaldehyde": "smiles:O=C/C=C\\O",
    "naphthalene": "smiles:c1ccc2ccccc2c1", "paracetamol": "smiles:CC(=O)Nc1ccc(O)cc1",
    "phenol": "smiles:Oc1ccccc1", "salicylic acid": "smiles:Oc1ccccc1C(=O)O",
    "toluene": "smiles:Cc1ccccc1", "uracil": "smiles:O=c1cc[nH]c(=O)[nH]1", "urea": "smiles:NC(N)=O",
}  # fmt: skip


def load_structure(molecule: str, *, seed: int = 0) -> Atoms:
    """Return the molecule given by a structure file, a name or a SMILES string, tried in this order.

    Names are common ones (ethanol, aspirin) and those of `ase.build.molecule` (CH3CH2OH), upper and lower
    case alike. A name wins over a SMILES string: "CO" is carbon monoxide, "smiles:CO" is methanol.
    A structure file may be of any format that ASE reads; its last frame is taken.

    Args:
        molecule: file, name or SMILES string (hydrogens are added).
        seed: decides which conformer a SMILES string gives.

    Returns:
        At least two atoms, positions in Å. The initial charges sum to the total charge in e, the initial
        magnetic moments to the number of unpaired electrons, as far as the source tells.

    Raises:
        ValueError: if nothing is found, or what is found is a lone atom, periodic, or heavier than radon.
        ImportError: if ASE, or RDKit for a SMILES string, is not installed.

    Example:
        >>> load_structure("ethanol").get_chemical_formula()
        'C2H6O'
    """
    require("ase")
    if not isinstance(molecule, str) or not molecule.strip():
        raise ValueError(f"expected the file, name or SMILES string of a molecule, got {molecule!r}")
    text = molecule.strip()
    names = _names()
    if Path(text).is_file():
        atoms = _from_file(text)
    elif (name := names.get(text) or names.get(text.lower(), text)) in names:
        from ase.build import molecule as build

        atoms = build(name)
    else:
        atoms = _from_smiles(name, seed, names)
    if len(atoms) < 2:
        raise ValueError(f"{molecule!r} is a single atom, expected a molecule of at least two")
    if atoms.pbc.any():
        raise ValueError(f"{molecule!r} is periodic (pbc {atoms.pbc.tolist()}), expected a molecule")
    if atoms.numbers.min() < 1 or atoms.numbers.max() > HEAVIEST:
        elements = sorted(set(atoms.symbols))
        raise ValueError(f"{molecule!r} has elements {elements}, expected H to Rn (GFN2-xTB)")
    return atoms


def require(*modules: str) -> None:
    """Raise an ImportError that names the extra to install if one of the modules is missing.

    Example:
        >>> require("math")
    """
    for module in modules:
        try:
            import_module(module)
        except ImportError as error:
            raise ImportError(f'sampling needs {module}, install it with: pip install "pyg_equiformer[xtb]"') from error


def _names() -> dict[str, str]:
    """Every spelling of a name and what it stands for; lone atoms are left to SMILES ("C" is methane)."""
    from ase.build.molecule import extra
    from ase.collections import g2

    exact = {name: name for name in (*g2.names, *extra) if name in extra or len(g2[name]) > 1}
    return {name.lower(): name for name in exact} | exact | _COMMON_NAMES


def _from_file(path: str) -> Atoms:
    from ase import Atoms
    from ase.io import read

    try:
        atoms = read(path, index=-1)
        assert isinstance(atoms, Atoms)  # an index gives one, a slice would give a list
    except Exception as error:  # every reader of ASE fails in its own way
        raise ValueError(f"{path}: expected a structure file that ASE reads, but got {error!r}") from error
    for key, unit in (("charge", "initial_charges"), ("multiplicity", "initial_magmoms")):
        # Our own trajectories carry the totals; spread over the atoms they mean the same to the calculator.
        if key in atoms.info and not atoms.has(unit):
            total = float(atoms.info[key]) - (key == "multiplicity")
            atoms.set_array(unit, [total / len(atoms)] * len(atoms), float)
    return atoms


def _from_smiles(text: str, seed: int, names: dict[str, str]) -> Atoms:
    """Embed with ETKDG and relax with MMFF, or UFF where MMFF lacks parameters."""
    from ase import Atoms

    smiles, tried = text.removeprefix("smiles:"), f"{text!r} is no file and no name of ase.build.molecule"
    try:
        from rdkit import Chem, rdBase
        from rdkit.Chem import rdDistGeom, rdForceFieldHelpers
    except ImportError as error:
        raise ImportError(
            f'{tried}; to read it as SMILES, install RDKit with: pip install "pyg_equiformer[xtb]"'
        ) from error
    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(smiles)
        if mol is None or mol.GetNumAtoms() == 0:
            close = difflib.get_close_matches(text.lower(), sorted({*map(str.lower, names)}), n=3)
            shown = [name if name in _COMMON_NAMES else names[name] for name in close]
            hint = f"; did you mean {' or '.join(shown)}?" if shown else ""
            raise ValueError(f"{tried}, and no valid SMILES string{hint}")
        mol = Chem.AddHs(mol)
        settings: Any = rdDistGeom.ETKDGv3()  # its stubs mistype the attributes
        settings.randomSeed = seed
        if rdDistGeom.EmbedMolecule(mol, settings) != 0:
            settings.useRandomCoords = True
            if rdDistGeom.EmbedMolecule(mol, settings) != 0:
                raise ValueError(f"RDKit found no geometry for the SMILES string {smiles!r}, give a file")
        if rdForceFieldHelpers.MMFFHasAllMoleculeParams(mol):
            rdForceFieldHelpers.MMFFOptimizeMolecule(mol, maxIters=2000, ignoreInterfragInteractions=False)
        elif rdForceFieldHelpers.UFFHasAllMoleculeParams(mol):
            rdForceFieldHelpers.UFFOptimizeMolecule(mol, maxIters=2000, ignoreInterfragInteractions=False)
    parts = list(mol.GetAtoms())
    return Atoms(
        [atom.GetAtomicNum() for atom in parts],
        mol.GetConformer().GetPositions(),
        charges=[atom.GetFormalCharge() for atom in parts],
        magmoms=[atom.GetNumRadicalElectrons() for atom in parts],
    )
