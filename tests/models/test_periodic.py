"""Models called directly with cells: neighbours through images, gradients by the cell, and what must not change."""

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Batch, Data

from pyg_equiformer import EnergyForces, Ensemble, PropertyModel
from pyg_equiformer.data import RadiusGraph

from ..shared_data import DATA
from .conftest import tiny
from .finite_stress import finite_stress

CUTOFF = 3.5
ALL = torch.tensor([True, True, True])


def potential(layers: int = 1, **settings) -> EnergyForces:
    settings = {"cutoff": CUTOFF, "elements": (6, 8, 11, 14, 17), "num_layers": layers, **settings}
    return EnergyForces(tiny(**settings), energy_scale=10.0, energy_shift=0.0, stress=True)


def crystal(cell: Tensor | None = None, pos: Tensor | None = None, pbc: Tensor = ALL, repeat: int = 1) -> Data:
    """A triclinic cell of three atoms, thinner than the cutoff, with one atom outside; no edges."""
    if cell is None:
        cell = torch.tensor([[3.1, 0.0, 0.2], [0.4, 3.4, 0.0], [-0.3, 0.5, 3.9]], dtype=torch.float64)
    if pos is None:
        pos = torch.tensor([[0.1, 0.2, 0.0], [1.7, 1.5, 2.1], [5.0, -1.0, 1.0]], dtype=torch.float64)
    pos = torch.cat([pos + k * cell[1] for k in range(repeat)])
    cell = cell * torch.tensor([[1.0], [float(repeat)], [1.0]], dtype=torch.float64)
    z = torch.tensor([11, 17, 8]).repeat(repeat)
    return Data(z=z, pos=pos, cell=cell[None], pbc=pbc[None])


def strained(data: Data, strain: Tensor) -> Data:
    return Data(z=data.z, pos=data.pos + data.pos @ strain, cell=data.cell + data.cell @ strain, pbc=data.pbc)


@pytest.mark.parametrize("seed", range(4))
def test_stress_of_random_triclinic_cells_is_the_finite_difference_by_the_strain(seed):
    generator = torch.Generator().manual_seed(seed)
    cell = 3.4 * torch.eye(3) + 0.8 * torch.randn(3, 3, generator=generator, dtype=torch.float64)
    pos = torch.rand(3, 3, generator=generator, dtype=torch.float64) @ cell + torch.tensor([4.0, 0.0, -7.0])
    model, data = potential(), crystal(cell, pos)
    stress, volume = model(data)["stress"][0].detach(), float(torch.linalg.det(cell).abs())
    found = finite_stress(lambda strain: float(model(strained(data, strain))["energy"].detach()), volume)
    assert stress.abs().max() > 1e-3
    assert (stress - found).abs().max() < 1e-6


def test_the_sign_of_the_stress_is_positive_under_tension():
    """A crystal with a positive stress lowers its energy by shrinking, one with a negative stress by growing."""
    model, data = potential(), crystal()
    stress = model(data)["stress"][0].detach()
    sign = 1.0 if stress[0, 0] > 0 else -1.0
    shorter = torch.zeros(3, 3, dtype=torch.float64)
    shorter[0, 0] = -1e-4 * sign
    assert float(model(strained(data, shorter))["energy"].detach()) < float(model(data)["energy"].detach())


def test_energy_can_be_differentiated_twice_by_positions_and_cell():
    model, data = potential(), crystal()

    def energy(pos: Tensor, cell: Tensor) -> Tensor:
        return model.model(data.z, pos, cell=cell, pbc=data.pbc)

    leaves = data.pos.clone().requires_grad_(), data.cell.clone().requires_grad_()
    assert torch.autograd.gradcheck(energy, leaves, atol=1e-6)
    assert torch.autograd.gradgradcheck(energy, leaves, atol=1e-5, fast_mode=True)


