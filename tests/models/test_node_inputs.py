"""Tokens, positions in a sequence, equivariant node inputs and edge types; neighbours of any kind."""

import pytest
import torch
from torch_geometric.data import Batch, Data

from pyg_equiformer import EnergyForces, Ensemble, Equiformer, EquiformerConfig, PropertyModel, to_official_state_dict
from pyg_equiformer.data import BondGraph, KNNGraph, RadiusGraph
from pyg_equiformer.testing import assert_model_equivariant

from .conftest import TINY, tiny

BONDS = torch.tensor([[0, 1, 2, 0, 0, 0, 1, 1], [1, 2, 3, 4, 5, 6, 7, 8]])
SETTINGS = {"num_edge_types": 3, "num_positions": 12, "irreps_node": "1x1o+2x0e", "num_layers": 1}


def structure(molecule, transform=None, seed: int = 0) -> Data:
    """Ethanol with all that a network can be told of it; a random piece of it for other seeds."""
    z, pos = molecule
    generator = torch.Generator().manual_seed(seed)
    velocity = torch.randn(len(z), 3, generator=generator, dtype=torch.float64)
    data = Data(z=z, pos=pos + 0.1 * velocity, edge_index=BONDS, node_position=torch.arange(len(z)), velocity=velocity)
    data.node_attr = torch.cat([velocity, data.pos.norm(dim=1, keepdim=True) * 0 + 0.3, velocity[:, :1] * 0], dim=1)
    return (transform or BondGraph(k=3, hops=2))(data)


def with_velocities(model):
    """A model whose equivariant inputs are made of velocities, which a test can turn."""

    def call(data):
        data.node_attr = torch.cat([data.velocity, data.velocity.new_full((len(data.z), 2), 0.3)], dim=1)
        return model(data)

    return call


def test_defaults_have_the_weights_that_they_had():
    torch.manual_seed(0)
    names = set(Equiformer(EquiformerConfig(**TINY)).state_dict())
    assert not any("node_inputs" in n or "edge_type" in n for n in names)
    torch.manual_seed(0)
    with_inputs = tiny(**{**SETTINGS, "irreps_node": "1x1e"})
    more = set(with_inputs.state_dict()) - set(tiny(num_layers=1).state_dict())
    assert more == {"node_inputs.position", "node_inputs.lin.types.weight.1e", "embed_edge_type.weight"}


@pytest.mark.parametrize("transform", [KNNGraph(3), BondGraph(k=2, hops=2), BondGraph(hops=3, max_bonds=2)], ids=str)
@pytest.mark.parametrize("envelope", ["none", "polynomial"])
def test_energies_and_forces_are_equivariant_with_every_kind_of_neighbours(molecule, transform, envelope):
    settings = SETTINGS if isinstance(transform, BondGraph) else {**SETTINGS, "num_edge_types": 0}
    if isinstance(transform, BondGraph):
        settings = {**settings, "num_edge_types": transform.hops + 1}
    potential = EnergyForces(tiny("qm9_e3", **settings, envelope=envelope))
    data = Batch.from_data_list([structure(molecule, transform, seed) for seed in range(2)])
    assert_model_equivariant(
        with_velocities(potential),
        data,
        output={"energy": "graph_scalar", "forces": "node_vector"},
        vectors=("pos", "velocity"),
        inversion=True,
        trials=2,
    )


@pytest.mark.parametrize("transform", [KNNGraph(3), BondGraph(k=2, hops=2)], ids=str)
def test_forces_are_the_finite_differences_on_directed_edges(molecule, transform):
    types = 3 if isinstance(transform, BondGraph) else 0
    potential = EnergyForces(tiny("qm9_e3", **{**SETTINGS, "num_edge_types": types}, envelope="polynomial"))
    data = structure(molecule, transform)
    forces, h = potential(data)["forces"].detach(), 1e-4
    for atom, axis in [(0, 0), (8, 2)]:
        ends = []
        for sign in (1, -1):
            moved = data.clone()
            moved.pos[atom, axis] += sign * h
            ends.append(potential(moved)["energy"].detach())
        assert abs(float(forces[atom, axis] + (ends[0] - ends[1]) / (2 * h))) < 1e-6 * float(forces.abs().max())


