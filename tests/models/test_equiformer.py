"""The whole network: symmetry, batching, inputs."""

import pytest
import torch
from e3nn.o3 import rand_matrix
from torch_geometric.data import Batch, Data

from pyg_equiformer import Equiformer, radius_graph
from pyg_equiformer.data import RadiusGraph
from pyg_equiformer.nn import NORM_KINDS

from .conftest import SANDWICH, tiny

OUTPUTS = ["graph_scalar", "node_scalar", "graph_vector", "node_vector"]


def rotation(dtype=torch.float64):
    return torch.linalg.qr(rand_matrix().double())[0].to(dtype)


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("preset", ["small", "qm9", "qm9_dot", "qm9_linear", "qm9_e3", "md17"])
def test_outputs_turn_with_the_molecule_and_ignore_shifts_and_order(preset, output, molecule, device):
    torch.manual_seed(1)
    z, pos = (v.to(device) for v in molecule)
    model = tiny(preset, output=output, **_features(preset, output)).to(device)
    r, shift, order = rotation().to(device), torch.randn(3, device=device).double() * 10, torch.randperm(len(z))
    r = r * torch.det(r)  # proper
    want = model(z, pos)
    moved = model(z[order], pos[order] @ r.T + shift)
    want = want[order] if output.startswith("node") else want
    want = want @ r.T if output.endswith("vector") else want
    assert (moved - want).abs().max() <= 1e-10 * max(1, want.abs().max())


def _features(preset, output):
    if output.endswith("scalar"):
        return {}
    vector = "1o" if preset == "qm9_e3" else "1e"
    return {"irreps_feature": f"16x0e+4x{vector}"}


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("settings", [{}, SANDWICH], ids=["as published", "sandwich"])
def test_models_with_parity_turn_vectors_around_under_inversion(output, settings, molecule):
    z, pos = molecule
    model = tiny("qm9_e3", output=output, **_features("qm9_e3", output), **settings)
    sign = -1 if output.endswith("vector") else 1
    assert torch.allclose(model(z, -pos), sign * model(z, pos), atol=1e-10)


def test_float32_is_equivariant_to_rounding(molecule):
    z, pos = molecule
    model = tiny("small", output="node_vector", irreps_feature="16x0e+4x1e").float()
    r = rotation(torch.float32)
    r = r * torch.det(r)
    a, b = model(z, pos.float()) @ r.T, model(z, pos.float() @ r.T)
    assert (a - b).abs().max() <= 1e-4 * a.abs().max()


@pytest.mark.parametrize(
    "norm",
    [
        *({"norm": kind} for kind in NORM_KINDS),
        *({**SANDWICH, "norm": kind} for kind in ("layer", "merged", "graph", "instance")),
    ],
    ids=lambda settings: "-".join(map(str, settings.values())),
)
@pytest.mark.parametrize("envelope", ["none", "polynomial"])
def test_a_batch_equals_its_graphs_one_by_one(norm, envelope, molecule):
    z, pos = molecule
    model = tiny("small", **norm, envelope=envelope)
    graphs = [(z, pos), (z[:1], pos[:1]), (z[:5], pos[:5] * 1.3)]
    batch = torch.cat([torch.full((len(g[0]),), k) for k, g in enumerate(graphs)])
    together = model(torch.cat([g[0] for g in graphs]), torch.cat([g[1] for g in graphs]), batch)
    alone = torch.cat([model(*g) for g in graphs])
    assert torch.allclose(together, alone, atol=1e-11)


def test_batches_need_not_be_sorted(molecule):
    z, pos = molecule
    model = tiny()
    batch = torch.tensor([1, 0, 1, 0, 1, 0, 1, 0, 1])
    order = torch.argsort(batch, stable=True)
    assert torch.allclose(model(z, pos, batch), model(z[order], pos[order], batch[order]), atol=1e-11)


def test_data_and_batch_give_the_same_as_tensors(molecule):
    z, pos = molecule
    model = tiny()
    data = Data(z=z, pos=pos, edge_index=torch.tensor([[0], [1]]))  # bonds are not neighbours
    assert torch.equal(model(data), model(z, pos))
    batch = Batch.from_data_list([data, data])
    assert torch.equal(model(batch), model(batch.z, batch.pos, batch.batch))
    plain = Data(z=batch.z, pos=batch.pos, batch=batch.batch)
    assert torch.equal(model(plain), model(batch))
    stored = RadiusGraph(model.config.cutoff)(data)
    assert torch.equal(model(stored), model(z, pos))


def test_edges_stored_with_another_cutoff_are_refused(molecule):
    z, pos = molecule
    with pytest.raises(ValueError, match=r"stored with a cutoff of 3\.0 Å, but the model's is 5\.0"):
        tiny()(RadiusGraph(3.0)(Data(z=z, pos=pos)))


def test_given_edges_in_any_order_replace_the_neighbour_list(molecule):
    z, pos = molecule
    model = tiny()
    edges = radius_graph(pos, model.config.cutoff)
    shuffled = edges[:, torch.randperm(edges.shape[1])]
    assert torch.allclose(model(z, pos, edge_index=shuffled), model(z, pos), atol=1e-11)
    assert not torch.allclose(model(z, pos, edge_index=edges[:, :20]), model(z, pos))


