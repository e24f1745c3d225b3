"""TorchSim's interface: its own validator, agreement with the model itself, and what TorchSim does with it."""

import sys

import numpy as np
import pytest
import torch
from torch_geometric.data import Batch, Data

from pyg_equiformer import EnergyForces, Ensemble, PropertyModel, save_model
from pyg_equiformer.data import RadiusGraph

from ..models.conftest import tiny

ts = pytest.importorskip("torch_sim")
build = pytest.importorskip("ase.build")

from pyg_equiformer.simulation import EquiformerTorchSim  # noqa: E402

CPU = torch.device("cpu")


def potential(seed: int = 0, cutoff: float = 4.0, **settings) -> EnergyForces:
    network = tiny(num_layers=1, cutoff=cutoff)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in network.parameters():
            p += 0.1 * torch.randn(p.shape, generator=generator, dtype=p.dtype)
    return EnergyForces(network, energy_scale=0.3, **settings)


def crystals() -> list:
    """Systems of different sizes, sheared and thin ones among them, with atoms outside of their cells."""
    sheared = build.bulk("NaCl", "rocksalt", a=5.6) * (2, 1, 1)
    shear = np.array([[1.0, 0.2, 0.0], [0.05, 1.0, 0.0], [0.0, 0.1, 1.0]])
    sheared.set_cell(sheared.cell.array @ shear, scale_atoms=True)
    silicon = build.bulk("Si", cubic=True)
    outside = build.bulk("Fe")
    systems = [sheared, silicon, outside]
    for seed, atoms in enumerate(systems):
        atoms.rattle(0.1, seed=seed)
    silicon.positions[2] += 2 * silicon.cell.array[0]
    return systems


def as_data(atoms) -> Data:
    cell, pbc = torch.tensor(atoms.cell.array).unsqueeze(0), torch.tensor(atoms.pbc).unsqueeze(0)
    return Data(z=torch.tensor(atoms.numbers), pos=torch.tensor(atoms.positions), cell=cell, pbc=pbc)


def test_torchsims_own_validator_passes():
    from torch_sim.models.interface import validate_model_outputs

    validate_model_outputs(EquiformerTorchSim(potential()), CPU, torch.float64)
    validate_model_outputs(EquiformerTorchSim(Ensemble([potential(0), potential(1)])), CPU, torch.float64)


@pytest.mark.parametrize("directions", [(True, True, True), (True, True, False), (False, False, False)])
def test_many_systems_at_once_are_what_the_model_says_of_each(directions):
    if 0 < sum(directions) < 3 and isinstance(ts.io.atoms_to_state(crystals(), CPU, torch.float64).pbc, bool):
        pytest.skip("this version of TorchSim knows periodicity in all directions or none")
    systems, model = crystals(), potential(stress=True, atomic_energies={z: -z for z in (11, 14, 17, 26)})
    for atoms in systems:
        atoms.pbc = directions
    out = EquiformerTorchSim(model)(ts.io.atoms_to_state(systems, CPU, torch.float64))
    each = [model(RadiusGraph(4.0)(as_data(atoms))) for atoms in systems]
    for name in ("energy", "forces", "stress"):
        assert torch.allclose(out[name], torch.cat([e[name] for e in each]), rtol=1e-10, atol=1e-10), name
        assert not out[name].requires_grad
    assert float(out["forces"].abs().max()) > 1e-3


def test_molecules_have_forces_and_no_stress():
    systems, model = [build.molecule("H2O"), build.molecule("CH3CH2OH")], potential()
    out = EquiformerTorchSim(model)(ts.io.atoms_to_state(systems, CPU, torch.float64))
    each = model(Batch.from_data_list([Data(z=d.z, pos=d.pos) for d in map(as_data, systems)]))
    assert torch.allclose(out["forces"], each["forces"], rtol=1e-10, atol=1e-12)
    assert out["stress"].isnan().all()


def test_the_model_that_was_given_is_left_as_it_is():
    model = potential().train()
    adapter = EquiformerTorchSim(model, dtype=torch.float32)
    assert not model.stress
    assert model.training
    assert next(model.parameters()).dtype == torch.float64
    assert adapter.dtype == torch.float32
    out = adapter(ts.io.atoms_to_state(crystals(), CPU, torch.float32))
    assert out["forces"].dtype == out["stress"].dtype == torch.float32


def test_the_stress_can_be_left_out_and_asked_for_again():
    adapter = EquiformerTorchSim(potential(), compute_stress=False)
    state = ts.io.atoms_to_state(crystals(), CPU, torch.float64)
    assert set(adapter(state)) == {"energy", "forces"}
    adapter.compute_stress = True
    assert set(adapter(state)) == {"energy", "forces", "stress"}
    with pytest.raises(NotImplementedError):
        adapter.compute_forces = False