def test_a_loss_on_forces_reaches_all_new_weights_with_the_right_gradient(molecule):
    potential, data = EnergyForces(tiny("qm9_e3", **SETTINGS)), structure(molecule)

    def loss():
        return potential(data)["forces"].square().sum()

    loss().backward()
    weights = dict(potential.model.named_parameters())
    for name in ("embed_edge_type.weight", "node_inputs.position", "node_inputs.lin.types.weight.1o"):
        weight, h = weights[name], 1e-5
        place = tuple(int(i) for i in (weight.grad.abs() == weight.grad.abs().max()).nonzero()[0])
        want = float(weight.grad[place])
        assert want != 0
        with torch.no_grad():
            weight[place] += h
            up = float(loss())
            weight[place] -= 2 * h
            down = float(loss())
            weight[place] += h
        assert abs((up - down) / (2 * h) - want) < 1e-5 * abs(want)


def test_batches_give_what_their_graphs_give(molecule):
    potential = EnergyForces(tiny("qm9_e3", **SETTINGS))
    graphs = [structure(molecule, seed=seed) for seed in range(3)]
    lonely = Data(z=torch.tensor([8]), pos=torch.zeros(1, 3).double(), edge_index=BONDS[:, :0])
    lonely.node_position, lonely.velocity = torch.tensor([11]), torch.ones(1, 3).double()
    lonely.node_attr = torch.ones(1, 5).double()
    graphs.append(BondGraph(k=3, hops=2)(lonely))
    together = potential(Batch.from_data_list(graphs))
    apart = [potential(graph) for graph in graphs]
    for name in ("energy", "forces"):
        assert torch.allclose(together[name], torch.cat([out[name] for out in apart]), atol=1e-10)


def test_no_atoms_are_no_graph():
    model = tiny("qm9_e3", **SETTINGS)
    none = torch.zeros(0, dtype=torch.long)
    out = model(
        none,
        torch.zeros(0, 3).double(),
        none,
        edge_index=none.view(1, 0).repeat(2, 1),
        edge_type=none,
        node_position=none,
        node_attr=torch.zeros(0, 5).double(),
    )
    assert out.shape == (0, 1)


def test_fields_of_the_data_and_arguments_are_the_same_inputs(molecule):
    data = structure(molecule)
    extras = {"edge_index": data.neighbor_edge_index, "edge_type": data.neighbor_edge_type}
    extras |= {"node_position": data.node_position, "node_attr": data.node_attr}
    network = tiny("qm9_e3", **SETTINGS)
    models = [network, EnergyForces(network), PropertyModel(network, ["gap"]), Ensemble([EnergyForces(network)] * 2)]
    for model in models:
        stored, given = model(data), model(data.z, data.pos, **extras)
        if isinstance(stored, torch.Tensor):
            stored, given = {"": stored}, {"": given}
        for name in stored:
            assert torch.equal(stored[name], given[name])
    # Arguments come before fields.
    other = {**extras, "node_position": 11 - data.node_position}
    assert (network(data, **other) - network(data)).abs() > 1e-6


