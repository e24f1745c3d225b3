import subprocess
import sys
from itertools import islice

import numpy as np
import pytest

from pyg_equiformer.data import (
    load_structure,
    partial_path,
    read_structures,
    sample_trajectory,
    write_trajectory,
)

pytest.importorskip("ase")


@pytest.fixture(scope="module")
def water():
    pytest.importorskip("tblite")
    return list(sample_trajectory("water", frames=3, seed=3, equilibration=10.0, interval=5.0))


def test_frames_carry_energy_forces_and_time(water):
    assert [frame.info["time_fs"] for frame in water] == [5.0, 10.0, 15.0]
    for frame in water:
        assert frame.get_chemical_formula() == "H2O"
        assert frame.get_forces().shape == (3, 3)
        assert -139 < frame.get_potential_energy() < -137  # eV; -137.97 at the minimum
        np.testing.assert_allclose(frame.get_center_of_mass(), water[0].get_center_of_mass(), atol=1e-9)
    assert not np.allclose(water[0].positions, water[1].positions)


def test_forces_are_minus_the_derivative_of_the_energy(water):
    from tblite.ase import TBLite

    step = 1e-3
    atoms = water[1].copy()
    atoms.calc = TBLite(method="GFN2-xTB", accuracy=0.001, verbosity=0)
    numerical = np.zeros((3, 3))
    for atom, axis in np.ndindex(3, 3):
        for sign in (1, -1):
            atoms.positions[atom, axis] += sign * step
            numerical[atom, axis] -= sign * atoms.get_potential_energy() / (2 * step)
            atoms.positions[atom, axis] -= sign * step
    np.testing.assert_allclose(water[1].get_forces(), numerical, atol=2e-4)


def test_the_same_seed_gives_the_same_trajectory_and_another_seed_another(water):
    settings = {"frames": 3, "equilibration": 10.0, "interval": 5.0}
    again = list(sample_trajectory("water", seed=3, **settings))
    other = list(sample_trajectory("water", seed=4, **settings))
    for frame, same, different in zip(water, again, other, strict=True):
        # Not to the last digit: tblite's threads may sum in another order.
        np.testing.assert_allclose(same.positions, frame.positions, rtol=0, atol=1e-8)
        np.testing.assert_allclose(same.get_potential_energy(), frame.get_potential_energy(), rtol=0, atol=1e-8)
        assert not np.allclose(different.positions, frame.positions)


def test_progress_counts_dynamics_steps_to_the_end():
    pytest.importorskip("tblite")
    seen = []
    list(sample_trajectory("H2", 2, interval=2, equilibration=3, progress=lambda *step: seen.append(step)))
    assert seen == [(0, 14), (4, 14), (6, 14), (10, 14), (14, 14)]


def test_nothing_is_printed(capfd):
    pytest.importorskip("tblite")
    list(sample_trajectory("water", frames=1, equilibration=0.0, interval=1.0))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("molecule", "formula"),
    [
        ("ethanol", "C2H6O"), ("Ethanol", "C2H6O"), ("CH3CH2OH", "C2H6O"), ("c6h6", "C6H6"),
        (" acetic acid ", "C2H4O2"), ("CO", "CO"), ("biphenyl", "C12H10"),
    ],
)  # fmt: skip
def test_names_are_found_in_any_case(molecule, formula):
    assert load_structure(molecule).get_chemical_formula() == formula


@pytest.mark.parametrize(
    ("molecule", "formula", "charge", "unpaired"),
    [
        ("CCO", "C2H6O", 0, 0), ("smiles:CO", "CH4O", 0, 0), ("C", "CH4", 0, 0), ("aspirin", "C9H8O4", 0, 0),
        ("[NH4+]", "H4N", 1, 0), ("CC(=O)[O-]", "C2H3O2", -1, 0), ("[CH3]", "CH3", 0, 1),
    ],
)  # fmt: skip
def test_smiles_become_structures_with_hydrogens_charge_and_spin(molecule, formula, charge, unpaired):
    pytest.importorskip("rdkit")
    atoms = load_structure(molecule)
    assert atoms.get_chemical_formula() == formula
    assert atoms.get_initial_charges().sum() == charge
    assert atoms.get_initial_magnetic_moments().sum() == unpaired
    distances = atoms.get_all_distances()[np.triu_indices(len(atoms), 1)]
    assert 0.8 < distances.min() < 1.3


