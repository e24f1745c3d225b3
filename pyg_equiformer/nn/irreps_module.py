"""Base of the layers that map irreps to irreps."""

from typing import Any

from e3nn.o3 import Irreps
from torch import Tensor, nn

from ..o3 import Blocks, Layout


class IrrepsModule(nn.Module):
    """A layer from irreps to irreps that takes flat features or blocks and returns the same kind.

    Subclasses implement `blocks(x: Blocks, …) -> Blocks`; calling the layer with a flat tensor
    `[N, irreps_in.dim]` converts on the way in and out.
    """

    def __init__(self, irreps_in: Irreps | str, irreps_out: Irreps | str) -> None:
        super().__init__()
        self.layout_in = Layout(irreps_in)
        self.layout_out = Layout(irreps_out)

    @property
    def irreps_in(self) -> Irreps:
        return self.layout_in.irreps

    @property
    def irreps_out(self) -> Irreps:
        return self.layout_out.irreps

    def blocks(self, x: Blocks, *args: Any, **kwargs: Any) -> Blocks:
        raise NotImplementedError(f"{type(self).__name__} must implement blocks()")

    def forward(self, x: Tensor | Blocks, *args: Any, **kwargs: Any) -> Any:
        if isinstance(x, Tensor):
            return self.layout_out.join(self.blocks(self.layout_in.split(x), *args, **kwargs))
        return self.blocks(x, *args, **kwargs)

    def extra_repr(self) -> str:
        return f"{self.irreps_in} -> {self.irreps_out}"