@pytest.mark.parametrize("stored", [False, True])
def test_the_gradient_by_the_cell_and_the_forces_give_the_stress(stored):
    """σ V = Σ xᵢ ∂E/∂xᵢ + cellᵀ ∂E/∂cell, made symmetric; with stored shifts, too."""
    model, data = potential(layers=2), crystal()
    data = RadiusGraph(CUTOFF)(data) if stored else data
    out = model(data)
    data.cell.requires_grad_()
    energy = model(data)["energy"]
    (by_cell,) = torch.autograd.grad(energy, data.cell)
    virial = -data.pos.T @ out["forces"] + data.cell[0].T @ by_cell[0]
    volume = torch.linalg.det(data.cell[0]).abs()
    assert by_cell.abs().max() > 1e-2
    assert torch.allclose((virial + virial.T) / 2 / volume, out["stress"][0], atol=1e-12)


def test_stored_and_direct_neighbours_give_the_same():
    model, data = potential(layers=2), crystal()
    direct, stored = model(data), model(RadiusGraph(CUTOFF)(data))
    for name in ("energy", "forces", "stress"):
        assert torch.equal(direct[name], stored[name])


@pytest.mark.parametrize("repeat", [2, 3, 5])
def test_the_energy_per_atom_of_supercells_is_the_same(repeat):
    model = potential(layers=2)
    one, many = model(crystal()), model(crystal(repeat=repeat))
    assert torch.allclose(many["energy"] / repeat, one["energy"], atol=1e-11)
    assert torch.allclose(many["forces"], one["forces"].repeat(repeat, 1), atol=1e-11)
    assert torch.allclose(many["stress"], one["stress"], atol=1e-12)


def test_atoms_moved_by_cell_vectors_and_a_moved_crystal_give_the_same():
    model, data = potential(layers=2), crystal()
    n = torch.tensor([[1, -2, 0], [0, 3, 7], [-5, 0, 1]]).double()
    want = model(data)
    for pos in (data.pos + n @ data.cell[0], data.pos + torch.tensor([17.0, -3.0, 0.4])):
        got = model(crystal(pos=pos))
        for name in ("energy", "forces", "stress"):
            assert torch.allclose(got[name], want[name], atol=1e-10)


@pytest.mark.parametrize(
    "basis",
    [[[1, 1, 0], [0, 1, 0], [0, 0, 1]], [[2, 1, 0], [1, 1, 0], [0, 3, 1]], [[0, 1, 0], [1, 0, 0], [0, 0, 1]]],
    ids=["sheared", "skewed", "left-handed"],
)
def test_another_basis_of_the_same_lattice_gives_the_same(basis):
    model, data = potential(layers=2), crystal()
    want, got = model(data), model(crystal(torch.tensor(basis).double() @ data.cell[0]))
    for name in ("energy", "forces", "stress"):
        assert torch.allclose(got[name], want[name], atol=1e-10)


def test_a_batch_equals_its_structures_one_by_one():
    model = potential(layers=2)
    slab = crystal(pbc=torch.tensor([True, False, True]))
    box = crystal(torch.zeros(3, 3).double(), pbc=~ALL)
    structures = [crystal(), slab, box, crystal(repeat=2)]
    together, start = model(Batch.from_data_list(structures)), 0
    for k, data in enumerate(structures):
        alone, stop = model(data), start + len(data.z)
        assert torch.allclose(together["energy"][k], alone["energy"][0], atol=1e-12)
        assert torch.allclose(together["forces"][start:stop], alone["forces"], atol=1e-12)
        assert torch.allclose(together["stress"][k], alone["stress"][0], atol=1e-12, equal_nan=True)
        start = stop
    assert together["stress"].isnan().flatten(1).any(1).tolist() == [False, False, True, False]


def test_committees_and_properties_find_images_too():
    data = crystal()
    members = [potential(), potential(heads=1)]
    out = Ensemble(members)(data)
    mean = sum(member(data)["stress"] for member in members) / 2
    assert torch.allclose(out["stress"], mean, atol=1e-13)
    assert (out["stress_std"] > 0).all()
    model = PropertyModel(members[0].model, ["gap"])
    assert torch.equal(model(data)["gap"], model(RadiusGraph(CUTOFF)(data))["gap"])
    assert not torch.allclose(model(data)["gap"], model(data.z, data.pos)["gap"])


