"""Equivariance of models of whole graphs."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args

import torch
from e3nn.o3 import Irreps
from torch import Tensor

from .comparison import compare, name_of
from .rotations import transformations

OutputKind = Literal["graph_scalar", "node_scalar", "graph_vector", "node_vector", "graph_tensor"]


def assert_model_equivariant(
    model: Callable[[Any], Any],
    data: Any,
    *,
    output: OutputKind | Mapping[str, OutputKind] | None = None,
    vectors: Sequence[str] = ("pos",),
    inversion: bool | None = None,
    tolerance: float | None = None,
    trials: int = 3,
    seed: int = 0,
) -> None:
    """Assert that a model of a `Data` or `Batch` turns with it, and ignores its place and the order of its atoms.

    Each graph is moved on its own; atoms are permuted within their graphs. Put models with dropout in
    evaluation mode first.

    Args:
        model: called as `model(data)`; returns a tensor, or a dict of tensors.
        data: with `pos` [N, 3] and, for several graphs, `batch` [N].
        output: what the tensor is: "graph_scalar" [B, …], "node_scalar" [N, …], "graph_vector" [B, …, 3],
            "node_vector" [N, …, 3] or "graph_tensor" [B, …, 3, 3]; for a dict name → kind. None:
            `model.config.output`, and for a dict `energy` (graph scalar), `forces` (node vector) and `stress` (graph
            tensor).
        vectors: fields of `data` whose last axis is a vector (x, y, z), "cell" and "radius_edge_shift" for example.
        inversion: whether to test inversion too, under which vectors change sign. None: if all `irreps_sh`
            inside the model have the parity of their degree, as those of E(3) models do.
        tolerance: as in `assert_equivariant`.
        trials: number of random rotations, and of permutations.
        seed: of all random numbers drawn here.

    Raises:
        AssertionError: with the size of the largest violation and where it is.
        ValueError: if the kind of an output is unknown.

    Example:
        >>> from torch_geometric.data import Data
        >>> from pyg_equiformer import EnergyForces, Equiformer
        >>> water = Data(z=torch.tensor([8, 1, 1]), pos=torch.randn(3, 3))
        >>> assert_model_equivariant(EnergyForces(Equiformer.from_preset("small", num_layers=1)), water)
    """
    generator = torch.Generator().manual_seed(seed)
    pos = data.pos
    batch = _batch(data)
    num_graphs = int(batch.max()) + 1 if batch.numel() else 0
    kinds = _output_kinds(model, output)
    reference = _outputs(model, data, kinds)

    def check(changed: Any, matrix: Tensor, order: Tensor, change: str) -> None:
        for name, got in _outputs(model, changed, kinds).items():
            expected = reference[name]
            if kinds[name].endswith("vector"):
                expected = expected @ matrix.to(expected).T
            elif kinds[name].endswith("tensor"):
                expected = matrix.to(expected) @ expected @ matrix.to(expected).T
            if kinds[name].startswith("node"):
                expected = expected[order]
            compare(got, expected, tolerance, f"{name} of {name_of(model)}" if name else name_of(model), change)

    eye, same = torch.eye(3, dtype=torch.float64), torch.arange(pos.shape[0], device=pos.device)
    if inversion is None:
        inversion = _has_parity(model)
    for change, matrix in transformations(generator, trials, inversion):
        turned = {key: getattr(data, key) @ matrix.to(pos).T for key in vectors}
        check(_replace(data, turned), matrix, same, change)
    shift = 3 * torch.randn(num_graphs, 3, generator=generator, dtype=torch.float64).to(pos)
    check(_replace(data, {"pos": pos + shift[batch]}), eye, same, "translation")
    for _ in range(trials):
        order = _permutation_within_graphs(batch, generator)
        check(_replace(data, _permuted(data, order)), eye, order, "permutation of atoms")


def _batch(data: Any) -> Tensor:
    batch = getattr(data, "batch", None)
    return torch.zeros(data.pos.shape[0], dtype=torch.long, device=data.pos.device) if batch is None else batch


def _output_kinds(model: Any, output: Any) -> dict[str, str]:
    """Return the kind of each output; a single tensor has the name ''."""
    if isinstance(output, Mapping):
        kinds = dict(output)
    elif output is None:
        kinds = {"energy": "graph_scalar", "forces": "node_vector", "stress": "graph_tensor"}
        kinds[""] = getattr(getattr(model, "config", None), "output", "")
    else:
        kinds = {"": output}
    known = get_args(OutputKind)
    for name, kind in kinds.items():
        if kind not in known and (name or output is not None):
            raise ValueError(f"output must be one of {known}, got {kind!r}")
    return kinds


def _outputs(model: Callable[[Any], Any], data: Any, kinds: dict[str, str]) -> dict[str, Tensor]:
    out = model(copy.copy(data))
    out = dict(out) if isinstance(out, Mapping) else {"": out}
    for name in out:
        if not kinds.get(name):
            what = f"its output {name!r} is" if name else "its output is"
            raise ValueError(f"{name_of(model)} does not say what {what}: pass output=")
    return {name: value.detach() for name, value in out.items()}


def _has_parity(model: Any) -> bool:
    modules = model.modules() if isinstance(model, torch.nn.Module) else [model]
    found = [getattr(m, "irreps_sh", None) for m in modules]
    harmonics = [irreps for irreps in found if isinstance(irreps, Irreps)]
    return bool(harmonics) and all(ir.p == (-1) ** ir.l for irreps in harmonics for _, ir in irreps)


def _replace(data: Any, fields: Mapping[str, Tensor]) -> Any:
    out = copy.copy(data)
    for key, value in fields.items():
        setattr(out, key, value)
    return out


def _permutation_within_graphs(batch: Tensor, generator: torch.Generator) -> Tensor:
    order = torch.empty_like(batch)
    for graph in batch.unique():
        members = (batch == graph).nonzero().squeeze(1)
        order[members] = members[torch.randperm(members.shape[0], generator=generator).to(members.device)]
    return order


def _permuted(data: Any, order: Tensor) -> dict[str, Tensor]:
    """Return the fields that change when atoms come in another order: theirs, and the edges between them."""
    place = torch.empty_like(order)
    place[order] = torch.arange(order.shape[0], device=order.device)
    fields = {}
    for key in data.keys():  # noqa: SIM118  (iterating Data gives pairs)
        value = getattr(data, key)
        if not isinstance(value, Tensor):
            continue
        if "index" in key:  # PyG's rule for fields that number the atoms
            fields[key] = place[value]
        elif data.is_node_attr(key):
            fields[key] = value[order]
    return fields