def test_a_periodic_image_is_a_shifted_source(molecule):
    z, pos = molecule
    model, shift = tiny(), torch.tensor([0.0, 0.0, 3.0], dtype=torch.float64)
    edges = torch.tensor([[0], [1]])
    moved = pos.clone()
    moved[0] += shift
    want = model(z, moved, edge_index=edges)
    assert torch.allclose(model(z, pos, edge_index=edges, edge_shift=shift[None]), want, atol=1e-12)


def test_extra_edge_features_matter(molecule):
    z, pos = molecule
    model = tiny(edge_dim=3)
    edges = radius_graph(pos, 5.0)
    a, b = torch.randn(2, edges.shape[1], 3, dtype=torch.float64)
    assert not torch.allclose(
        model(z, pos, edge_index=edges, edge_attr=a), model(z, pos, edge_index=edges, edge_attr=b)
    )
    with pytest.raises(ValueError, match=r"expects edge_attr \[E, 3\], got none"):
        model(z, pos)
    with pytest.raises(ValueError, match="needs the edge_index"):
        model(z, pos, edge_attr=a)


@pytest.mark.parametrize("num_outputs", [1, 3])
@pytest.mark.parametrize(("output", "shape"), list(zip(OUTPUTS, [(2,), (9,), (2, 3), (9, 3)])))
def test_outputs_have_the_documented_shapes(output, shape, num_outputs, molecule):
    z, pos = molecule
    model = tiny("small", output=output, num_outputs=num_outputs, **_features("small", output))
    batch = (torch.arange(9) > 4).long()
    if output.endswith("scalar"):
        shape = (*shape, num_outputs)
    elif num_outputs > 1:
        shape = (shape[0], num_outputs, 3)
    assert model(z, pos, batch).shape == shape


def test_mean_and_spread_act_outside_the_network(molecule):
    plain, scaled = tiny(), tiny(output_mean=5.0, output_std=2.0, output_scale=3.0)
    assert torch.allclose(scaled(*molecule), 5 + 2 * 3 * plain(*molecule), atol=1e-12)


def test_reset_parameters_draws_anew_and_repeats_with_a_seed(molecule):
    model = tiny()
    first = model(*molecule)
    outs = []
    for _ in range(2):
        torch.manual_seed(3)
        model.reset_parameters()
        outs.append(model(*molecule))
    assert not torch.allclose(first, outs[0])
    assert torch.equal(outs[0], outs[1])


def test_dropout_acts_in_training_only(molecule):
    model = tiny(attn_dropout=0.3, proj_dropout=0.3, out_dropout=0.3, drop_path=0.3)
    assert torch.equal(model(*molecule), model(*molecule))
    model.train()
    assert not torch.equal(model(*molecule), model(*molecule))


def test_gradients_reach_every_weight_that_matters(molecule):
    model = tiny("qm9_e3", envelope="polynomial")
    model(*molecule).sum().backward()
    silent = [k for k, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # The last block's output holds scalars only; nothing else may be deaf.
    assert all("scalar" not in k for k in silent), silent
    assert len(silent) < 0.35 * len(list(model.parameters())), silent


BAD = {
    "NaN": (lambda z, p: (z, torch.where(torch.arange(9)[:, None] == 4, torch.nan, p)), "finite, got .*atom 4"),
    "infinite": (lambda z, p: (z, p * torch.inf), "pos must be finite"),
    "element 0": (lambda z, p: (z * 0, p), r"does not know the elements Z = \[0\]"),
    "element 119": (lambda z, p: (z + 118, p), r"Z = \[119, 124, 126\]; it knows 1-118"),
    "float z": (lambda z, p: (z.double(), p), "integer atomic numbers"),
    "short z": (lambda z, p: (z[:3], p), "must hold 9 integer atomic numbers"),
    "flat pos": (lambda z, p: (z, p[:, :2]), r"shape \[N, 3\]"),
    "float32 pos": (lambda z, p: (z, p.float()), "float32 but the weights are torch.float64"),
    "float batch": (lambda z, p: (z, p, torch.zeros(9)), "batch must hold 9 integers"),
    "negative batch": (lambda z, p: (z, p, -torch.ones(9).long()), "batch"),
    "nothing": (lambda z, p: (z,), "pos is missing"),
    "no data": (lambda z, p: (Data(pos=p),), "without it"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_refused_with_what_was_expected(kind, molecule):
    change, message = BAD[kind]
    with pytest.raises(ValueError, match=message):
        tiny()(*change(*molecule))


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        (torch.tensor([[0], [9]]), r"edge_index\[1\] must lie in \[0, 9\), got values from 9 to 9"),
        (torch.tensor([[-1], [0]]), r"edge_index\[0\] must lie"),
        (torch.tensor([[0.0], [1.0]]), "must be int64, got torch.float32"),
        (torch.tensor([0, 1]), r"shape \[2, E\]"),
    ],
)
def test_bad_edges_are_refused(edges, message, molecule):
    with pytest.raises(ValueError, match=message):
        tiny()(*molecule, edge_index=edges)


def test_a_model_for_five_elements_says_which_it_knows(molecule):
    z, pos = molecule
    with pytest.raises(ValueError, match=r"Z = \[16\]; it knows 1, 6-9"):
        Equiformer.from_preset("qm9", num_layers=1)(torch.where(z == 8, 16, z), pos.float())