@pytest.mark.slow
def test_compiled_potentials_find_images_and_give_the_same_stress(monkeypatch):
    compile_ = torch.compile  # captured as the flag does, but run operation by operation: seconds instead of minutes
    monkeypatch.setattr(torch, "compile", lambda function, **options: compile_(function, backend="eager", **options))
    model, batch = potential(), Batch.from_data_list([crystal(), crystal(repeat=2)])
    want = model(batch)
    model.model.set_compile(True)
    with torch.no_grad():
        got = model(batch)
    for name in ("energy", "forces", "stress"):
        assert torch.allclose(got[name], want[name], atol=1e-12)


@pytest.mark.parametrize("element", ["Si", "Mo"])
def test_measured_crystals_give_the_same_directly_and_stored_and_far_from_home(element):
    if not (DATA / "mlearn.npz").is_file():
        pytest.skip("the benchmark data are not beside this checkout")
    import numpy as np

    arrays = np.load(DATA / "mlearn.npz")
    counts = arrays[f"{element}/test/n_atoms"]
    ends = counts.cumsum()
    model = EnergyForces(tiny(num_layers=1), stress=True)
    smallest = [int(k) for k in counts.argsort()[:3]]
    structures = []
    for k in smallest:
        rows = slice(int(ends[k] - counts[k]), int(ends[k]))
        pos, cell = (
            torch.from_numpy(a).double()
            for a in (arrays[f"{element}/test/pos"][rows], arrays[f"{element}/test/cell"][k])
        )
        z = torch.full((len(pos),), {"Si": 14, "Mo": 42}[element])
        structures.append(Data(z=z, pos=pos, cell=cell[None], pbc=ALL[None]))
    want = model(Batch.from_data_list([RadiusGraph(5.0)(s) for s in structures]))
    got = model(Batch.from_data_list(structures))
    for s in structures:
        s.pos = s.pos + 3 * s.cell[0, 0] - s.cell[0, 2]
    moved = model(Batch.from_data_list(structures))
    for name in ("energy", "forces", "stress"):
        assert torch.allclose(got[name], want[name], atol=1e-12)
        assert torch.allclose(moved[name], want[name], atol=1e-8)


def without(data: Data, name: str) -> Data:
    del data[name]
    return data


def changed(**fields) -> Data:
    data = crystal()
    for name, value in fields.items():
        data[name] = value
    return data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (without(crystal(), "pbc"), "a cell was given but no pbc"),
        (without(crystal(), "cell"), "pbc was given but no cell"),
        (changed(cell=torch.eye(3).double().repeat(2, 1, 1)), r"cell must be .* \[1, 3, 3\], got \[2, 3, 3\]"),
        (changed(pbc=torch.ones(1, 3)), r"pbc must be a bool tensor of shape \[1, 3\], got \[1, 3\] of torch.float32"),
        (changed(cell=torch.zeros(1, 3, 3).double()), "independent cell vectors"),
        (changed(cell=torch.ones(1, 3, 3).double()), "independent cell vectors"),
        (changed(cell=torch.full((1, 3, 3), torch.nan).double()), "finite cell vectors"),
        (changed(cell=torch.eye(3).double()[None] * 1e-3), "check its unit"),
        (changed(pos=torch.full((3, 3), torch.nan).double()), "pos must be finite"),
        (changed(pos=torch.zeros(3, 3).double()), "atoms 0 and 1 .*are at one place"),
    ],
)
def test_structures_that_cannot_be_are_refused(data, message):
    with pytest.raises(ValueError, match=message):
        potential()(data)


def test_the_same_atom_on_opposite_faces_of_the_cell_is_refused():
    data = crystal()
    data.pos[2] = data.pos[0] + data.cell[0, 1]
    with pytest.raises(ValueError, match=r"atoms 0 and 2 \(moved by \[-0.4, -3.4, 0.0\] Å\) are at one place"):
        potential()(data)


def test_shifts_that_are_no_multiples_of_a_cell_with_a_gradient_are_refused():
    data = RadiusGraph(CUTOFF)(crystal())
    data.cell = (data.cell * 1.1).requires_grad_()
    with pytest.raises(ValueError, match="whole multiples of the cell vectors"):
        potential()(data)