def test_a_smiles_string_gives_the_same_conformer_for_the_same_seed():
    pytest.importorskip("rdkit")
    first, same, other = (load_structure("CCCCO", seed=seed).positions for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert not np.allclose(first, other)


def test_every_common_name_is_a_molecule():
    pytest.importorskip("rdkit")
    from pyg_equiformer.data.molecules import _COMMON_NAMES

    for name in _COMMON_NAMES:
        assert len(load_structure(name)) >= 2


def test_a_structure_file_is_read_with_charge_and_spin(tmp_path):
    pytest.importorskip("tblite")
    ion = list(sample_trajectory("water", 2, equilibration=0.0, interval=1.0, charge=1))
    assert ion[0].info["multiplicity"] == 2  # the lowest one for nine electrons
    write_trajectory(tmp_path / "ion.xyz", ion)
    atoms = load_structure(str(tmp_path / "ion.xyz"))
    np.testing.assert_allclose(atoms.positions, ion[-1].positions, atol=1e-8)  # the last frame
    again = next(sample_trajectory(str(tmp_path / "ion.xyz"), 1, equilibration=0.0, interval=1.0))
    assert (again.info["charge"], again.info["multiplicity"]) == (1, 2)


def test_oxygen_is_a_triplet_unless_told_otherwise():
    pytest.importorskip("tblite")
    settings = {"frames": 1, "equilibration": 0.0, "interval": 1.0}
    triplet = next(sample_trajectory("O2", **settings))
    singlet = next(sample_trajectory("O2", multiplicity=1, **settings))
    assert (triplet.info["multiplicity"], singlet.info["multiplicity"]) == (3, 1)
    difference = triplet.get_potential_energy() - singlet.get_potential_energy()
    assert abs(difference) > 0.01  # it reaches the calculator


@pytest.mark.parametrize(
    ("molecule", "message"),
    [
        ("ethanl", "no file and no name.*no valid SMILES string; did you mean ethanol"),
        ("missing/structure.xyz", "'missing/structure.xyz' is no file and no name"),
        ("", "expected the file, name or SMILES string of a molecule, got ''"),
        ("[He]", "single atom, expected a molecule of at least two"),
        ("O=[U]=O", "expected H to Rn"),
    ],
)
def test_what_is_no_molecule_is_refused(molecule, message):
    pytest.importorskip("rdkit")
    with pytest.raises(ValueError, match=message):
        load_structure(molecule)


def test_unreadable_and_periodic_files_are_refused(tmp_path):
    from ase.build import bulk

    (tmp_path / "bad.xyz").write_text("no structure")
    with pytest.raises(ValueError, match=r"bad\.xyz: expected a structure file that ASE reads"):
        load_structure(str(tmp_path / "bad.xyz"))
    bulk("NaCl", "rocksalt", a=5.64).write(tmp_path / "salt.xyz")
    with pytest.raises(ValueError, match="periodic"):
        load_structure(str(tmp_path / "salt.xyz"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"frames": 0}, "frames: expected a positive whole number, got 0"),
        ({"temperature": -1.0}, "temperature: expected a positive number of K"),
        ({"timestep": 0.0}, "timestep: expected a positive number of fs"),
        ({"seed": -1}, "seed: expected a whole number from 0"),
        ({"interval": 0.3}, "interval: expected a whole number of timesteps of 0.5 fs, got 0.3"),
        ({"interval": 0.0}, "interval: expected at least one timestep"),
        ({"equilibration": float("nan")}, "equilibration: expected a whole number of timesteps"),
        ({"multiplicity": 2}, "10 electrons, which cannot have multiplicity 2; expected an odd multiplicity"),
        ({"charge": 10}, "expected at least one electron"),
    ],
)
def test_senseless_settings_are_refused_before_any_work(settings, message):
    pytest.importorskip("tblite")
    with pytest.raises(ValueError, match=message):
        sample_trajectory("water", **settings)  # not iterated


def test_a_failing_quantum_calculation_says_when_and_for_what():
    pytest.importorskip("tblite")
    expected = r"GFN2-xTB failed for H2O \(charge -30, multiplicity 1\) after 0 fs.*(not converged|failed to solve)"
    with pytest.raises(RuntimeError, match=expected):
        list(sample_trajectory("water", frames=1, charge=-30))


@pytest.mark.parametrize("name", ["water.xyz", "water.extxyz", "new/water.xyz.xz", "water.xyz.gz"])
def test_written_trajectories_read_back_to_eight_decimals(tmp_path, water, name):
    import torch

    assert write_trajectory(tmp_path / name, iter(water)) == 3
    for data, frame in zip(read_structures(tmp_path / name, torch.float64), water, strict=True):
        assert data.energy.item() == frame.get_potential_energy()
        np.testing.assert_allclose(data.pos, frame.positions, rtol=0, atol=6e-9)
        np.testing.assert_allclose(data.forces, frame.get_forces(), rtol=0, atol=6e-9)
    assert [file.name for file in (tmp_path / name).parent.iterdir()] == [(tmp_path / name).name]


def test_an_interrupted_run_keeps_its_frames_and_leaves_an_older_file_alone(tmp_path, water):
    def interrupted():
        yield from islice(water, 2)
        raise KeyboardInterrupt

    path = tmp_path / "water.xyz.xz"
    path.write_text("older")
    with pytest.raises(KeyboardInterrupt):
        write_trajectory(path, interrupted())
    assert path.read_text() == "older"
    assert len(read_structures(partial_path(path))) == 2


def test_unknown_suffixes_and_empty_trajectories_are_refused(tmp_path):
    for name in ("water.pdb", ".xyz", "water"):
        with pytest.raises(ValueError, match=r"expected a file name that ends in one of .*\.xyz\.xz"):
            write_trajectory(tmp_path / name, [])
    with pytest.raises(ValueError, match="no frames to write"):
        write_trajectory(tmp_path / "water.xyz", [])
    assert not list(tmp_path.iterdir())


def test_importing_the_package_needs_no_optional_package():
    code = (
        "import sys\n"
        "for name in ('ase', 'tblite', 'rdkit'): sys.modules[name] = None\n"
        "import pyg_equiformer.data as data\n"
        "for call in (lambda: data.load_structure('water'), lambda: data.bundled_sample('test')):\n"
        "    try: call()\n"
        "    except ImportError as error: assert 'pip install' in str(error), error\n"
        "    else: raise AssertionError('no ImportError')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
