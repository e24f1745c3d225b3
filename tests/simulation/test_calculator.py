"""The calculator of ASE: its numbers, their signs, and what it refuses."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import FiniteDifferenceCalculator, calculate_numerical_forces, calculate_numerical_stress
from ase.calculators.test import gradient_test
from torch_geometric.data import Data

from pyg_equiformer import EnergyForces, Ensemble, Equiformer, EquiformerCalculator, PropertyModel, save_model
from pyg_equiformer.data import RadiusGraph

from ..models.conftest import tiny
from .conftest import water

CUTOFF = 3.5


def potential(seed: int = 0, **settings) -> EnergyForces:
    model = tiny(num_layers=1, cutoff=CUTOFF)
    torch.manual_seed(seed)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return EnergyForces(model, energy_scale=10.0, **settings)


def salt() -> Atoms:
    """Atoms in a sheared cell, some of them outside of it."""
    cell = [[4.0, 0.3, 0.1], [-1.2, 4.4, 0.2], [0.5, 0.9, 5.1]]
    return Atoms("NaClO", [[0.1, 0.2, 0.0], [1.7, 1.5, 2.1], [6.0, -1.0, 1.0]], cell=cell, pbc=True)


def with_calc(atoms: Atoms, model, **settings) -> Atoms:
    atoms.calc = EquiformerCalculator(model, **{"elements": range(1, 119), **settings})
    return atoms


def test_results_are_those_of_the_model_whose_stress_is_computed_though_it_was_not_asked_for():
    model, atoms = potential(energy_shift=-3.0, atomic_energies={8: -5.0, 11: -1.0, 17: -2.0}), salt()
    data = Data(z=torch.tensor(atoms.numbers), pos=torch.tensor(atoms.positions), pbc=torch.tensor([[True] * 3]))
    data.cell = torch.tensor(atoms.cell[:])[None]
    out = model(RadiusGraph(CUTOFF)(data), stress=True)
    with_calc(atoms, model)
    assert atoms.get_potential_energy() == pytest.approx(out["energy"].item(), abs=1e-12)
    assert atoms.get_potential_energy(force_consistent=True) == atoms.get_potential_energy()
    assert np.allclose(atoms.get_forces(), out["forces"].detach(), atol=1e-12)
    assert np.allclose(atoms.get_stress(voigt=False), out["stress"][0].detach(), atol=1e-12)
    assert atoms.get_potential_energies().sum() == pytest.approx(atoms.get_potential_energy(), abs=1e-10)
    assert not model.stress
    assert any(p.requires_grad for p in model.parameters())
    assert atoms.calc.neighbors.calls == 1  # all of it in one pass


def test_forces_pass_the_tests_of_ase():
    atoms = with_calc(water(), potential())
    analytic, _ = gradient_test(atoms, indices=[1])
    assert np.abs(analytic).max() > 0.1
    assert np.abs(calculate_numerical_forces(atoms, iatoms=[1], eps=1e-4) - analytic).max() < 1e-6
    atoms = with_calc(salt(), potential())
    assert np.abs(calculate_numerical_forces(atoms, eps=1e-4) - atoms.get_forces()).max() < 1e-6


def test_stress_of_a_triclinic_cell_is_that_of_finite_differences():
    atoms = with_calc(salt(), potential())
    stress = atoms.get_stress()
    assert np.abs(stress).max() > 1e-3
    assert np.abs(calculate_numerical_stress(atoms, eps=1e-4) - stress).max() < 1e-7
    other = salt()
    other.calc = FiniteDifferenceCalculator(atoms.calc, eps_disp=1e-4, eps_strain=1e-4)
    assert np.abs(other.get_stress() - stress).max() < 1e-7
    assert np.abs(other.get_forces() - atoms.get_forces()).max() < 1e-6


def test_there_is_no_stress_without_a_cell_that_repeats_in_all_directions():
    for atoms in (water(), salt()):
        atoms.pbc = (True, True, False) if atoms.cell.any() else False
        with pytest.raises(PropertyNotImplementedError):
            with_calc(atoms, potential()).get_stress()


def test_a_supercell_has_the_same_stress_and_energies_of_atoms():
    one, two = with_calc(salt(), potential()), with_calc(salt().repeat((2, 1, 1)), potential())
    assert np.allclose(one.get_stress(), two.get_stress(), atol=1e-12)
    assert np.allclose(np.tile(one.get_potential_energies(), 2), two.get_potential_energies(), atol=1e-11)


def test_a_committee_gives_means_and_spreads_from_whatever_it_is_made_of(tmp_path):
    members = [potential(seed) for seed in range(3)]
    save_model(tmp_path / "model.pt", Ensemble(members[:2]), elements=[8, 11, 17])
    save_model(tmp_path / "third.pt", members[2], elements=[8, 11, 17])
    want = with_calc(salt(), Ensemble(members))
    want.get_forces()
    for source in (members, [tmp_path, str(tmp_path / "third.pt")], [members[0], Ensemble(members[1:])]):
        atoms = with_calc(salt(), source)
        atoms.get_forces()
        assert set(atoms.calc.results) == set(want.calc.results) >= {"energy_std", "forces_std", "stress_std"}
        assert all(np.array_equal(atoms.calc.results[name], value) for name, value in want.calc.results.items())
    each = np.stack([with_calc(salt(), member).get_forces() for member in members])
    assert np.allclose(want.get_forces(), each.mean(0), atol=1e-12)
    assert np.allclose(want.calc.results["forces_std"], each.std(0), atol=1e-12)
    assert "forces" in want.calc.export_properties()


def test_a_shared_folder_serves_as_a_run_does(tmp_path):
    pytest.importorskip("safetensors")
    model = potential()
    model.save_pretrained(tmp_path / "shared", extra={"elements": [8, 11, 17]})
    atoms = salt()
    atoms.calc = EquiformerCalculator(tmp_path / "shared")
    assert atoms.get_potential_energy() == with_calc(salt(), model).get_potential_energy()
    with pytest.raises(ValueError, match="trained"):
        Atoms("H", [[0, 0, 0]], calculator=atoms.calc).get_potential_energy()


def test_lists_with_a_skin_are_reused_and_change_no_digit():
    model = potential()
    rng, fresh, kept = np.random.default_rng(0), with_calc(salt(), model, skin=0.0), with_calc(salt(), model, skin=1.0)
    for _ in range(12):
        moved = kept.positions + 0.02 * rng.standard_normal((3, 3))
        for atoms in (fresh, kept):
            atoms.positions = moved
            atoms.set_cell(atoms.cell[:] * 1.001)
        for name in ("energy", "forces", "stress", "energies"):
            assert np.array_equal(fresh.calc.get_property(name, fresh), kept.calc.get_property(name, kept))
    assert fresh.calc.neighbors.rebuilds == 12
    assert kept.calc.neighbors.rebuilds <= 3


def test_precision_is_chosen_and_the_module_stays_as_it_is():
    model, atoms = potential().float(), salt()
    single, double = (with_calc(salt(), model, dtype=d).get_forces() for d in (None, "float64"))
    assert np.abs(single - double).max() < 1e-3
    assert not np.array_equal(single, double)
    assert next(model.parameters()).dtype == torch.float32
    with pytest.raises(ValueError, match="dtype: expected float32, float64"):
        with_calc(atoms, model, dtype="float16")


def test_elements_that_were_not_trained_on_are_refused_and_those_that_are_unknown_told(tmp_path):
    save_model(tmp_path / "model.pt", potential(), elements=[11, 17])
    with pytest.raises(ValueError, match="not trained on O, only on Na, Cl"):
        with_calc(salt(), tmp_path, elements=None).get_potential_energy()
    save_model(tmp_path / "old.pt", potential())
    with pytest.warns(UserWarning, match="does not tell which elements it was trained on"):
        EquiformerCalculator(tmp_path / "old.pt")
    references = EquiformerCalculator(potential(atomic_energies={8: -5.0, 11: -1.0}))
    assert references.elements == (8, 11)
    both = EquiformerCalculator([tmp_path / "model.pt", potential(atomic_energies={8: -5.0, 11: -1.0})])
    assert both.elements == (11,)


def test_structures_that_make_no_sense_are_refused():
    model = potential()
    atoms = with_calc(salt(), model)
    atoms.positions[1, 0] = np.nan
    with pytest.raises(ValueError, match=r"expected finite positions, got .* for atom 1"):
        atoms.get_forces()
    with pytest.raises(ValueError, match=r"pbc is \[True, False, True\], but there is no cell vector a, c"):
        with_calc(Atoms("O", pbc=(True, False, True)), model).get_forces()
    with pytest.raises(ValueError, match="more than any matter: check the unit of the cell"):
        with_calc(Atoms("O", cell=[0.5] * 3, pbc=True), model).get_forces()
    wide = with_calc(bulk("Cu"), EnergyForces(tiny(num_layers=1, cutoff=100.0)))
    with pytest.raises(ValueError, match=r"a cutoff of 100.5 Å \(skin included\) .* too large"):
        wide.get_forces()
    with pytest.raises(ValueError, match=r"atoms 0 and 2 are 0.2 Å apart, nearer than min_distance=0.3"):
        with_calc(Atoms("HOH", [[0, 0, 0], [0, 0, 1], [0, 0.2, 0]]), model).get_forces()
    with_calc(Atoms("HOH", [[0, 0, 0], [0, 0, 1], [0, 0.2, 0]]), model, min_distance=0).get_forces()
    with pytest.raises(ValueError, match="min_distance: expected a distance in Å"):
        with_calc(water(), model, min_distance=-1)


def test_an_error_leaves_no_results_of_the_structure_before():
    atoms = with_calc(salt(), potential())
    atoms.get_forces()
    atoms.positions[1] = atoms.positions[0]
    for _ in range(2):
        with pytest.raises(ValueError, match="atoms 0 and 1 are 0 Å apart"):
            atoms.get_forces()


def test_models_of_another_kind_are_refused(tmp_path):
    network = Equiformer.from_preset("small", num_layers=1)
    for model, message in (
        (PropertyModel(network, ["gap"]), "a PropertyModel predicts gap and no forces"),
        (network, "without units: wrap it, EnergyForces"),
        (torch.nn.Linear(2, 2), "expected EnergyForces, an Ensemble of these, .* got a Linear"),
        ([], "got an empty list"),
        (EnergyForces(tiny(num_edge_types=3)), "needs more than atoms and a cell: num_edge_types=3, expected 0"),
        ([potential(), EnergyForces(tiny(cutoff=4.0))], "model 1 does not fit the first: cutoff"),
    ):
        with pytest.raises(ValueError, match=message):
            EquiformerCalculator(model)
    save_model(tmp_path / "gap.pt", PropertyModel(network, ["gap"]))
    with pytest.raises(ValueError, match=r"gap\.pt predicts gap and no forces"):
        EquiformerCalculator(tmp_path / "gap.pt")
    with pytest.raises(FileNotFoundError, match="expected the folder of a run"):
        EquiformerCalculator(tmp_path / "nothing")


def test_a_lone_atom_and_atoms_out_of_reach_have_no_forces():
    atoms = with_calc(Atoms("OO", [[0, 0, 0], [0, 0, 50.0]]), potential())
    assert np.abs(atoms.get_forces()).max() == 0
    assert with_calc(Atoms("O"), potential()).get_potential_energy() * 2 == pytest.approx(atoms.get_potential_energy())


@pytest.mark.slow
def test_compiled_results_are_the_same():
    plain, compiled = with_calc(salt(), potential()), with_calc(salt(), potential(), compile=True)
    assert np.allclose(plain.get_forces(), compiled.get_forces(), atol=1e-10)
    assert np.allclose(plain.get_stress(), compiled.get_stress(), atol=1e-10)
    assert np.allclose(plain.get_potential_energies(), compiled.get_potential_energies(), atol=1e-10)
