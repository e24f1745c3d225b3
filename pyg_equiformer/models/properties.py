"""Properties by name, in their own units, from the outputs of a network."""

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, cast

from torch import Tensor, nn

from ..kernels import segment_sum
from ..o3 import Blocks
from .equiformer import Equiformer
from .inputs import collect_inputs
from .pretrained import Pretrained
from .references import atomic_references, check_references

_TAKEN = ("features", "edges")


class PropertyModel(Pretrained, nn.Module):
    r"""The outputs of an `Equiformer` as properties with names and units.

    .. math:: y_k = t_k + s_k \cdot \mathrm{model}(z, x)_k + \sum_i r_{z_i, k}

    The sum over atoms is there for properties of structures; a property of an atom has the reference of its own
    element, and vectors have a scale only.

    Args:
        model: an `Equiformer` with one output per name.
        names: of the properties.
        scale: :math:`s_k`, one number for all or one each, in the property's unit.
        shift: :math:`t_k`, likewise.
        atomic_references: :math:`r_{z,k}`, one number per property, by atomic number. None: 0.
        units: of the properties, for the record; none or one each.

    Shapes:
        as in `Equiformer` → {name: [B], [N], [B, 3] or [N, 3]}, by the output of the model. Properties of structures
        are float64 where references are added. With `return_features=True` also "features" and "edges", see
        `Features`.

    Raises:
        ValueError: if numbers of names, outputs, scales, references or units differ, vectors have a shift or
            references, or an element has no reference.

    Example:
        >>> import torch
        >>> network = Equiformer.from_preset("small", num_layers=1, num_outputs=2)
        >>> model = PropertyModel(network, ["homo", "lumo"], scale=0.6, shift=[-6.5, 0.3], units=["eV", "eV"])
        >>> out = model(torch.tensor([8, 1, 1]), torch.randn(3, 3))
        >>> out["homo"].shape
        torch.Size([1])
    """

    def __init__(
        self,
        model: Equiformer,
        names: Sequence[str],
        *,
        scale: Sequence[float] | float = 1.0,
        shift: Sequence[float] | float = 0.0,
        atomic_references: Mapping[int, Sequence[float]] | None = None,
        units: Sequence[str] = (),
    ) -> None:
        super().__init__()
        if isinstance(names, str):
            raise ValueError(f"names must be a list, got {names!r}: write [{names!r}]")
        self.model, self.names = model, tuple(names)
        if len(self.names) != model.config.num_outputs:
            raise ValueError(
                f"expected as many names as the model has outputs, got {list(names)} for "
                f"num_outputs={model.config.num_outputs}"
            )
        if len(set(self.names)) != len(self.names) or any(not n or n in _TAKEN for n in self.names):
            raise ValueError(f"names must be distinct, not empty and not among {_TAKEN}, got {list(names)}")
        self.scale, self.shift = self._one_each(scale, "scale"), self._one_each(shift, "shift")
        self.units = tuple(units)
        if self.units and len(self.units) != len(self.names):
            raise ValueError(f"expected no units or one for each of {list(names)}, got {list(units)}")
        self.atomic_references: dict[int, tuple[float, ...]] | None = None
        if atomic_references is not None:
            check_references(atomic_references, "atomic_references")
            self.atomic_references = {
                int(z): self._one_each(r, f"the reference of Z = {z}") for z, r in atomic_references.items()
            }
        if model.config.output.endswith("vector") and (any(self.shift) or self.atomic_references is not None):
            raise ValueError(f"vectors have a scale only, got a shift or references for {list(names)}")

    @property
    def config(self) -> Any:
        return self.model.config

    def _one_each(self, values: Sequence[float] | float, what: str) -> tuple[float, ...]:
        given = [values] * len(self.names) if isinstance(values, Real) else values
        out = tuple(float(v) for v in cast(Sequence[float], given))
        if len(out) != len(self.names):
            raise ValueError(f"{what}: expected {len(self.names)} numbers, one for each of {self.names}, got {out}")
        return out

    def forward(
        self,
        z: Any,
        pos: Tensor | None = None,
        batch: Tensor | None = None,
        *,
        edge_index: Tensor | None = None,
        edge_attr: Tensor | None = None,
        edge_shift: Tensor | None = None,
        edge_type: Tensor | None = None,
        node_position: Tensor | None = None,
        node_attr: Tensor | None = None,
        cell: Tensor | None = None,
        pbc: Tensor | None = None,
        node_embedding: Blocks | None = None,
        return_features: bool = False,
    ) -> dict[str, Any]:
        extras: dict[str, Any] = {"edge_type": edge_type, "node_position": node_position, "node_attr": node_attr}
        extras |= {"cell": cell, "pbc": pbc}
        inputs = collect_inputs(z, pos, batch, edge_index, edge_attr, edge_shift, self.config, **extras)
        out = self.model(inputs, node_embedding=node_embedding, return_features=return_features)
        out, features = out if return_features else (out, None)
        if self.config.output.endswith("vector"):
            out = out.reshape(out.shape[0], len(self.names), 3)
            values = out * out.new_tensor(self.scale).unsqueeze(1)
        else:
            values = out.new_tensor(self.shift) + out.new_tensor(self.scale) * out
            if self.atomic_references is not None:
                values = self._with_references(values, inputs.z, inputs.batch)
        named: dict[str, Any] = dict(zip(self.names, values.unbind(1)))
        return named if features is None else named | {"features": features.nodes, "edges": features.edges}

    def _with_references(self, values: Tensor, z: Tensor, batch: Tensor) -> Tensor:
        assert self.atomic_references is not None
        each = atomic_references(z, self.atomic_references, "atomic reference")
        if self.config.output == "node_scalar":
            return values + each.to(values.dtype)
        return values.double() + segment_sum(each, batch, values.shape[0])

    def extra_repr(self) -> str:
        units = self.units or ("",) * len(self.names)
        return ", ".join(f"{name} {unit}".strip() for name, unit in zip(self.names, units))
