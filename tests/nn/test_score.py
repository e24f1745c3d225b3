"""Attention scores against their formulas; they are invariants."""

import pytest
import torch
from e3nn.o3 import Irreps
from torch import Tensor

from pyg_equiformer.kernels import pair_matrices
from pyg_equiformer.nn import SCORES, DepthwiseTensorProduct, MLPScore
from pyg_equiformer.o3 import Layout
from pyg_equiformer.testing import assert_equivariant

from ..strategies import DEVICES

IRREPS, SH, HEAD, HEADS = "4x0e+2x1o+2x2e", "0e+1o+2e", Irreps("3x0e+2x1o+1x2e"), 2
INDEX = [2, 0, 0, 3, 2]
every_kind = pytest.mark.parametrize("kind", SCORES)
every_device = pytest.mark.parametrize("device", DEVICES)


class Scored(torch.nn.Module):
    """A product and a score, from flat features of targets and messages."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.product = DepthwiseTensorProduct(IRREPS, irreps_sh=SH, irreps_filter=IRREPS)
        self.score = SCORES[kind](self.product.plan, Irreps(IRREPS), HEAD, HEADS)
        self.double()
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                torch.nn.init.normal_(parameter)

    def forward(self, x: Tensor, message: Tensor, sh: Tensor) -> Tensor:
        layout = self.product.plan.layout_in
        matrices = pair_matrices(self.product.plan, self.product.matrices(sh))
        parts = self.product.pairs(layout.split(message), matrices)
        return self.score(layout.split(x), self.score.keys(parts), torch.tensor(INDEX, device=x.device))


def inputs(device: str = "cpu", dtype: torch.dtype = torch.float64) -> list[Tensor]:
    rows = [(4, Irreps(IRREPS).dim), (5, Irreps(IRREPS).dim), (5, 9)]
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(*shape, generator=generator, dtype=torch.float64).to(device, dtype) for shape in rows]


@every_device
def test_mlp_score_is_a_dot_product_with_the_activated_scalars_of_each_head(device: str) -> None:
    scored = Scored("mlp").to(device)
    x, message, sh = inputs(device)
    scalars = scored.product(message, sh)[:, : scored.product.plan.channels_out[0]]
    types = scored.score.lin.types
    hidden = (scalars @ types.weight["0e"] + types.bias).view(5, HEADS, 3)
    activated = 1.531320475574866 * (0.6 * hidden + 0.4 * hidden * (2 * torch.sigmoid(hidden) - 1))
    expected = torch.einsum("ehk,hk->eh", activated, scored.score.vector)
    assert torch.allclose(scored(x, message, sh), expected, rtol=0, atol=1e-12)


@every_device
def test_dot_score_is_the_scaled_dot_product_of_query_and_key_by_degree(device: str) -> None:
    scored = Scored("dot").to(device)
    x, message, sh = inputs(device)
    product = scored.product
    query = scored.score.query(x)
    key_blocks = scored.score.key(
        product.pairs(product.plan.layout_in.split(message), pair_matrices(product.plan, product.matrices(sh)))
    )
    key = Layout(scored.score.key.irreps_out).join(key_blocks)
    expected = torch.zeros(5, HEADS, dtype=torch.float64, device=device)
    start = 0
    for mul, ir in HEAD:
        for head in range(HEADS):
            columns = slice(start, start + mul * ir.dim)
            dots = (query[INDEX][:, columns] * key[:, columns]).sum(1)
            expected[:, head] += dots / (HEAD.num_irreps * ir.dim) ** 0.5
            start += mul * ir.dim
    assert torch.allclose(scored(x, message, sh), expected, rtol=0, atol=1e-12)


@every_kind
@every_device
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_scores_are_invariant(kind: str, dtype: torch.dtype, device: str) -> None:
    x, message, sh = inputs(device, dtype)
    assert_equivariant(
        Scored(kind).to(device, dtype),
        IRREPS,
        f"{HEADS}x0e",
        x=x,
        equivariant={"message": (IRREPS, message), "sh": (SH, sh)},
    )


@every_kind
def test_reset_repeats_with_the_seed(kind: str) -> None:
    score = Scored(kind).score
    states = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        score.reset_parameters()
        states.append(torch.cat([p.detach().flatten() for p in score.parameters()]))
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_attention_vector_starts_as_glorot() -> None:
    torch.manual_seed(0)
    plan = DepthwiseTensorProduct("4x0e", irreps_sh="0e", irreps_filter="0e").plan
    vector = MLPScore(plan, Irreps("4x0e"), Irreps("400x0e"), 4).vector.detach()
    bound = (6 / (4 + 400)) ** 0.5
    assert vector.abs().max() <= bound
    assert vector.abs().max() > 0.95 * bound


@every_kind
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_scores_of_large_half_precision_features_do_not_overflow(kind: str, dtype: torch.dtype) -> None:
    score = Scored(kind).score.to(dtype)
    x = [(3e3 * b).to(dtype) for b in Layout(IRREPS).split(inputs()[0])]
    keys = [(6e4 * torch.randn(5, d, c, dtype=torch.float64).tanh()).to(dtype) for d, c in ((1, 6), (3, 4), (5, 2))]
    index = torch.tensor(INDEX)
    given = score(x, keys, index).double()
    exact = score.double()([b.double() for b in x], [b.double() for b in keys], index)
    assert exact.abs().max() > 2e4
    assert (given - exact).abs().max() < 0.03 * exact.abs().max()
