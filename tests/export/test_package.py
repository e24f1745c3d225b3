"""Exported files give what the model gives, and their own kind of errors."""

import subprocess
import sys

import pytest
import torch
from torch_geometric.data import Batch, Data

from pyg_equiformer import EnergyForces, Equiformer, periodic_radius_graph, save_model
from pyg_equiformer.data import RadiusGraph
from pyg_equiformer.export import export_model, export_run, load_exported

from .potentials import potential

WATER = Data(
    z=torch.tensor([8, 1, 1]),
    pos=torch.tensor([[0.0, 0.0, 0.12], [0.0, 0.76, -0.48], [0.0, -0.76, -0.48]], dtype=torch.float64),
)
CELL = torch.tensor([[3.1, 0.2, 0.0], [0.0, 3.4, 0.3], [0.5, 0.0, 3.0]], dtype=torch.float64)


def with_stress(model):
    numbers = {name: getattr(model, name) for name in ("energy_scale", "energy_shift", "atomic_energies")}
    return EnergyForces(model.model, **numbers, stress=True).eval()


@pytest.fixture(scope="module")
def loaded(package):
    return load_exported(package)


@pytest.mark.slow
def test_a_loaded_file_is_the_model_for_molecules_and_batches(loaded, model):
    for data in (WATER, Batch.from_data_list([WATER, Data(z=WATER.z[:1], pos=WATER.pos[:1]), WATER])):
        out, wanted = loaded(data), model(data)
        assert set(out) == {"energy", "forces"}
        for name, value in out.items():
            torch.testing.assert_close(value, wanted[name].detach(), rtol=1e-11, atol=1e-11)
    again = loaded(WATER.z, WATER.pos, torch.zeros(3, dtype=torch.long))
    torch.testing.assert_close(again["energy"], model(WATER)["energy"].detach())


@pytest.mark.slow
def test_a_loaded_file_is_the_model_for_crystals_in_any_order_of_edges(loaded, model):
    edges, shift = periodic_radius_graph(WATER.pos, 5.0, CELL, torch.tensor([True] * 3))
    wanted = with_stress(model)(WATER.z, WATER.pos, edge_index=edges, edge_shift=shift, cell=CELL[None])
    order = torch.randperm(edges.shape[1])
    out = loaded(WATER.z, WATER.pos, edge_index=edges[:, order], edge_shift=shift[order], cell=CELL[None])
    for name in ("energy", "forces", "stress"):
        torch.testing.assert_close(out[name], wanted[name].detach(), rtol=1e-10, atol=1e-11)
    crystal = Data(z=WATER.z, pos=WATER.pos, cell=CELL[None], pbc=torch.tensor([[True] * 3]))
    for data in (crystal, RadiusGraph(5.0)(crystal)):  # images are found by the file's wrapper, or before
        torch.testing.assert_close(loaded(data)["stress"], out["stress"])


@pytest.mark.slow
def test_one_file_serves_one_atom_and_many(loaded, model):
    generator = torch.Generator().manual_seed(0)
    for n in (1, 2, 64, 200):
        pos = 12 * torch.rand(n, 3, generator=generator, dtype=torch.float64)
        z = torch.full((n,), 8)
        torch.testing.assert_close(loaded(z, pos)["forces"], model(z, pos)["forces"].detach(), rtol=1e-9, atol=1e-10)


