"""Properties by name and unit."""

import pytest
import torch
from torch_geometric.data import Batch, Data

from pyg_equiformer import PropertyModel
from pyg_equiformer.testing import assert_model_equivariant

from .conftest import tiny

VECTORS = {"irreps_feature": "16x0e+4x1e"}


def batch(molecule) -> Batch:
    z, pos = molecule
    return Batch.from_data_list([Data(z=z, pos=pos), Data(z=z[:2], pos=pos[:2])])


def test_scalars_of_structures_are_scaled_shifted_and_get_their_references(molecule):
    network, data = tiny(num_outputs=2), batch(molecule)
    references = {1: [1.0, 10.0], 6: [2.0, 20.0], 8: [3.0, 30.0]}
    model = PropertyModel(network, ["gap", "u0"], scale=[2.0, 3.0], shift=[0.5, 0.0], atomic_references=references)
    net, out = network(data), model(data)
    sums = torch.tensor([6 + 4 + 3, 4.0]).double()
    assert torch.allclose(out["gap"], 0.5 + 2 * net[:, 0] + sums, atol=1e-12)
    assert torch.allclose(out["u0"], 3 * net[:, 1] + 10 * sums, atol=1e-12)
    assert list(out) == ["gap", "u0"]


def test_large_references_do_not_round_away_the_network(molecule):
    network, data = tiny().float(), batch(molecule)
    data.pos = data.pos.float()
    out = PropertyModel(network, ["u0"], atomic_references={z: [-1e6] for z in (1, 6, 8)})(data)["u0"]
    assert out.dtype == torch.float64
    assert torch.allclose(out + torch.tensor([9e6, 2e6]), network(data)[:, 0].double(), atol=1e-9)
    assert PropertyModel(network, ["gap"], shift=-3.0)(data)["gap"].dtype == torch.float32


def test_scalars_of_atoms_get_the_reference_of_their_element(molecule):
    z, pos = molecule
    network = tiny(output="node_scalar", num_outputs=2)
    references = {1: [0.4, 0.0], 6: [-0.1, 1.0], 8: [-0.5, 2.0]}
    out = PropertyModel(network, ["charge", "shift"], scale=0.1, atomic_references=references)(z, pos)
    each = torch.tensor([references[int(k)] for k in z]).double()
    assert torch.allclose(out["charge"], 0.1 * network(z, pos)[:, 0] + each[:, 0], atol=1e-7)
    assert out["shift"].shape == (9,)


@pytest.mark.parametrize("output", ["graph_vector", "node_vector"])
@pytest.mark.parametrize("names", [["dipole"], ["dipole", "field"]])
def test_vectors_are_scaled_and_turn_with_the_molecule(output, names, molecule):
    network, data = tiny(output=output, num_outputs=len(names), **VECTORS), batch(molecule)
    model = PropertyModel(network, names, scale=[2.0, 3.0][: len(names)])
    out, net = model(data), network(data).reshape(-1, len(names), 3)
    for k, name in enumerate(names):
        assert torch.equal(out[name], [2.0, 3.0][k] * net[:, k])
    assert_model_equivariant(model, data, output=dict.fromkeys(names, output))


def test_features_and_embeddings_pass_through(molecule):
    z, pos = molecule
    model = PropertyModel(tiny(), ["gap"])
    embedding = [torch.ones(9, d, c).double() for d, c in ((1, 8), (3, 4), (5, 2))]
    out = model(z, pos, node_embedding=embedding, return_features=True)
    assert torch.equal(out["gap"], model.model(z, pos, node_embedding=embedding)[:, 0])
    assert out["features"][0].shape == (9, 1, 16)
    assert out["edges"]["edge_index"].shape[0] == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"names": ["a"]}, r"as many names as the model has outputs, got \['a'\] for num_outputs=2"),
        ({"names": "ab"}, r"names must be a list, got 'ab': write \['ab'\]"),
        ({"names": ["a", "a"]}, "distinct"),
        ({"names": ["a", "edges"]}, "not among"),
        ({"scale": [1.0]}, "scale: expected 2 numbers"),
        ({"shift": [1.0, 2.0, 3.0]}, "shift: expected 2 numbers"),
        ({"units": ["eV"]}, "no units or one for each"),
        ({"atomic_references": {1: [1.0]}}, "reference of Z = 1: expected 2 numbers"),
        ({"atomic_references": {500: [1.0, 1.0]}}, r"atomic numbers below 120, got \[500\]"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        PropertyModel(tiny(num_outputs=2), **{"names": ["a", "b"], **settings})


def test_vectors_have_neither_shift_nor_references():
    network = tiny(output="node_vector", **VECTORS)
    for settings in ({"shift": 1.0}, {"atomic_references": {1: [1.0]}}):
        with pytest.raises(ValueError, match="vectors have a scale only"):
            PropertyModel(network, ["dipole"], **settings)
    PropertyModel(network, ["dipole"], shift=[0.0])


def test_an_element_without_reference_is_named(molecule):
    model = PropertyModel(tiny(), ["u0"], atomic_references={1: [0.0], 6: [0.0]})
    with pytest.raises(ValueError, match=r"no atomic reference for Z = \[8\], only for \[1, 6\]"):
        model(*molecule)
