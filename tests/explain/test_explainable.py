"""PyG's explainers on whole networks: masks multiply what they should, and find what matters."""

import pytest
import torch
from torch_geometric.explain import AttentionExplainer, Explainer, GNNExplainer
from torch_geometric.explain.algorithm.utils import clear_masks, set_masks

from pyg_equiformer import EnergyForces, Ensemble, Equiformer, PropertyModel, radius_graph
from pyg_equiformer.data import RadiusGraph
from pyg_equiformer.explain import Explainable

from ..models.conftest import tiny
from .samples import molecules, periodic

GRAPH = {"mode": "regression", "task_level": "graph", "return_type": "raw"}


def masked(model: Explainable, mask: torch.Tensor, x: torch.Tensor, edge_index: torch.Tensor, rest) -> torch.Tensor:
    set_masks(model, mask, edge_index, apply_sigmoid=False)
    out = model(x, edge_index, **rest)
    clear_masks(model)
    return out


@pytest.mark.parametrize("settings", [{}, {"message": "nonlinear"}, {"attention": "dot"}], ids=str)
def test_without_masks_and_with_masks_of_one_it_is_the_network(settings):
    network, data = tiny(num_layers=2, **settings), molecules()
    model = Explainable(network)
    x, edge_index, rest = model.arguments(data)
    expected = network(data)
    assert torch.allclose(model(x, edge_index, **rest), expected, atol=1e-11)
    ones = torch.ones(edge_index.shape[1], dtype=torch.float64)
    assert torch.allclose(masked(model, ones, x, edge_index, rest), expected, atol=1e-11)


@pytest.mark.parametrize("settings", [{}, {"message": "nonlinear"}], ids=str)
def test_with_masks_of_zero_atoms_are_alone(settings):
    network, data = tiny(num_layers=2, **settings), molecules()
    model = Explainable(network)
    x, edge_index, rest = model.arguments(data)
    alone = network(data.z, data.pos, data.batch, edge_index=edge_index[:, :0])
    zeros = torch.zeros(edge_index.shape[1], dtype=torch.float64)
    assert torch.allclose(masked(model, zeros, x, edge_index, rest), alone, atol=1e-11)


