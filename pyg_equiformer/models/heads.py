"""From the features of the last block to outputs per atom."""

from typing import Any

from e3nn.o3 import Irreps
from torch import Tensor, nn

from ..conv import attention_layer
from ..nn import Gate, Linear, ScalarActivation
from ..o3 import SCALAR, Blocks, Layout, count


class ScalarHead(nn.Module):
    """Scalars per atom from the 0e features: linear, SiLU, linear.

    Shapes:
        blocks of irreps_in for N atoms → [N, num_outputs]
    """

    def __init__(self, irreps_in: Irreps | str, num_outputs: int) -> None:
        super().__init__()
        scalars = Irreps([(count(Irreps(irreps_in), SCALAR), SCALAR)])
        self.lin_in = Linear(irreps_in, scalars)
        self.activation = ScalarActivation()
        self.lin_out = Linear(scalars, Irreps([(num_outputs, SCALAR)]))

    def forward(self, x: Blocks, **edges: Any) -> Tensor:
        hidden = self.activation(self.lin_in.blocks(x)[0])
        return self.lin_out.blocks([hidden])[0].squeeze(1)


class AttentionHead(nn.Module):
    """Scalars per atom by one more attention over the neighbours.

    Shapes:
        blocks of irreps_in for N atoms, and the edges → [N, num_outputs]
    """

    def __init__(self, irreps_in: Irreps | str, num_outputs: int, **conv: Any) -> None:
        super().__init__()
        self.attn = attention_layer(irreps_in, irreps_out=Irreps([(num_outputs, SCALAR)]), **conv)

    def forward(self, x: Blocks, **edges: Any) -> Tensor:
        out: Blocks = self.attn(x, **edges)
        return out[0].squeeze(1)


class VectorHead(nn.Module):
    """Vectors per atom, in the order x, y, z: linear, gate, linear.

    Shapes:
        blocks of irreps_in for N atoms → [N, num_outputs, 3]
    """

    def __init__(self, irreps_in: Irreps | str, num_outputs: int, vector: str) -> None:
        super().__init__()
        layout = Layout(irreps_in)
        kept = Irreps([(mul, ir) for mul, ir in layout.canonical if ir == SCALAR or str(ir) == vector])
        self.gate = Gate(kept)
        self.lin_in = Linear(irreps_in, self.gate.irreps_in)
        self.lin_out = Linear(kept, Irreps([(num_outputs, vector)]))

    def forward(self, x: Blocks, **edges: Any) -> Tensor:
        # e3nn's degree-1 components are those of the vector itself, in the order they were given.
        out = self.lin_out.blocks(self.gate.blocks(self.lin_in.blocks(x)))[0]
        return out.transpose(1, 2)


def squeeze_single(x: Tensor) -> Tensor:
    """Return [N, 3] for a single vector output [N, 1, 3], else the input."""
    return x.squeeze(1) if x.dim() == 3 and x.shape[1] == 1 else x