def test_edge_types_of_pairs_that_differ_by_direction_are_told_apart(molecule):
    data, model = structure(molecule, RadiusGraph(5.0)), tiny("qm9_e3", **SETTINGS)
    edge_index = data.radius_edge_index
    extras = {"node_position": data.node_position, "node_attr": data.node_attr, "edge_index": edge_index}
    symmetric = edge_index.sum(dim=0) % 3
    directed = edge_index[0] % 3
    shuffled = torch.randperm(edge_index.shape[1], generator=torch.Generator().manual_seed(0))
    for edge_type in (symmetric, directed):
        out = model(data.z, data.pos, edge_type=edge_type, **extras)
        again = model(
            data.z, data.pos, **{**extras, "edge_index": edge_index[:, shuffled]}, edge_type=edge_type[shuffled]
        )
        assert torch.allclose(out, again, atol=1e-11)
    outs = [model(data.z, data.pos, edge_type=t, **extras) for t in (symmetric, directed, directed * 0)]
    assert len({round(out.item(), 8) for out in outs}) == 3


def test_symmetric_types_share_radial_weights_and_change_nothing(molecule, monkeypatch):
    data, model = structure(molecule, RadiusGraph(5.0)), tiny("qm9_e3", **SETTINGS)
    extras = {"node_position": data.node_position, "node_attr": data.node_attr}
    extras |= {"edge_index": data.radius_edge_index, "edge_type": data.radius_edge_index.sum(dim=0) % 3}
    rows = []
    model.blocks[0].attn.radial.hidden.register_forward_hook(lambda module, inputs, out: rows.append(len(out)))
    shared = model(data.z, data.pos, **extras)
    monkeypatch.setattr("pyg_equiformer.models.prepare.mirror_order", lambda *_: None)
    assert torch.allclose(shared, model(data.z, data.pos, **extras), atol=1e-11)
    assert rows[1] == data.radius_edge_index.shape[1] == 2 * rows[0]


