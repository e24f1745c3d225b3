"""NVIDIA's cuEquivariance, if it is installed (packages cuequivariance and cuequivariance-torch).

Run with its naive method on the CPU only, not on its own CUDA kernels (method "uniform_1d", package
cuequivariance-ops-torch), which are taken on a GPU where they are installed: untested there.
"""

import functools
import warnings
from importlib.util import find_spec

import torch
from e3nn.o3 import Irreps
from torch import Tensor, device, dtype, nn

from ...o3 import CouplingPlan, Layout, coupling_plan
from ..depthwise import Part
from ..messages import Message
from . import EngineWarning
from .paths import Paths, paths_of, split_paths


def refusal(plan: CouplingPlan, device: device, dtype: dtype) -> str | None:
    """Return which package is missing, or None."""
    missing = [name for name in ("cuequivariance", "cuequivariance_torch") if find_spec(name) is None]
    if missing:
        return f"{' and '.join(missing)} missing (pip install cuequivariance cuequivariance-torch)"
    return None


@torch.compiler.disable(reason="its product is built when it first meets a plan")
def message_product(
    plan: CouplingPlan, coefficients: Tensor, edge_sh: Tensor, message: Message, weight: Tensor | None
) -> list[list[Part]]:
    """Return the product of messages and harmonics in the precision of the coefficients, see `kernels.engines`."""
    x = message.dense()
    if weight is None:
        weight = edge_sh.new_ones(edge_sh.shape[0], plan.weight_numel)
    weights = torch.split(weight, [pair.numel for pair in plan.pairs], dim=1)
    found: dict[int, Tensor] = {}
    with torch.autocast(edge_sh.device.type, enabled=False):
        for i_in in {pair.i_in: None for pair in plan.pairs}:
            mine = [n for n, pair in enumerate(plan.pairs) if pair.i_in == i_in]
            w = torch.cat([weights[n] for n in mine], dim=1)
            inputs = [v.to(coefficients.dtype) for v in (w, x[i_in].flatten(1), edge_sh)]
            (out,) = _polynomial(paths_of(plan), i_in, edge_sh.device)(inputs)
            sizes = [plan.pairs[n].numel * plan.pairs[n].d_out for n in mine]
            found.update(zip(mine, out.to(x[i_in].dtype).split(sizes, dim=1)))
    parts = split_paths(plan, torch.cat([found[n] for n in range(len(plan.pairs))], dim=1), "m c")
    return [list(pieces) for pieces in parts]


@functools.cache
def _polynomial(paths: Paths, i_in: int, device: device) -> nn.Module:
    """Return the products of one input type: its channels are the one uniform mode that CUDA kernels want."""
    import cuequivariance as cue
    import cuequivariance_torch as cuet

    fast = device.type == "cuda" and find_spec("cuequivariance_ops_torch") is not None
    if fast:
        warnings.warn("the CUDA kernels of cuequivariance are untested with this package", EngineWarning, 2)
    types = Irreps([(1, ir) for ir in paths.types])
    plan = coupling_plan(Layout(paths.irreps_in), paths.irreps_sh, types)
    product = cue.SegmentedTensorProduct.from_subscripts("u,iu,j,ku+ijk")
    mul, ir_in = paths.irreps_in[i_in]
    product.add_segment(1, (ir_in.dim, mul))
    for _, ir in paths.irreps_sh:
        product.add_segment(2, (ir.dim,))
    slices = paths.irreps_sh.slices()
    for pair, columns in zip(plan.pairs, torch.split(plan.coefficients, plan.sizes, dim=1)):
        if pair.i_in != i_in:
            continue
        table = columns.unflatten(1, (pair.d_in, pair.d_out, len(pair.harmonics)))
        for p, j in enumerate(pair.harmonics):
            c = table[slices[j], :, :, p].transpose(0, 1).numpy()
            product.add_path(None, 0, j, None, c=c, dims={"u": mul})
    polynomial = cue.SegmentedPolynomial.eval_last_operand(product)
    return cuet.SegmentedPolynomial(polynomial, method="uniform_1d" if fast else "naive").to(device)