def test_each_edge_has_the_gradient_of_its_own_mask():
    model, data = Explainable(tiny(num_layers=1)), molecules()
    x, edge_index, rest = model.arguments(data)
    mask = torch.full((edge_index.shape[1],), 0.7, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(masked(model, mask, x, edge_index, rest).sum(), mask)
    assert bool((gradient.abs() > 1e-12).all())
    for edge in (0, 11, edge_index.shape[1] - 1):
        change = torch.zeros_like(gradient)
        change[edge] = 1e-5
        with torch.no_grad():
            up, down = (masked(model, mask + s * change, x, edge_index, rest).sum() for s in (1, -1))
        assert float((up - down) / 2e-5) == pytest.approx(float(gradient[edge]), rel=1e-5, abs=1e-9)


def test_the_mask_of_nodes_multiplies_their_embedding():
    network, data = tiny(num_layers=1), molecules()
    model = Explainable(network)
    x, edge_index, rest = model.arguments(data)
    half = [-0.5 * block for block in network.embed(data.z)]
    expected = network(data.z, data.pos, data.batch, node_embedding=half)
    assert torch.allclose(model(0.5 * x, edge_index, **rest), expected, atol=1e-11)


def test_the_model_that_was_given_is_left_as_it_is():
    network = tiny(num_layers=1)
    network.set_checkpoint("block")
    potential = EnergyForces(network).train()
    model = Explainable(potential).train()
    assert not any(m.training for m in model.modules() if m is not model)
    assert potential.training
    assert network.training
    assert network.checkpoint == "block"
    assert all(p.requires_grad for p in network.parameters())


def test_crystals_are_explained_with_their_images():
    network = tiny(num_layers=1)
    model, data = Explainable(PropertyModel(network, ["gap"])), RadiusGraph(network.config.cutoff)(periodic())
    explainer = Explainer(model, GNNExplainer(epochs=3), "model", model_config=GRAPH, edge_mask_type="object")
    x, edge_index, rest = model.arguments(data)
    explanation = explainer(x, edge_index, **rest)
    assert explanation.edge_mask.shape == (data.radius_edge_index.shape[1],)
    assert bool((explanation.edge_mask > 0).all())


def test_attention_can_be_the_explanation():
    model = Explainable(tiny(num_layers=2))
    explainer = Explainer(model, AttentionExplainer(), "model", model_config=GRAPH, edge_mask_type="object")
    x, edge_index, rest = model.arguments(molecules())
    explanation = explainer(x, edge_index, **rest)
    assert explanation.edge_mask.shape == (edge_index.shape[1],)
    assert float(explanation.edge_mask.std()) > 1e-3


def test_edges_that_cannot_reach_an_atom_do_not_explain_its_output():
    model = Explainable(tiny(num_layers=1, output="node_scalar", cutoff=2.0))
    pos = torch.zeros(6, 3, dtype=torch.float64)
    pos[:, 0] = 1.5 * torch.arange(6)  # a chain, each atom sees its neighbours
    x, edge_index, rest = model.arguments(torch.tensor([6, 1, 8, 7, 6, 1]), pos)
    config = {**GRAPH, "task_level": "node"}
    explainer = Explainer(model, GNNExplainer(epochs=5), "model", model_config=config, edge_mask_type="object")
    mask = explainer(x, edge_index, index=0, **rest).edge_mask
    # One layer, after an embedding that sees the neighbours of the neighbours.
    near = edge_index[1] <= 1
    assert bool((mask[near] > 0).all())
    assert bool((mask[~near] == 0).all())


def taught() -> Equiformer:
    """Return a network that learnt a property of the distance of oxygen and hydrogen, whatever else there is."""
    torch.manual_seed(0)
    network = Equiformer.from_preset(
        "small", num_layers=1, irreps="16x0e+4x1e", irreps_sh="1x0e+1x1e", irreps_head="8x0e+2x1e", heads=2,
        irreps_ffn="16x0e+4x1e", irreps_feature="16x0e", cutoff=3.0, num_basis=8,
    )  # fmt: skip
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    z, batch = torch.tensor([8, 1, 6, 6]).repeat(16), torch.arange(16).repeat_interleave(4)
    for _ in range(200):
        pos = 1.1 * torch.randn(64, 3)
        edge_index = radius_graph(pos, 3.0, batch)
        # Of the other edges any may be missing, as explainers will have it.
        keep = (z[edge_index] != 6).all(dim=0) | (torch.rand(edge_index.shape[1]) < 0.5)
        distance = (pos[0::4] - pos[1::4]).norm(dim=1)
        truth = 3 * torch.cos(distance.clamp(max=3.0) * torch.pi / 6).square()
        loss = (network(z, pos, batch, edge_index=edge_index[:, keep]).squeeze(1) - truth).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.3  # of a variance of about one
    return network.eval()


def test_the_pair_that_a_network_learnt_to_look_at_explains_it():
    model, z = Explainable(taught()), torch.tensor([8, 1, 6, 6])
    pos = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.2, 0.0], [-1.2, 0.0, 0.3]])
    x, edge_index, rest = model.arguments(z, pos)
    torch.manual_seed(0)
    algorithm = GNNExplainer(epochs=100, lr=0.1, edge_size=0.05, edge_ent=0.1)
    explainer = Explainer(model, algorithm, "model", model_config=GRAPH, edge_mask_type="object")
    mask = explainer(x, edge_index, **rest).edge_mask
    pair = (edge_index < 2).all(dim=0)
    assert (int(pair.sum()), len(pair)) == (2, 12)
    assert float(mask[pair].min()) > 5 * float(mask[~pair].max())


def test_what_cannot_be_explained_is_told():
    with pytest.raises(ValueError, match="reversible blocks, expected reversible=False"):
        Explainable(tiny(num_layers=2, reversible=True))
    with pytest.raises(ValueError, match=r"of an Ensemble, one of its \.models\), got Ensemble"):
        Explainable(Ensemble([EnergyForces(tiny(num_layers=1))]))