@pytest.mark.slow
def test_wrong_inputs_are_told_apart(loaded):
    z, pos = WATER.z, WATER.pos
    edges, shift = periodic_radius_graph(pos, 5.0, CELL, torch.tensor([True] * 3))
    with pytest.raises(ValueError, match=r"elements Z = \[1, 8\], got \[6\]"):
        loaded(torch.tensor([8, 6, 1]), pos)
    with pytest.raises(ValueError, match=r"float64, got pos in torch.float32"):
        loaded(z, pos.float())
    with pytest.raises(ValueError, match="cell is missing"):
        loaded(z, pos, edge_index=edges, edge_shift=shift)
    with pytest.raises(ValueError, match="a cell was given but no pbc"):
        loaded(z, pos, cell=CELL[None])
    with pytest.raises(ValueError, match=r"cell must have shape \[1, 3, 3\]"):
        loaded(z, pos, edge_index=edges, edge_shift=shift, cell=CELL)
    with pytest.raises(ValueError, match=r"cutoff of 4\.0 Å"):
        loaded(RadiusGraph(4.0)(WATER.clone()))
    with pytest.raises(ValueError, match="must be finite"):
        loaded(z, pos * torch.nan)


@pytest.mark.slow
def test_a_file_runs_in_a_python_that_cannot_import_this_package(package, model):
    code = f"""
import sys
for name in ("pyg_equiformer", "torch_geometric", "e3nn"):
    sys.modules[name] = None
import torch
run = torch._inductor.aoti_load_package({str(package)!r})
facts = run.get_metadata()
assert facts["inputs"] == "z pos edge_index edge_shift cell batch" and facts["elements"] == "1 8"
z, pos = torch.tensor({WATER.z.tolist()}), torch.tensor({WATER.pos.tolist()}, dtype=getattr(torch, facts["dtype"]))
pairs = torch.tensor([[i, j] for i in range(3) for j in range(3) if i != j]).t().contiguous()
zeros = torch.zeros(6, 3, dtype=pos.dtype), torch.zeros(1, 3, 3, dtype=pos.dtype), torch.zeros(3, dtype=torch.long)
energy, forces, stress = run(z, pos, pairs, *zeros)
print(energy.item(), forces[0, 2].item())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    energy, force = map(float, done.stdout.split())
    wanted = model(WATER)
    assert energy == pytest.approx(wanted["energy"].item(), rel=1e-12)
    assert force == pytest.approx(wanted["forces"][0, 2].item(), rel=1e-9)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*missing\.pt2"):
        load_exported(tmp_path / "missing.pt2")
    (tmp_path / "text.pt2").write_text("no package")
    with pytest.raises(ValueError, match=r"text\.pt2 is not an AOTInductor package"):
        load_exported(tmp_path / "text.pt2")


def test_places_and_devices_that_cannot_be_are_refused_at_once(tmp_path, monkeypatch):
    model = potential()
    with pytest.raises(ValueError, match=r"ends in \.pt2"):
        export_model(model, tmp_path / "model.pt")
    with pytest.raises(ValueError, match="device must be one of"):
        export_model(model, tmp_path / "model.pt2", device="tpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="no CUDA device"):
        export_model(model, tmp_path / "model.pt2", device="cuda")
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ValueError, match=r"C\+\+ compiler.*no-such-compiler"):
        export_model(model, tmp_path / "model.pt2")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        export_run(tmp_path / "no-run", tmp_path / "model.pt2")
    assert list(tmp_path.iterdir()) == []


def test_a_model_of_another_kind_is_refused_by_its_file(tmp_path):
    save_model(tmp_path / "model.pt", Equiformer.from_preset("small", num_layers=1))
    with pytest.raises(ValueError, match="EnergyForces"):
        export_run(tmp_path, tmp_path / "model.pt2")


@pytest.mark.slow
def test_a_network_without_envelope_is_exported_where_several_threads_compute(tmp_path):
    """There compilers have no operator of their own that adds rows, and cannot size the file's table for another's."""
    settings = {"head": "mlp", "envelope": "none", "basis": "exp"}
    model, threads = potential(**settings), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        export_model(model, tmp_path / "model.pt2", elements=[1, 8])
        exported = load_exported(tmp_path / "model.pt2")
        z, pos = torch.tensor([8, 1, 1]), torch.randn(3, 3, dtype=torch.float64)
        torch.testing.assert_close(exported(z, pos)["forces"], model(z, pos)["forces"].detach())
    finally:
        torch.set_num_threads(threads)
