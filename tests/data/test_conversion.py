import pytest
import torch

from pyg_equiformer.data import ReadOptions, open_structures
from tests.data.structure_files import WATER, write

pytest.importorskip("ase")

HARTREE, BOHR = 27.211386245981, 0.529177210544


def read(tmp_path, text, **options):
    return open_structures(write(tmp_path / "water.xyz", text), ReadOptions(dtype=torch.float64, **options))


def test_numbers_in_our_units_are_those_of_the_file_to_the_last_digit(tmp_path):
    text = WATER.replace("-137.5", "-137.967776252294").replace("0.125 0.5", "0.119262123456789 0.5")
    (data,) = read(tmp_path, text).structures
    assert data.energy.tolist() == [-137.967776252294]
    assert data.pos[0].tolist() == [0.0, 0.0, 0.119262123456789]


def test_energies_stay_in_float64_where_the_rest_is_float32(tmp_path):
    text = WATER.replace("-137.5", "-137.967776252294").replace("energy=", "gap=0.1 energy=")
    path = write(tmp_path / "water.xyz", text)
    (data,) = open_structures(path, ReadOptions(targets=("energy", "forces", "gap"))).structures
    assert data.energy.tolist() == [-137.967776252294]
    assert data.gap.tolist() == [0.1]
    assert data.pos.dtype == data.forces.dtype == torch.float32


def test_positions_cell_energy_and_forces_are_converted_from_atomic_units(tmp_path):
    text = WATER.replace('pbc="F F F"', 'pbc="T T T" Lattice="8 0 0 0 8 0 0 0 8" stress="1 1 1 0 0 0"')
    (data,) = read(tmp_path, text, units={"length": "bohr", "energy": "Ha"}).structures
    assert data.pos[1].tolist() == [0.0, 0.75 * BOHR, -0.5 * BOHR]
    assert data.cell[0, 0, 0].item() == 8 * BOHR
    assert data.energy.item() == -137.5 * HARTREE
    assert data.forces[0, 0].item() == pytest.approx(0.5 * HARTREE / BOHR, rel=1e-14)
    assert data.stress[0, 2, 2].item() == pytest.approx(HARTREE / BOHR**3, rel=1e-14)


def test_a_label_may_have_a_unit_of_its_own(tmp_path):
    text = WATER.replace('pbc="F F F"', 'pbc="T T T" Lattice="8 0 0 0 8 0 0 0 8" stress="1 1 1 0 0 0"')
    (data,) = read(tmp_path, text, units={"forces": "meV/Å", "stress": "GPa"}).structures
    assert data.energy.item() == -137.5
    assert data.forces[0, 0].item() == 0.0005
    assert data.stress[0, 0, 0].item() == pytest.approx(1 / 160.2176634, rel=1e-12)


def test_units_that_a_frame_states_hold_and_must_not_contradict_the_user(tmp_path):
    text = WATER.replace("energy=", "energy_unit=Ha forces_unit=eV/Å energy=")
    (data,) = read(tmp_path, text).structures
    assert data.energy.item() == -137.5 * HARTREE
    assert data.forces[0, 0].item() == 0.5
    assert read(tmp_path, text, units={"energy": "hartree"}).structures[0].energy.item() == -137.5 * HARTREE
    with pytest.raises(ValueError, match=r"units: got energy=eV, but .* itself states Ha"):
        read(tmp_path, text, units={"energy": "eV"})


@pytest.mark.parametrize(
    ("units", "message"),
    [
        ({"enery": "Ha"}, "units: 'enery' is neither length nor energy nor among the targets"),
        ({"energy": "eV/atom"}, "unknown energy unit 'eV/atom'"),
        ({"forces": "eV"}, "unknown force unit 'eV'"),
    ],
)
def test_units_of_nothing_and_unknown_units_are_refused(tmp_path, units, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, WATER, units=units)


def test_a_property_must_not_change_its_unit_between_frames(tmp_path):
    text = WATER.replace("energy=", "dipole_unit=D dipole=1 energy=")
    with pytest.raises(ValueError, match="dipole is in D at first, later in e"):
        read(tmp_path, text + text.replace("dipole_unit=D", "dipole_unit=e"), targets=("dipole",))


def test_a_periodic_frame_with_a_flat_cell_is_named(tmp_path):
    text = WATER.replace('pbc="F F F"', 'pbc="T T T" Lattice="8 0 0 8 0 0 0 0 8"')
    with pytest.raises(ValueError, match=r"frame 0: periodic along .*but the cell is"):
        read(tmp_path, text)