def test_a_dict_in_place_of_a_state_is_taken():
    adapter, state = EquiformerTorchSim(potential()), ts.io.atoms_to_state(crystals(), CPU, torch.float64)
    names = ("positions", "cell", "pbc", "atomic_numbers", "system_idx")
    out = adapter({name: getattr(state, name) for name in names})
    assert torch.equal(out["forces"], adapter(state)["forces"])


def test_trained_models_are_loaded_and_refuse_what_they_never_saw(tmp_path):
    save_model(tmp_path / "model.pt", potential(), elements=[11, 17])
    adapter = EquiformerTorchSim(tmp_path)
    assert adapter.elements == (11, 17)
    adapter(ts.io.atoms_to_state(crystals()[:1], CPU, torch.float64))
    with pytest.raises(ValueError, match=r"trained on the elements Z = \[11, 17\], got \[14, 26\]"):
        adapter(ts.io.atoms_to_state(crystals(), CPU, torch.float64))
    everything = EquiformerTorchSim(tmp_path / "model.pt", elements=range(1, 100))
    everything(ts.io.atoms_to_state(crystals(), CPU, torch.float64))


def test_what_cannot_be_used_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"expected a model of energies .*, got PropertyModel"):
        EquiformerTorchSim(PropertyModel(tiny(num_layers=1), ["gap"]))
    with pytest.raises(FileNotFoundError, match=r"there is no file .*model\.pt"):
        EquiformerTorchSim(tmp_path)
    with pytest.raises(ValueError, match=r"expected a state of torch\.float64 on cpu, .* got torch\.float32 on cpu"):
        EquiformerTorchSim(potential())(ts.io.atoms_to_state(crystals(), CPU, torch.float32))


def test_without_torchsim_the_extra_is_named(monkeypatch):
    for name in [m for m in sys.modules if m == "torch_sim" or m.startswith("torch_sim.")]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "pyg_equiformer.simulation.torchsim", raising=False)
    with pytest.raises(ImportError, match=r"pip install \"pyg_equiformer\[torchsim\]\""):
        from pyg_equiformer.simulation import EquiformerTorchSim  # noqa: F401


def springs() -> EnergyForces:
    """A potential whose forces are strong enough for something to happen in a few steps."""
    model = potential(atomic_energies={1: -13.6, 6: -1030.0, 8: -2041.0})
    model.energy_scale = 3.0
    return model


def new_names() -> bool:
    """Whether integrators and optimizers are told by name, as in TorchSim from 0.4 on."""
    return hasattr(ts, "Integrator")


def test_many_molecules_move_at_constant_energy():
    systems = [build.molecule(name) for name in ("H2O", "CH3CH2OH", "CH4")]
    adapter = EquiformerTorchSim(springs(), compute_stress=False)
    integrator = ts.Integrator.nve if new_names() else ts.integrators.nve

    def total(timestep: float, steps: int) -> torch.Tensor:
        torch.manual_seed(0)
        state = ts.integrate(
            systems, adapter, integrator=integrator, n_steps=steps, temperature=300.0, timestep=timestep
        )
        moving = 0.5 * (state.momenta.square().sum(1) / state.masses)
        return state.energy + torch.zeros_like(state.energy).index_add(0, state.system_idx, moving.to(state.energy))

    start = total(1e-9, 1)
    long, short = (total(5e-4, 10) - start).abs(), (total(2.5e-4, 20) - start).abs()
    assert start.shape == (3,)
    assert float(long.max()) < 0.05
    assert float(short.max()) < 0.5 * float(long.max())  # velocity Verlet: a quarter, for half the step


def test_a_thermostat_runs_on_many_crystals_in_float32():
    adapter = EquiformerTorchSim(potential(), dtype=torch.float32)
    integrator = ts.Integrator.nvt_langevin if new_names() else ts.integrators.nvt_langevin
    state = ts.integrate(crystals(), adapter, integrator=integrator, n_steps=3, temperature=300.0, timestep=1e-3)
    assert state.energy.shape == (3,)
    assert bool(state.positions.isfinite().all())


def test_many_molecules_relax_downhill_with_fire():
    systems = [build.molecule(name) for name in ("H2O", "CH4")]
    adapter = EquiformerTorchSim(springs(), compute_stress=False)
    before = adapter(ts.io.atoms_to_state(systems, CPU, torch.float64))
    optimizer = ts.Optimizer.fire if new_names() else ts.optimizers.fire
    after = ts.optimize(systems, adapter, optimizer=optimizer, max_steps=15, steps_between_swaps=5)
    assert bool((after.energy < before["energy"]).all())


def test_a_committee_runs_too():
    adapter = EquiformerTorchSim(Ensemble([springs(), springs()]), compute_stress=False)
    optimizer = ts.Optimizer.fire if new_names() else ts.optimizers.fire
    after = ts.optimize([build.molecule("H2O")], adapter, optimizer=optimizer, max_steps=3, steps_between_swaps=3)
    assert bool(after.energy.isfinite().all())
