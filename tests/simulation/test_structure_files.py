"""Structures are read in the unit that their file states."""

import numpy as np
import pytest

pytest.importorskip("ase")
from pyg_equiformer.simulation.structure_files import read_frames, read_one
from pyg_equiformer.units import BOHR

ATOM = "O 1.0 2.0 3.0"


def write(path, header, atom=ATOM, columns="species:S:1:pos:R:3"):
    path.write_text(f"1\nProperties={columns} {header}\n{atom}\n")
    return path


@pytest.mark.parametrize("header", ["length_unit=bohr", "r_unit=Bohr", "units=atomic", 'units="Ha bohr"'])
def test_positions_and_cell_are_converted_to_angstrom(tmp_path, header):
    path = write(tmp_path / "o.xyz", f'Lattice="9 0 0 1 8 0 0 0 7" {header} energy=-1.0 energy_unit=Ha origin=here')
    atoms = read_one(path, None)
    np.testing.assert_allclose(atoms.positions, [[BOHR, 2 * BOHR, 3 * BOHR]], rtol=1e-14)
    np.testing.assert_allclose(atoms.cell.array, BOHR * np.array([[9, 0, 0], [1, 8, 0], [0, 0, 7]]), rtol=1e-14)
    assert atoms.calc is None
    assert atoms.info == {"origin": "here"}  # what is written later is in Å and eV


@pytest.mark.parametrize(
    "header", ["", "length_unit=Å", 'units="kcal/mol Å"', "energy_unit=kcal/mol forces_unit=Ha/bohr"]
)
def test_positions_in_angstrom_stay_as_they_are_and_units_of_other_labels_too(tmp_path, header):
    atoms = read_one(write(tmp_path / "o.xyz", f"{header} gap=1.5 gap_unit=eV"), None)
    assert atoms.positions.tolist() == [[1.0, 2.0, 3.0]]
    assert atoms.info == {"gap": 1.5, "gap_unit": "eV"}


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("length_unit=furlong", r"o\.xyz, structure 0: unknown length unit 'furlong', expected one of Å, bohr, nm, pm"),
        ('units="length=bohr"', r"o\.xyz, structure 0: units='length=bohr' is not understood"),
    ],
)
def test_units_that_are_not_known_are_an_error(tmp_path, header, message):
    with pytest.raises(ValueError, match=message):
        read_frames(write(tmp_path / "o.xyz", header))


def test_velocities_beside_positions_in_another_unit_are_an_error(tmp_path):
    columns, atom = "species:S:1:pos:R:3:momenta:R:3", f"{ATOM} 0.1 0.0 0.0"
    with pytest.raises(ValueError, match="positions in bohr with velocities, whose unit is not told"):
        read_frames(write(tmp_path / "o.xyz", "length_unit=bohr", atom, columns))
    assert read_frames(write(tmp_path / "o.xyz", "length_unit=Å", atom, columns))[0].get_momenta().any()
