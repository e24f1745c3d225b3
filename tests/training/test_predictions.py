import numpy as np
import pytest
import torch
from torch_geometric.data import Batch, Data

from pyg_equiformer import EnergyForces, Equiformer
from pyg_equiformer.data import RadiusGraph
from pyg_equiformer.data.structure_sets import ENERGY, FORCES, STRESS
from pyg_equiformer.models import Ensemble, PropertyModel
from pyg_equiformer.training.predictions import Predictions, predict

from .conftest import TINY
from .predicted import CHARGES, GAP


def network(seed=0, **changes):
    torch.manual_seed(seed)
    return Equiformer.from_preset("small", **{**TINY, "attn_dropout": 0.5, **changes}).double()


def potential(seed=0, **options):
    return EnergyForces(network(seed), atomic_energies={1: -13.0, 6: -1000.0, 8: -2000.0}, **options)


def molecules(count=7):
    generator = torch.Generator().manual_seed(0)
    made = []
    for i in range(count):
        n = 2 + i % 4
        pos = 1.5 * torch.randn(n, 3, generator=generator, dtype=torch.float64)
        energy = torch.randn(1, generator=generator, dtype=torch.float64)
        made.append(Data(z=torch.tensor([8, 1, 1, 6, 1][:n]), pos=pos, energy=energy, forces=pos.sin()))
    return made


class FromDisk:
    """Hands out one structure at a time, and notes how many were asked for."""

    def __init__(self, structures):
        self.structures, self.asked = structures, 0

    def __len__(self):
        return len(self.structures)

    def __getitem__(self, index):
        self.asked += 1
        return self.structures[index].clone()


@pytest.fixture(scope="module")
def reference():
    """One structure at a time through the model itself."""
    model = potential().eval()
    return [model(s.z, s.pos) for s in molecules()]


@pytest.mark.parametrize("options", [{}, {"batch_size": 1}, {"batch_size": 3}, {"max_edges": 9}, {"workers": 2}])
def test_predictions_are_those_of_the_single_structures_however_they_are_batched(reference, options):
    predictions = predict(potential(), molecules(), [ENERGY, FORCES], **options)
    energy = torch.cat([out["energy"] for out in reference]).detach().numpy()
    forces = torch.cat([out["forces"] for out in reference]).detach().numpy()
    np.testing.assert_allclose(predictions.predicted["energy"], energy, rtol=0, atol=1e-9)
    np.testing.assert_allclose(predictions.predicted["forces"], forces, rtol=0, atol=1e-11)
    assert predictions.num_atoms.tolist() == [s.num_nodes for s in molecules()]
    assert predictions.z.tolist() == [z for s in molecules() for z in s.z.tolist()]


def test_labels_and_reference_energies_stand_beside_the_predictions():
    predictions = predict(potential(), molecules(), [ENERGY, FORCES])
    assert predictions.true["energy"].tolist() == [s.energy.item() for s in molecules()]
    assert np.array_equal(predictions.true["forces"], torch.cat([s.forces for s in molecules()]).numpy())
    assert predictions.references.tolist()[:2] == [-2013.0, -2026.0]
    predicted, true = predictions.compared(ENERGY)
    np.testing.assert_array_equal(predicted - true, (predictions.predicted["energy"] - predictions.references) - true)
    assert true[0] == molecules()[0].energy.item() + 2013.0


def test_edges_of_a_batch_stay_below_the_limit_but_one_larger_structure_is_served():
    sizes = []

    class Counted(EnergyForces):
        def forward(self, z, *args, **kwargs):
            sizes.append((z.num_graphs, z.radius_edge_index.shape[1]))
            return super().forward(z, *args, **kwargs)

    model = Counted(network())
    alone = [RadiusGraph(model.config.cutoff)(s).radius_edge_index.shape[1] for s in molecules()]
    predict(model, molecules(), [ENERGY], max_edges=8)
    assert max(alone) > 8
    assert sum(n for n, _ in sizes) == len(alone)
    assert sum(edges for _, edges in sizes) == sum(alone)
    assert all(edges <= 8 or n == 1 for n, edges in sizes)
    assert any(n > 1 for n, _ in sizes)


def test_structures_are_read_as_they_are_needed_and_only_once():
    source, seen = FromDisk(molecules()), []
    predict(potential(), source, [ENERGY], batch_size=2, progress=lambda done, total: seen.append((done, source.asked)))
    # A batch more may have been read ahead, but never all.
    assert [done for done, _ in seen] == [2, 4, 6, 7]
    assert all(asked <= done + 2 for done, asked in seen)
    assert source.asked == 7


