"""Published names of dot-product attention whose heads mix parities (see `ParityBlindConv`)."""

from typing import TYPE_CHECKING

from e3nn.o3 import Irrep
from torch import Tensor

from ..conv import ParityBlindConv
from ..o3 import SCALAR
from .numbering import channel_entries
from .official_heads import head_entries, pair_entries

if TYPE_CHECKING:
    from .official_names import OfficialNames


def name_blind_attention(names: "OfficialNames", name: str, ours: str, module: ParityBlindConv) -> None:
    """Name the weights of a layer that is blind to parity; where parities differ, its matrices hold zeros."""
    conv, ours = module.conv, f"{ours}.conv"
    names.padded.append(f"{ours}.")
    node, pre, out = (
        channel_entries(irreps, simplify=False, blind=True)
        for irreps in (module.irreps_in, module.irreps_pre_attn, module.irreps_out)
    )
    joined = head_entries(module.irreps_head, conv.heads, "dot", blind=True)
    linears = [
        ("merge_src", "lin_src", node, pre),
        ("merge_dst", "lin_dst", node, pre),
        ("query", "score.query", node, joined),
        ("proj", "lin_out", joined, out),
    ]
    for theirs, mine, rows, columns in linears:
        grids, bias = names.grids_of(f"{ours}.{mine}.types"), names.bias_of(f"{ours}.{mine}.types")
        names.matrix(f"{name}.{theirs}", _of_both(grids), rows, columns, bias)
    wanted = {SCALAR, *(ir for _, ir in module.irreps_head)}
    numbers = names.product(
        f"{name}.key_value.dtp.tp", conv.product.plan, published=(module.irreps_pre_attn, module.irreps_sh, wanted)
    )
    names.radial(f"{name}.key_value.dtp_rad", f"{ours}.radial", conv.radial, numbers.weights)
    grids, bias = names.keys_and_values(ours)
    columns = pair_entries(module.irreps_head, conv.heads, "dot", blind=True)
    names.matrix(f"{name}.key_value.lin", _of_both(grids), numbers.rows, columns, bias)


def _of_both(grids: dict[Irrep, Tensor]) -> dict[Irrep, Tensor]:
    return {Irrep(ir.l, p): grid for ir, grid in grids.items() for p in (1, -1)}