def test_tokens_stand_in_place_of_elements():
    config = EquiformerConfig(**TINY, num_tokens=24)
    assert config.elements == tuple(range(24))
    assert EquiformerConfig.from_dict(config.to_dict()) == config
    model = Equiformer(config)
    assert model(torch.tensor([0, 23]), torch.randn(2, 3)).shape == (1, 1)
    with pytest.raises(ValueError, match=r"does not know the tokens = \[24\]; it knows 0-23"):
        model(torch.tensor([0, 24]), torch.randn(2, 3))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_edge_types": -1}, "num_edge_types must not be negative"),
        ({"num_positions": -2}, "num_positions must not be negative"),
        ({"edge_type_dim": 0}, "edge_type_dim must be at least 1"),
        ({"num_tokens": 0}, "num_tokens must be at least 1, or None for atomic numbers"),
        ({"irreps_node": "1x1o"}, "irreps_node='1x1o' holds 1o, which irreps=.* has no channels for"),
        ({"irreps_node": "velocity"}, "irreps_node must be irreps such as"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        EquiformerConfig(**{**TINY, **settings})


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("neighbor_edge_type", None, r"expects edge_type \[E\] with values below 3, got none: pass it with edge_index"),
        ("neighbor_edge_type", lambda t: t + 1, r"edge_type must lie in \[0, 3\), got values from 1 to 3"),
        ("neighbor_edge_type", lambda t: t[1:], r"edge_type must hold \d+ integers, got shape"),
        ("neighbor_edge_type", lambda t: t.double(), "integers, got .* of torch.float64"),
        ("node_position", None, r"expects node_position \[9\] with values below 12, got none"),
        ("node_position", lambda t: t - 1, r"node_position must lie in \[0, 12\), got values from -1 to 7"),
        ("node_position", lambda t: t[:, None], r"node_position must hold 9 integers, got shape \[9, 1\]"),
        ("node_attr", None, r"expects node_attr \[9, 5\] of 1x1o\+2x0e, got none"),
        ("node_attr", lambda t: t[:, :3], r"node_attr must be .* of shape \[9, 5\] .*, got \[9, 3\]"),
        ("node_attr", lambda t: t.long(), "got .* of torch.int64"),
        ("node_attr", lambda t: t / 0, "node_attr must be finite, got .* for node 0"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(molecule, name, change, message):
    data = structure(molecule)
    data[name] = None if change is None else change(data[name])
    with pytest.raises(ValueError, match=message):
        tiny("qm9_e3", **SETTINGS)(data)


def test_inputs_that_nobody_asked_for_are_refused(molecule):
    data, model = structure(molecule, KNNGraph(3)), tiny("qm9_e3", num_layers=1)
    assert model(data).shape == (1, 1)  # fields of data may be there for others
    edges = data.neighbor_edge_index
    for name, value, setting in (
        ("edge_type", edges[0], "num_edge_types=0"),
        ("node_position", data.node_position, "num_positions=0"),
        ("node_attr", data.node_attr, "irreps_node=None"),
    ):
        with pytest.raises(ValueError, match=f"{name} was given, but the model has {setting}"):
            model(data.z, data.pos, edge_index=edges, **{name: value})
    with pytest.raises(ValueError, match="edge_type needs the edge_index that it belongs to"):
        tiny(num_edge_types=2)(data.z, data.pos, edge_type=edges[0])


def test_two_kinds_of_stored_neighbours_are_refused(molecule):
    data = structure(molecule, KNNGraph(3))
    with pytest.raises(ValueError, match=r"chosen otherwise .*, by KNNGraph or BondGraph"):
        RadiusGraph(5.0)(data)
    data.radius_edge_index = data.neighbor_edge_index
    with pytest.raises(ValueError, match=r"data has neighbours within a cutoff .* and others .*: remove one"):
        tiny("qm9_e3", num_layers=1)(data)


@pytest.mark.parametrize("name", ["num_edge_types", "num_positions", "irreps_node"])
def test_the_published_code_has_no_such_inputs(name):
    with pytest.raises(ValueError, match=f"the published code has no {name}"):
        to_official_state_dict(tiny("qm9_e3", num_layers=1, **{name: SETTINGS[name]}))


@pytest.mark.parametrize("checkpoint", ["tensor_product", "block"])
def test_recomputing_gives_the_same_gradients(molecule, checkpoint):
    data, gradients = structure(molecule), []
    for kind in ("none", checkpoint):
        model = tiny("qm9_e3", **SETTINGS)
        model.set_checkpoint(kind)
        EnergyForces(model)(data)["forces"].square().sum().backward()
        gradients.append([torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()])
    for a, b in zip(*gradients, strict=True):
        assert torch.allclose(a, b, atol=1e-10)


@pytest.mark.slow
def test_one_captured_graph_gives_the_same_forces(molecule, monkeypatch):
    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function, **options: compile_(function, backend="eager", **options))
    torch.compiler.reset()
    plain, compiled = (EnergyForces(tiny("qm9_e3", **SETTINGS)) for _ in range(2))
    compiled.model.set_compile(True)
    for k, transform in enumerate((BondGraph(k=3, hops=2), BondGraph(k=5, hops=1))):
        data = structure(molecule, transform)
        expected = plain(data)
        with torch.no_grad(), torch.compiler.set_stance("fail_on_recompile" if k else "default"):
            given = compiled(data)
        for name in expected:
            assert torch.allclose(given[name], expected[name], rtol=1e-9, atol=1e-11)
    torch.compiler.reset()


def test_training_learns_what_only_the_new_inputs_tell(molecule):
    """Structures of one geometry: one as it is, one apart in velocities, in places in the sequence, in bonds."""
    graphs = [structure(molecule) for _ in range(4)]
    graphs[1].node_attr = 3 * graphs[1].node_attr
    graphs[2].node_position = graphs[2].node_position + 3
    graphs[3].neighbor_edge_type = 2 - graphs[3].neighbor_edge_type
    batch, target = Batch.from_data_list(graphs), torch.tensor([[0.0], [1.0], [-1.0], [2.0]], dtype=torch.float64)
    model = tiny(**{**SETTINGS, "irreps_node": "1x1e+2x0e"}).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(60):
        loss = (model(batch) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05  # their spread, which is what is left without any of the inputs: 1.25
