import numpy as np
import pytest
import torch
from torch_geometric.data import Batch

from pyg_equiformer import EnergyForces, Equiformer, PropertyModel
from pyg_equiformer.data import RadiusGraph
from pyg_equiformer.data.structure_sets import ENERGY, FORCES, STRESS, Target
from pyg_equiformer.models import Ensemble
from pyg_equiformer.training.build import build, config_of, is_energy_family, network_config
from pyg_equiformer.training.config import TrainConfig
from pyg_equiformer.training.statistics import collect_statistics

from .conftest import TINY, water
from .systems import TINY_WITH_VECTORS, charged_water, copper

GAP, STRETCH = Target("gap", "graph_scalar", "eV"), Target("stretch", "graph_scalar", "Å")
DIPOLE, CHARGES = Target("dipole", "graph_vector", "e·Å"), Target("charges", "node_scalar", "e")


def planned(structures, targets, **settings):
    ready = [RadiusGraph(5.0)(s) for s in structures]
    plan = build(TrainConfig(model=TINY_WITH_VECTORS, **settings), targets, collect_statistics(ready, targets))
    return plan, plan.model(Batch.from_data_list(ready))


def refused(message, structures, targets, **settings):
    with pytest.raises(ValueError, match=message):
        planned(structures, targets, **settings)


WATERS = [water(i) for i in range(6)]
CHARGED = [charged_water(i) for i in range(6)]


def energies(structures):
    return np.array([float(s.energy) for s in structures])


def test_energies_and_forces_have_references_and_the_force_scale_by_default():
    plan, out = planned(WATERS, (ENERGY, FORCES))
    assert isinstance(plan.model, EnergyForces)
    assert not plan.model.stress
    rms = float(torch.cat([s.forces for s in WATERS]).double().square().mean().sqrt())
    assert plan.scales == {"energy": pytest.approx(rms), "forces": pytest.approx(rms)}
    assert plan.model.energy_scale == pytest.approx(rms)
    assert plan.references[8] + 2 * plan.references[1] == pytest.approx(energies(WATERS).mean(), rel=1e-12)
    assert plan.model.atomic_energies == plan.references
    assert {t.target.name: (t.kind, t.weight, t.scale) for t in plan.terms} == {
        "energy": ("l1", 1.0, plan.scales["energy"]),
        "forces": ("norm", 100.0, plan.scales["forces"]),
    }
    assert out["energy"].dtype == torch.float64
    # An untrained network is wrong by a few units of its output, not by the total energy.
    assert abs(out["energy"].mean().item() - energies(WATERS).mean()) < 100 * rms


@pytest.mark.parametrize(
    ("reference", "scale", "shift", "unit"),
    [
        ("mean", "spread", True, "spread"),
        ("none", "none", False, 1.0),
        ("mean", "forces", True, "forces"),
        ("elements", "none", False, 1.0),
    ],
)
def test_references_and_scales_of_energies_are_those_asked_for(reference, scale, shift, unit):
    plan, _ = planned(WATERS, (ENERGY, FORCES), reference=reference, scale=scale)
    mean, spread = energies(WATERS).mean(), energies(WATERS).std()
    rms = float(torch.cat([s.forces for s in WATERS]).double().square().mean().sqrt())
    assert plan.model.energy_shift == pytest.approx(mean if shift else 0.0)
    assert bool(plan.references) == (reference == "elements")
    assert plan.scales["energy"] == pytest.approx({"spread": spread, "forces": rms}.get(unit, unit))


def test_energies_without_forces_are_scaled_by_their_spread_and_forces_alone_by_their_size():
    only_energy, _ = planned(WATERS, (ENERGY,))
    assert only_energy.scales["energy"] == pytest.approx(energies(WATERS).std(), rel=1e-6)
    only_forces, out = planned(WATERS, (FORCES,))
    assert only_forces.references == {}
    assert [t.target.name for t in only_forces.terms] == ["forces"]
    assert out["energy"].abs().max() < 1000


