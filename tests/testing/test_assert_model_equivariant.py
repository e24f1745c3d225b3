"""assert_model_equivariant passes models that respect space and names the symmetry that others break."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data

from pyg_equiformer import EnergyForces, Equiformer
from pyg_equiformer.testing import assert_model_equivariant


def molecule(n: int = 5, seed: int = 0) -> Data:
    generator = torch.Generator().manual_seed(seed)
    pos = torch.randn(n, 3, generator=generator, dtype=torch.float64)
    edge_index = torch.randint(0, n, (2, 2 * n), generator=generator)
    return Data(z=torch.randint(1, 9, (n,), generator=generator), pos=pos, edge_index=edge_index)


def molecules() -> Batch:
    return Batch.from_data_list([molecule(4, 1), molecule(6, 2)])


def vectors(data: Any) -> Tensor:
    return data.pos[data.edge_index[0]] - data.pos[data.edge_index[1]]


def to_graphs(data: Any, x: Tensor) -> Tensor:
    batch = torch.zeros(len(data.pos), dtype=torch.long) if data.batch is None else data.batch
    return x.new_zeros(int(batch.max()) + 1, *x.shape[1:]).index_add(0, batch, x)


def node_vectors(data: Any) -> Tensor:
    weight = data.z[data.edge_index[0]].double().unsqueeze(1) * vectors(data).norm(dim=1, keepdim=True)
    return torch.zeros_like(data.pos).index_add(0, data.edge_index[1], weight * vectors(data))


def lengths(data: Any) -> Tensor:
    return node_vectors(data).norm(dim=1, keepdim=True)


def handedness(data: Any) -> Tensor:
    a, b = node_vectors(data), torch.zeros_like(data.pos).index_add(0, data.edge_index[1], vectors(data))
    return to_graphs(data, torch.linalg.cross(a, b) * a.roll(0)).sum(1) + 1


GOOD = {
    "graph_scalar": lambda data: to_graphs(data, lengths(data)),
    "node_scalar": lengths,
    "graph_vector": lambda data: to_graphs(data, node_vectors(data)),
    "node_vector": lambda data: torch.stack([node_vectors(data), 2 * node_vectors(data)], dim=1),
}
every_data = pytest.mark.parametrize("make", [molecule, molecules])


@every_data
@pytest.mark.parametrize("output", GOOD)
def test_passes_good_models_of_every_output(make, output: Any) -> None:
    assert_model_equivariant(GOOD[output], make(), output=output, inversion=True)


@every_data
@pytest.mark.parametrize(
    ("model", "output", "change"),
    [
        (lambda data: to_graphs(data, data.pos.norm(dim=1)), "graph_scalar", "translation"),
        (lambda data: to_graphs(data, vectors(data)[: len(data.pos), :1]), "graph_scalar", "rotation"),
        (lambda data: lengths(data).cumsum(0), "node_scalar", "permutation of atoms"),
        (lambda data: to_graphs(data, node_vectors(data)) * 0 + 1, "graph_vector", "rotation"),
        (lambda data: node_vectors(data).flip(0), "node_vector", "permutation of atoms"),
        (lambda data: torch.linalg.cross(node_vectors(data), node_vectors(data)[data.edge_index[0, : len(data.pos)]]),
         "node_vector", "inversion"),
    ],
)  # fmt: skip
def test_fails_bad_models_naming_the_symmetry(make, model, output: Any, change: str) -> None:
    with pytest.raises(AssertionError, match=f"under {change}: it is off by"):
        assert_model_equivariant(model, make(), output=output, inversion=True)


def test_dicts_of_energy_and_forces_need_no_names_and_others_do() -> None:
    def potential(data: Any) -> dict[str, Tensor]:
        pos = data.pos.detach().requires_grad_()
        moved = Data(z=data.z, pos=pos, edge_index=data.edge_index, batch=data.batch)
        energy = to_graphs(moved, lengths(moved)).squeeze(1)
        (gradient,) = torch.autograd.grad(energy.sum(), pos)
        return {"energy": energy, "forces": -gradient}

    assert_model_equivariant(potential, molecules(), inversion=True)
    with pytest.raises(AssertionError, match="forces of <lambda> is not equivariant"):
        assert_model_equivariant(lambda data: {**potential(data), "forces": data.pos}, molecules())
    with pytest.raises(ValueError, match="does not say what its output 'charges' is: pass output="):
        assert_model_equivariant(lambda data: {"charges": lengths(data)}, molecules())
    assert_model_equivariant(lambda data: {"charges": lengths(data)}, molecules(), output={"charges": "node_scalar"})


def test_unknown_outputs_are_refused() -> None:
    with pytest.raises(ValueError, match="<lambda> does not say what its output is: pass output="):
        assert_model_equivariant(lambda data: lengths(data), molecule())
    with pytest.raises(ValueError, match=r"output must be one of \('graph_scalar', .*got 'scalar'"):
        assert_model_equivariant(lengths, molecule(), output="scalar")  # type: ignore[arg-type]


def test_other_fields_may_turn_too() -> None:
    data = molecule()
    data.field = torch.randn(1, 3, dtype=torch.float64)

    def energy(data: Any) -> Tensor:
        return (node_vectors(data) @ data.field.T).sum(0, keepdim=True)

    assert_model_equivariant(energy, data, output="graph_scalar", vectors=("pos", "field"), inversion=True)
    with pytest.raises(AssertionError, match="under rotation"):
        assert_model_equivariant(energy, data, output="graph_scalar")


def test_the_data_is_left_as_it_was() -> None:
    data = molecules()
    before = {key: value.clone() for key, value in data.to_dict().items() if isinstance(value, Tensor)}
    assert_model_equivariant(lengths, data, output="node_scalar")
    assert all(torch.equal(data[key], value) for key, value in before.items())


@pytest.mark.parametrize(("irreps_sh", "inverted"), [("0e+1o+2e", True), ("0e+1e+2e", False)])
def test_inversion_is_tested_where_the_harmonics_have_parity(irreps_sh: str, inverted: bool) -> None:
    from e3nn.o3 import Irreps

    class Chiral(nn.Module):
        """Turns with space, but tells left from right."""

        def __init__(self) -> None:
            super().__init__()
            self.irreps_sh = Irreps(irreps_sh)

        def forward(self, data: Any) -> Tensor:
            v = node_vectors(data)
            return torch.linalg.det(torch.stack([v[data.z.argsort()[k]] for k in range(3)])).view(1)

    data = molecule()
    data.z = torch.tensor([1, 2, 3, 4, 5])
    if inverted:
        with pytest.raises(AssertionError, match="Chiral is not equivariant under inversion"):
            assert_model_equivariant(Chiral(), data, output="graph_scalar")
    else:
        assert_model_equivariant(Chiral(), data, output="graph_scalar")


def test_an_equiformer_says_itself_what_it_returns() -> None:
    small: dict[str, Any] = {
        "num_layers": 1,
        "irreps": "8x0e+4x1e",
        "irreps_head": "4x0e+2x1e",
        "irreps_ffn": "8x0e+4x1e",
    }
    vector = Equiformer.from_preset("small", output="node_vector", irreps_feature="8x0e+4x1e", **small).double()
    assert_model_equivariant(vector, molecules())
    assert_model_equivariant(EnergyForces(Equiformer.from_preset("small", **small).double()), molecules())
