"""Runs in folders: what they hold, that they go on to the last bit, and where they stop."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ase.constraints import FixAtoms
from ase.io import read

from pyg_equiformer import EquiformerCalculator, save_model
from pyg_equiformer.simulation import MDSettings, SimulationStopped, molecular_dynamics, resume_md, run_md
from pyg_equiformer.simulation.dynamics import temperature
from pyg_equiformer.simulation.figure import read_log
from pyg_equiformer.simulation.recording import read_restart

from .conftest import copper, water
from .killed_run import settings

FILES = ("trajectory.xyz", "log.csv")


def same(one: Path, other: Path) -> bool:
    """Whether trajectories, logs and the states at the end are the same to the last bit."""
    first, second = (json.loads((folder / "restart.json").read_text()) for folder in (one, other))
    return all((one / f).read_bytes() == (other / f).read_bytes() for f in FILES) and all(
        first[key] == second[key] for key in ("step", "energy", "atoms", "random", "dynamics")
    )


def structure(ensemble: str):
    return copper() if ensemble == "npt" else water()


@pytest.fixture
def models(molecule_model, metal_model, tmp_path):
    """Files of both models."""
    save_model(tmp_path / "nve.pt", molecule_model, elements=[1, 8])
    save_model(tmp_path / "npt.pt", metal_model, elements=[29])
    return {"nve": tmp_path / "nve.pt", "nvt": tmp_path / "nve.pt", "npt": tmp_path / "npt.pt"}


def test_a_run_writes_frames_log_and_figure_that_agree(calculator, tmp_path):
    seen = []
    result = run_md(
        water(), calculator, tmp_path / "run", settings("nve", 10), progress=lambda *both: seen.append(both)
    )
    assert {p.name for p in result.folder.iterdir()} == {"trajectory.xyz", "log.csv", "md.png", "restart.json"}
    assert (result.folder / "md.png").read_bytes().startswith(b"\x89PNG")
    frames, log = read(result.folder / "trajectory.xyz", index=":"), read_log(result.folder / "log.csv")
    assert [frame.info["step"] for frame in frames] == log["step"] == [0, 2, 4, 6, 8, 10]
    assert frames[-1].info["time_ps"] == pytest.approx(0.005)
    for frame, potential, kinetic in zip(frames, log["potential_eV"], log["kinetic_eV"]):
        assert frame.get_potential_energy() == pytest.approx(potential, abs=1e-7)
        assert frame.get_kinetic_energy() == pytest.approx(kinetic, abs=1e-6)
    fresh = frames[-1].copy()
    fresh.calc = calculator
    assert np.allclose(fresh.get_forces(), frames[-1].get_forces(), atol=1e-5)
    assert np.allclose(fresh.get_potential_energies(), frames[-1].get_potential_energies(), atol=1e-5)
    assert seen[0] == (0, 10)
    assert seen[-1] == (10, 10)
    assert log["temperature_K"][0] == pytest.approx(300)
    assert result.ns_per_day > 0
    assert np.abs(frames[-1].get_momenta().sum(0)).max() < 1e-6


@pytest.mark.parametrize("ensemble", ["nve", "nvt", "npt"])
def test_a_run_that_goes_on_is_to_the_last_bit_one_that_never_stopped(ensemble, models, tmp_path):
    def calculator() -> EquiformerCalculator:
        return EquiformerCalculator(models[ensemble])

    run_md(structure(ensemble), calculator(), tmp_path / "whole", settings(ensemble, 14))
    run_md(structure(ensemble), calculator(), tmp_path / "parts", settings(ensemble, 5))
    resume_md(tmp_path / "parts", calculator(), steps=9)
    resume_md(tmp_path / "parts", calculator(), steps=14)
    assert same(tmp_path / "whole", tmp_path / "parts")
    before = (tmp_path / "parts" / "trajectory.xyz").read_bytes()
    resume_md(tmp_path / "parts", calculator())
    assert (tmp_path / "parts" / "trajectory.xyz").read_bytes() == before


@pytest.mark.parametrize(
    "ensemble", [pytest.param("nve", marks=pytest.mark.slow), "nvt", pytest.param("npt", marks=pytest.mark.slow)]
)
def test_a_run_killed_at_any_moment_goes_on_to_the_last_bit(ensemble, models, tmp_path):
    command = [
        sys.executable,
        "-m",
        "tests.simulation.killed_run",
        str(models[ensemble]),
        str(tmp_path / "a"),
        ensemble,
    ]
    root = Path(__file__).parents[2]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    process = subprocess.Popen(command, cwd=root, env=environment)
    restart, end = tmp_path / "a" / "restart.json", time.monotonic() + 120
    while time.monotonic() < end and not (restart.exists() and json.loads(restart.read_text())["step"] >= 4):
        time.sleep(0.01)
    process.kill()
    process.wait()
    done = read_restart(tmp_path / "a")["step"]
    assert done >= 4
    resume_md(tmp_path / "a", EquiformerCalculator(models[ensemble]), steps=done + 3)
    run_md(structure(ensemble), EquiformerCalculator(models[ensemble]), tmp_path / "b", settings(ensemble, done + 3))
    assert same(tmp_path / "a", tmp_path / "b")


@pytest.mark.parametrize("last", [0, 5])
def test_a_run_that_was_interrupted_before_its_second_restart_file_goes_on_from_the_first(calculator, tmp_path, last):
    def interrupt(step: int, total: int) -> None:
        if step == last:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_md(water(), calculator, tmp_path / "a", settings("nvt", 8), save_seconds=1e6, progress=interrupt)
    assert read_restart(tmp_path / "a")["step"] == 0
    resume_md(tmp_path / "a", calculator)
    run_md(water(), calculator, tmp_path / "b", settings("nvt", 8))
    assert same(tmp_path / "a", tmp_path / "b")


def test_half_a_frame_and_half_a_line_are_cut_off(calculator, tmp_path):
    for name in "ab":
        run_md(water(), calculator, tmp_path / name, settings("nve", 4))
    for file in FILES:
        with (tmp_path / "a" / file).open("a") as opened:
            opened.write("3\nhalf a fra")
    resume_md(tmp_path / "a", calculator, steps=8)
    resume_md(tmp_path / "b", calculator, steps=8)
    assert same(tmp_path / "a", tmp_path / "b")


def test_a_run_stops_where_it_is_too_hot_and_goes_on_with_another_limit(calculator, tmp_path):
    hot = MDSettings("nvt", temperature=300.0, damping=5.0, steps=400, every=2, max_temperature=450.0)
    with pytest.raises(
        SimulationStopped, match=r"stopped at step \d+ .* K, above max_temperature=450 K; .*stopped.xyz"
    ):
        run_md(water(), calculator, tmp_path / "run", hot)
    frames, last = read(tmp_path / "run" / "trajectory.xyz", index=":"), read(tmp_path / "run" / "stopped.xyz")
    assert temperature(last) > 450 >= max(temperature(frame) for frame in frames) - 1e-3
    assert last.info["step"] > frames[-1].info["step"]
    assert (tmp_path / "run" / "md.png").exists()
    step = read_restart(tmp_path / "run")["step"]
    resume_md(tmp_path / "run", calculator, steps=step + 2, max_temperature=1e6)
    assert not (tmp_path / "run" / "stopped.xyz").exists()
    assert read(tmp_path / "run" / "trajectory.xyz").info["step"] in (step + 1, step + 2)


def test_a_run_stops_where_a_committee_disagrees(molecule_model, tmp_path):
    import copy

    other = copy.deepcopy(molecule_model)
    other.energy_scale *= 1.5
    calculator = EquiformerCalculator([molecule_model, other], elements=(1, 8))
    loose = MDSettings("nve", temperature=50.0, steps=2, every=1, max_spread=50.0)
    run_md(water(), calculator, tmp_path / "loose", loose)
    log, frame = read_log(tmp_path / "loose" / "log.csv"), read(tmp_path / "loose" / "trajectory.xyz")
    spread = np.linalg.norm(frame.arrays["forces_std"], axis=1).max()
    assert spread == pytest.approx(log["forces_std_max_eV_per_A"][-1], abs=1e-6)
    tight = MDSettings("nve", temperature=300.0, steps=400, every=1, max_spread=1.2 * spread)
    with pytest.raises(SimulationStopped, match=r"the committee's forces are .* eV/Å apart, above max_spread"):
        run_md(water(), calculator, tmp_path / "tight", tight)


def test_a_run_stops_where_atoms_collide_and_leaves_the_structure(calculator, tmp_path):
    atoms = water()
    atoms.set_velocities([[0, 0, 0], [0, -6.0, 0], [0, 6.0, 0]])
    with pytest.raises(SimulationStopped, match=r"stopped at step \d+ .* Å apart, nearer than min_distance"):
        run_md(atoms, calculator, tmp_path / "run", MDSettings("nve", every=1, max_temperature=1e9))
    assert len(read(tmp_path / "run" / "stopped.xyz")) == 3
    assert len(read(tmp_path / "run" / "trajectory.xyz", index=":")) >= 1


def test_a_run_stops_where_the_structure_came_apart_unless_it_began_so(calculator, tmp_path):
    atoms = water()
    atoms.set_velocities([[0, 0, 0], [0, 30.0, 0], [0, -30.0, 0]])
    settings = MDSettings("nve", timestep=0.1, every=1, steps=4000, max_temperature=1e9)
    with pytest.raises(
        SimulationStopped, match=r"no two atoms are nearer than the cutoff of 3 Å any more; the structure"
    ):
        run_md(atoms, calculator, tmp_path / "run", settings)
    apart = read(tmp_path / "run" / "stopped.xyz")
    assert apart.get_all_distances()[np.triu_indices(3, 1)].min() > 3
    apart.calc = None
    few = MDSettings("nve", timestep=0.1, every=1, steps=3, max_temperature=1e9)
    assert run_md(apart, calculator, tmp_path / "gas", few).steps == 3


def test_velocities_are_those_of_the_structure_where_no_temperature_is_given(calculator, tmp_path):
    atoms = water()
    with pytest.raises(ValueError, match="the structure has no velocities"):
        run_md(atoms, calculator, tmp_path / "run", MDSettings("nve", steps=2))
    atoms.set_momenta([[1.0, 0, 0], [0, 0.2, 0], [-1.0, -0.2, 0]])
    result = run_md(atoms, calculator, tmp_path / "run", MDSettings("nve", steps=2, every=1))
    assert np.allclose(read(result.folder / "trajectory.xyz", index=0).get_momenta(), atoms.get_momenta(), atol=1e-7)


def test_constraints_are_kept_over_a_restart(calculator, tmp_path):
    atoms = water()
    atoms.set_constraint(FixAtoms([0]))
    run_md(atoms, calculator, tmp_path / "run", settings("nvt", 4))
    resume_md(tmp_path / "run", calculator, steps=8)
    frames = read(tmp_path / "run" / "trajectory.xyz", index=":")
    assert np.array_equal(frames[0].positions[0], frames[-1].positions[0])
    assert not np.array_equal(frames[0].positions[1], frames[-1].positions[1])


@pytest.mark.slow
def test_langevin_dynamics_have_the_temperature_of_their_heat_bath_and_no_drift(metal, tmp_path):
    hot = MDSettings("nvt", temperature=400.0, timestep=2.0, steps=300, every=5, damping=20.0)
    log = read_log(run_md(copper(), metal, tmp_path / "run", hot).folder / "log.csv")
    # 9 degrees of freedom fluctuate by 47 %; 50 frames, about 20 of them independent of each other: by 11 %.
    assert np.mean(log["temperature_K"][10:]) == pytest.approx(400, rel=0.35)
    frames = read(tmp_path / "run" / "trajectory.xyz", index=":")
    assert np.allclose(frames[0].get_center_of_mass(), frames[-1].get_center_of_mass(), atol=1e-6)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"ensemble": "nph"}, "ensemble: expected one of"),
        ({"ensemble": "nvt"}, "temperature: expected one in K for nvt, got none"),
        ({"temperature": -3.0}, "temperature: expected a positive number of K, got -3.0"),
        ({"pressure": 1.0}, "pressure: nve has none, got 1.0 GPa; expected ensemble npt"),
        ({"timestep": 0.0}, "timestep: expected a positive number of fs"),
        ({"steps": 0}, "steps: expected a whole number, at least 1"),
        ({"every": 2.5}, "every: expected a whole number"),
        ({"max_spread": 0.0}, "max_spread: expected a positive number"),
    ],
)
def test_settings_out_of_range_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        MDSettings(**wrong)


def test_folders_structures_and_models_that_do_not_go_together_are_refused(calculator, metal, tmp_path):
    with pytest.raises(ValueError, match="npt needs a cell that repeats in all three directions"):
        run_md(water(), calculator, tmp_path / "run", settings("npt", 4))
    with pytest.raises(ValueError, match="not trained on Cu"):
        run_md(copper(), calculator, tmp_path / "run", settings("nve", 4))
    assert not (tmp_path / "run").exists()
    run_md(water(), calculator, tmp_path / "run", settings("nve", 4))
    with pytest.raises(ValueError, match=r"exists already, expected a new or empty folder, or to resume"):
        run_md(water(), calculator, tmp_path / "run", settings("nve", 4))
    with pytest.raises(ValueError, match="holds 4 steps already"):
        resume_md(tmp_path / "run", calculator, steps=3)
    other = EquiformerCalculator(calculator.model, elements=(1, 8))
    other.model.energy_shift += 1.0
    with pytest.raises(ValueError, match="expected the model of the run"):
        resume_md(tmp_path / "run", other)
    (tmp_path / "run" / "trajectory.xyz").write_text("")
    with pytest.raises(ValueError, match=r"trajectory.xyz is shorter than .*restart.json tells"):
        resume_md(tmp_path / "run", calculator)
    with pytest.raises(FileNotFoundError, match="expected the folder of a molecular dynamics run"):
        resume_md(tmp_path, calculator)
    (tmp_path / "restart.json").write_text("{}")
    with pytest.raises(ValueError, match="is no restart file"):
        resume_md(tmp_path, calculator)


def test_restart_files_are_written_every_so_often(calculator, tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(
        molecular_dynamics.Recorder, "save", lambda self, atoms, dynamics, *_: saved.append(dynamics.nsteps)
    )
    run_md(water(), calculator, tmp_path / "rarely", settings("nve", 7), save_seconds=1e6)
    assert saved == [0, 7]
    saved.clear()
    run_md(water(), calculator, tmp_path / "often", settings("nve", 7), save_seconds=0)
    assert saved == [0, 2, 4, 6, 7]
