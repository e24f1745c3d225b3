import lzma

import numpy as np
import pytest

from pyg_equiformer.data import SAMPLES, ReadOptions, open_structures
from tests.data.structure_files import WATER, waters, write

pytest.importorskip("ase")


def read(tmp_path, text, **options):
    return open_structures(write(tmp_path / "water.xyz", text), ReadOptions(**options))


def with_energies(energies):
    return waters(len(energies), lambda i, text: text.replace(f"energy={-137.5 - i / 64}", f"energy={energies[i]!r}"))


@pytest.mark.parametrize(
    ("factor", "names"),
    [
        (27.2114, "hartree and eV"),
        (1 / 27.2114, "hartree and eV"),
        (23.0605, "eV and kcal/mol"),
        (627.51, "hartree and kcal/mol"),
        (96.485, "eV and kJ/mol"),
        (1 / 96.485, "eV and kJ/mol"),
    ],
)
def test_energies_that_are_off_by_a_unit_are_found_though_no_frame_states_any(tmp_path, factor, names):
    energies = [-137.5, -137.25, -137.625 * factor, -138.0, -137.75 * factor]
    with pytest.raises(ValueError, match=rf"mixed units: frames 2, 4 .*against frames 0, 1, 3 .*between {names}"):
        read(tmp_path, with_energies(energies))


def test_two_frames_are_enough_to_find_a_unit_factor_of_total_energies(tmp_path):
    with pytest.raises(ValueError, match="energies of mixed units"):
        read(tmp_path, with_energies([-137.5, -137.6 * 27.2114]))


@pytest.mark.parametrize(
    "energies",
    [
        [-137.5, -137.25, -110.0, -130.0],  # a large spread, but no factor
        [-137.5, -137.25, -137.625 * 15],  # far off, but by no factor between units
        [0.05, 0.051, 0.05 * 27.2114, 0.3],  # relative energies may have any ratio
        [-0.02, -0.02, -0.02 * 23.0605],  # formation energies, too
        [0.0, 0.0, 27.2],
    ],
)
def test_energies_that_merely_differ_are_not_accused(tmp_path, energies):
    assert len(read(tmp_path, with_energies(energies))) == len(energies)


def test_other_compositions_may_have_any_ratio(tmp_path):
    atom = "1\nProperties=species:S:1:pos:R:3:forces:R:3 energy={}\n{} 0 0 0 0 0 0\n"
    text = atom.format(-13.6, "H") + atom.format(-13.6 * 27.2114, "C")
    assert len(read(tmp_path, text)) == 2


def stated(unit):
    return lambda index, text: text.replace("energy=", f"energy_unit={unit} energy=") if index == 1 else text


def test_frames_that_state_different_units_are_all_converted_and_it_is_told(tmp_path):
    text = waters(1).replace("energy=", "energy_unit=eV energy=")
    other = waters(2, stated("Ha")).replace(f"={-137.5 - 1 / 64}", "=-5.0")
    both = text + other[other.index("3\n", 10) :]
    found = read(tmp_path, both)
    assert [data.energy.item() for data in found.structures] == [-137.5, -5.0 * 27.211386245981]
    assert found.notes == (
        "frames state different units of energy, all were converted: 1 in eV (frame 0), 1 in Ha (frame 1)",
    )


def test_frames_without_a_unit_beside_frames_in_another_one_are_refused(tmp_path):
    with pytest.raises(
        ValueError, match="frame 1 state energy in Ha, frames 0, 2 state no unit and would be read in eV"
    ):
        read(tmp_path, waters(3, stated("Ha")))
    assert len(read(tmp_path, waters(3, stated("eV")))) == 3


def test_the_bundled_trajectories_are_not_accused_but_are_once_a_frame_is_in_hartree(tmp_path):
    text = lzma.decompress((SAMPLES / "ethanol_test.xyz.xz").read_bytes()).decode()
    assert open_structures(SAMPLES / "ethanol_test.xyz.xz").notes == ()
    first = text[text.index(" energy=") + 8 :].split()[0]
    path = write(tmp_path / "mixed.xyz", text.replace(first, repr(float(first) / 27.211386), 1))
    with pytest.raises(ValueError, match="mixed units: frame 0 "):
        open_structures(path)


def test_masked_energies_take_no_part(tmp_path):
    text = waters(3) + WATER.replace("energy=-137.5", "energy=nan").replace("0.125 0.5", "9.0 0.5")
    found = read(tmp_path, text, missing_labels="mask")
    assert np.isnan(found.structures[3].energy.item())