def test_equal_labels_have_a_scale_of_one():
    assert planned([CHARGED[0], CHARGED[0]], (GAP,))[0].scales["gap"] == 1.0
    assert planned([WATERS[0], WATERS[0]], (ENERGY,))[0].scales["energy"] == 1.0


def test_stress_is_a_third_target_in_the_unit_of_energies():
    plan, out = planned([copper(i) for i in range(3)], (ENERGY, FORCES, STRESS))
    assert plan.model.stress
    assert out["stress"].shape == (3, 3, 3)
    assert plan.scales["stress"] == plan.scales["energy"]
    assert {t.target.name: t.kind for t in plan.terms}["stress"] == "norm"


def test_a_scalar_property_has_its_mean_and_spread():
    plan, out = planned(CHARGED, (GAP,))
    gaps = np.array([float(s.gap) for s in CHARGED])
    assert isinstance(plan.model, PropertyModel)
    assert plan.model.shift == (pytest.approx(gaps.mean()),)
    assert plan.model.scale == (pytest.approx(gaps.std(), rel=1e-5),)
    assert plan.model.units == ("eV",)
    assert plan.model.config.output == "graph_scalar"
    assert out["gap"].shape == (6,)


def test_several_properties_are_outputs_of_one_network():
    plan, out = planned(CHARGED, (GAP, STRETCH), reference="elements", weight={"stretch": 3.0}, loss={"gap": "mse"})
    assert plan.model.config.num_outputs == 2
    assert out["gap"].shape == out["stretch"].shape == (6,)
    for k, name in enumerate(("gap", "stretch")):
        total = sum(plan.model.atomic_references[z][k] for z in (8, 1, 1))
        assert total == pytest.approx(np.mean([float(s[name]) for s in CHARGED]), rel=1e-6)
        assert plan.scales[name] == pytest.approx(np.std([float(s[name]) for s in CHARGED]), rel=1e-4)
    assert [(t.kind, t.weight) for t in plan.terms] == [("mse", 1.0), ("l1", 3.0)]


def test_vectors_have_their_own_size_as_scale_and_no_reference():
    plan, out = planned(CHARGED, (DIPOLE,))
    rms = float(torch.cat([s.dipole for s in CHARGED]).double().square().mean().sqrt())
    assert plan.scales["dipole"] == pytest.approx(rms, rel=1e-6)
    assert plan.model.shift == (0.0,)
    assert out["dipole"].shape == (6, 3)
    assert plan.terms[0].kind == "norm"
    springs = [s.clone() for s in WATERS]
    for s in springs:
        s.force_field = 2 * s.forces
    plan, out = planned(springs, (Target("force_field", "node_vector"),))
    assert plan.model.config.output == "node_vector"
    assert out["force_field"].shape == (18, 3)


def test_values_of_atoms_have_the_mean_and_spread_over_atoms():
    plan, out = planned(CHARGED, (CHARGES,))
    charges = torch.cat([s.charges for s in CHARGED]).double().numpy()
    assert plan.model.shift == (pytest.approx(charges.mean(), abs=1e-7),)
    assert plan.model.scale == (pytest.approx(charges.std(), rel=1e-6),)
    assert out["charges"].shape == (18,)


def test_averages_are_those_of_the_data_the_preset_or_the_settings():
    ours, _ = planned(WATERS, (ENERGY,))
    assert (config_of(ours.model).avg_num_nodes, config_of(ours.model).avg_degree) == (3.0, 2.0)
    preset, _ = planned(WATERS, (ENERGY,), averages="preset")
    published = Equiformer.from_preset("small").config
    assert config_of(preset.model).avg_degree == published.avg_degree
    ready = [RadiusGraph(5.0)(s) for s in WATERS]
    given = TrainConfig(model={**TINY, "avg_degree": 7.0})
    plan = build(given, (ENERGY,), collect_statistics(ready, (ENERGY,)))
    assert (config_of(plan.model).avg_num_nodes, config_of(plan.model).avg_degree) == (3.0, 7.0)