def test_missing_labels_are_nan_and_absent_labels_have_no_entry():
    structures = molecules(3)
    del structures[1].forces
    for structure in structures:
        del structure.energy
    predictions = predict(potential(), structures, [ENERGY, FORCES])
    assert "energy" not in predictions.true
    assert predictions.labelled == (FORCES,)
    first, second = structures[0].num_nodes, structures[1].num_nodes
    missing = np.isnan(predictions.true["forces"]).all(axis=1)
    assert missing.nonzero()[0].tolist() == list(range(first, first + second))


def test_float32_positions_go_into_a_float64_model_and_modes_are_put_back():
    model = potential()
    model.model.blocks.eval()
    structures = [s.clone() for s in molecules()]
    for structure in structures:
        structure.pos = structure.pos.float()
    before = [module.training for module in model.modules()]
    first = predict(model, structures, [ENERGY])
    assert [module.training for module in model.modules()] == before
    # Dropout was off: the same twice.
    assert np.array_equal(predict(model, structures, [ENERGY]).predicted["energy"], first.predicted["energy"])
    assert structures[0].pos.dtype == torch.float32
    assert "radius_edge_index" not in structures[0]


@pytest.mark.parametrize("workers", [0, 1])
def test_random_numbers_of_the_caller_are_left_alone(workers):
    model = potential()
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    predict(model, molecules(2), [ENERGY], workers=workers)
    assert torch.equal(torch.rand(1), expected)


def test_a_committee_tells_its_spread():
    members = [potential(seed) for seed in range(3)]
    predictions = predict(Ensemble(members), molecules(), [ENERGY, FORCES])
    each = np.stack([predict(m, molecules(), [FORCES]).predicted["forces"] for m in members])
    np.testing.assert_allclose(predictions.spread["forces"], each.std(axis=0), atol=1e-12)
    np.testing.assert_allclose(predictions.predicted["forces"], each.mean(axis=0), atol=1e-12)
    assert predictions.references[0] == -2013.0


def test_properties_per_structure_and_per_atom():
    gaps = predict(PropertyModel(network(num_outputs=1), ["gap"]), molecules(), [GAP])
    assert gaps.predicted["gap"].shape == (7,)
    assert gaps.references is None
    charges = predict(PropertyModel(network(output="node_scalar"), ["charges"]), molecules(), [CHARGES])
    assert charges.predicted["charges"].shape == (len(charges.z),)


def test_molecules_and_crystals_go_into_one_batch():
    crystal = Data(
        z=torch.tensor([6, 6]),
        pos=torch.tensor([[0.0, 0.0, 0.0], [0.89, 0.89, 0.89]], dtype=torch.float64),
        cell=torch.tensor([[[0.0, 1.78, 1.78], [1.78, 0.0, 1.78], [1.78, 1.78, 0.0]]], dtype=torch.float64),
        pbc=torch.ones(1, 3, dtype=torch.bool),
    )
    model = potential(stress=True)
    mixed = predict(model, [molecules(1)[0], crystal], [ENERGY, FORCES, STRESS])
    alone = model.eval()(Batch.from_data_list([RadiusGraph(model.config.cutoff)(crystal)]))
    np.testing.assert_allclose(mixed.predicted["energy"][1], alone["energy"].detach().item(), atol=1e-9)
    np.testing.assert_allclose(mixed.predicted["stress"][1], alone["stress"][0].detach().numpy(), atol=1e-12)
    assert mixed.true["energy"].shape == (2,)
    assert np.isnan(mixed.true["energy"][1])


def test_errors_say_what_is_wrong():
    with pytest.raises(ValueError, match="at least one structure"):
        predict(potential(), [], [ENERGY])
    with pytest.raises(ValueError, match="at least one target"):
        predict(potential(), molecules(), [])
    with pytest.raises(ValueError, match="does not predict 'gap', it gives \\['energy', 'forces'\\]"):
        predict(potential(), molecules(), [GAP])
    with pytest.raises(ValueError, match="wrap it in EnergyForces"):
        predict(network(), molecules(), [ENERGY])
    with pytest.raises(ValueError, match="batch_size: expected at least 1, got 0"):
        predict(potential(), molecules(), [ENERGY], batch_size=0)
    wrong = molecules(2)
    wrong[1].forces = torch.zeros(1, 3)
    with pytest.raises(ValueError, match=r"structure 1: expected forces of shape \(3, 3\), got \(1, 3\)"):
        predict(potential(), wrong, [FORCES])
    with pytest.raises(ValueError, match=r"predicted forces: expected \(2, 3\)"):
        Predictions((FORCES,), {"forces": np.zeros((2, 2))}, {}, z=np.ones(2), num_atoms=np.array([2]))