def test_targets_of_more_than_one_kind_are_refused():
    with pytest.raises(ValueError, match="got energy together with gap: train two models"):
        is_energy_family((ENERGY, GAP))
    with pytest.raises(ValueError, match=r"got gap \(graph_scalar\), dipole \(graph_vector\)"):
        is_energy_family((GAP, DIPOLE))
    with pytest.raises(ValueError, match=r"got polarizability \(graph_tensor\)"):
        is_energy_family((Target("polarizability", "graph_tensor"),))
    assert is_energy_family((FORCES, ENERGY))
    assert not is_energy_family((GAP, STRETCH))


def test_settings_that_contradict_the_targets_are_refused():
    refused("scale: 'forces' needs forces among the targets", WATERS, (ENERGY,), scale="forces")
    refused("scale: 'spread' needs energies among the targets", WATERS, (FORCES,), scale="spread")
    refused("scale: 'forces' needs forces among the targets", CHARGED, (GAP,), scale="forces")
    refused("reference: 'elements' is for scalars of whole structures", CHARGED, (DIPOLE,), reference="elements")
    refused("reference: 'elements' is for scalars of whole structures", CHARGED, (CHARGES,), reference="elements")
    refused("weight: expected targets of this run", CHARGED, (GAP,), weight={"forces": 1.0})
    refused("weights of all targets", CHARGED, (GAP,), weight={"gap": 0.0})
    for name, value in (("output", "node_scalar"), ("num_outputs", 2)):
        with pytest.raises(ValueError, match=rf"model\.{name}: expected targets"):
            network_config(TrainConfig(model={name: value}), (GAP,), None)


def test_elements_that_the_network_does_not_know_are_named():
    refused(
        r"the network 'qm9' does not know the elements Z = \[29\].*model\.elements=\[29\]",
        [copper(0), copper(1)],
        (ENERGY, FORCES),
        network="qm9",
    )


def test_networks_with_edge_features_that_structures_do_not_have_are_refused():
    statistics = collect_statistics([RadiusGraph(5.0)(s) for s in WATERS], (ENERGY, FORCES))
    with pytest.raises(ValueError, match=r"model.edge_dim: expected 0, as structures hold no edge_attr"):
        build(TrainConfig(model={"edge_dim": 2}), (ENERGY, FORCES), statistics)


def test_the_configuration_is_found_in_every_kind_of_model():
    energies, _ = planned(WATERS, (ENERGY, FORCES))
    gaps, _ = planned(CHARGED, (GAP,))
    assert config_of(energies.model) == energies.model.model.config
    assert config_of(Ensemble([gaps.model, gaps.model])) == gaps.model.model.config
    with pytest.raises(ValueError, match="expected EnergyForces, PropertyModel or Ensemble, got Linear"):
        config_of(torch.nn.Linear(1, 1))


@pytest.mark.parametrize("checkpoint", ["none", "tensor_product", "block"])
def test_the_network_computes_again_what_the_settings_ask_for(checkpoint):
    plan, out = planned(WATERS, (ENERGY, FORCES), checkpoint=checkpoint)
    assert plan.model.model.checkpoint == checkpoint
    out["forces"].square().sum().backward()
    assert all(p.grad is not None for p in plan.model.model.blocks[0].attn.radial.parameters())


def test_an_unknown_checkpoint_is_refused_by_the_settings():
    with pytest.raises(ValueError, match=r"checkpoint: .*'block'.*got 'all'"):
        TrainConfig(checkpoint="all")


def test_the_settings_choose_engine_and_compiler():
    plan, _ = planned(WATERS, (ENERGY, FORCES), engine="reference")
    assert plan.model.model.engine == "reference"
    assert not plan.model.model.compile_blocks
    with pytest.raises(ValueError, match=r"engine: .*'triton'.*got 'jax'"):
        TrainConfig(engine="jax")
    with pytest.raises(ValueError, match=r"compile: .*true or false.*got 'yes'"):
        TrainConfig(compile="yes")
