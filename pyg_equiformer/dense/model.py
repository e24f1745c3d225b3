"""An Equiformer for dense tensors."""

from typing import Any

import torch
from e3nn.o3 import Irreps
from torch import Tensor, nn

from ..models import Equiformer, EquiformerConfig
from ..nn import Linear
from ..o3 import SCALAR, Blocks, Layout, as_irreps, count
from .graphs import dense_edges


class DenseOutput(dict[int, Tensor]):
    """Features by degree: `out.type1` or `out[1]`; [B, N, channels], with [..., 2l+1] behind for l > 0.

    Atoms that the mask leaves out have zeros.
    """

    def __getattr__(self, name: str) -> Tensor:
        degree = name.removeprefix("type")
        if name != degree and degree.isdigit() and int(degree) in self:
            return self[int(degree)]
        raise AttributeError(f"there is no {name}, expected one of {', '.join(f'type{l}' for l in self)}")


class DenseEquiformer(nn.Module):
    r"""Equiformer for tensors [batch, atoms, …] with a mask: the sparse network on the atoms that are there.

    Args:
        num_tokens: number of kinds of atoms, which `feats` then holds. None: `feats` holds numbers [B, N, dim_in].
        irreps: features between the blocks, each degree once.
        dim_in: numbers in `feats` for each atom without tokens. None: the 0e channels of `irreps`.
        heads, irreps_head: attention heads, and the irreps of one; None: those of `irreps`, at least one channel each.
        depth: number of blocks.
        num_neighbors: how many of the nearest atoms each atom attends to. None: all.
        reduce_dim_out: give one channel for each of the degrees 0 and 1, without its axis.
        num_edge_tokens: number of kinds of pairs; `edges` then holds their numbers, which are embedded in `edge_dim`
            numbers.
        edge_dim: numbers for each pair: those of `edges` without tokens, or of the embedding.
        num_positions: number of positions in a sequence; atoms are told apart by their place in the tensor.
        attend_adjacent: whether `adj_mat` is given: bonded pairs are told from others, and attend to each other also
            where they are not among the nearest.
        cutoff: length that the radial basis reaches, in the unit of the positions; farther atoms are all alike.
        **settings: further settings of `EquiformerConfig`: `attention`, `attend_self`, `kv_heads`, `reversible`, …

    Shapes:
        - feats [B, N] (tokens) or [B, N, dim_in]; coors [B, N, 3]; mask [B, N], bool (None: all atoms are there)
        - edges [B, N, N] (tokens) or [B, N, N, edge_dim], of target and source; adj_mat [N, N] or [B, N, N], bool
        - output: `DenseOutput`, type0 [B, N, C] and type1 [B, N, C, 3] and so on; with `reduce_dim_out` type0 [B, N]
          and type1 [B, N, 3]; with `return_pooled` the mean over the atoms of each entry of the batch

    Raises:
        ValueError: for irreps with a degree twice, settings that do not exist, tensors of the wrong shape, type or
            range, or inputs that the model was not made for.

    Example:
        >>> model = DenseEquiformer(num_tokens=24, irreps="4x0e+4x1e+2x2e", heads=2, depth=1, num_neighbors=4)
        >>> feats, mask = torch.randint(0, 24, (1, 10)), torch.ones(1, 10, dtype=torch.bool)
        >>> out = model(feats, torch.randn(1, 10, 3), mask)
        >>> out.type0.shape, out.type1.shape
        (torch.Size([1, 10, 4]), torch.Size([1, 10, 4, 3]))
    """

    def __init__(
        self,
        *,
        irreps: Irreps | str,
        num_tokens: int | None = None,
        dim_in: int | None = None,
        heads: int = 2,
        irreps_head: Irreps | str | None = None,
        depth: int = 2,
        num_neighbors: int | None = None,
        reduce_dim_out: bool = False,
        num_edge_tokens: int | None = None,
        edge_dim: int | None = None,
        num_positions: int | None = None,
        attend_adjacent: bool = False,
        cutoff: float = 10.0,
        **settings: Any,
    ) -> None:
        super().__init__()
        layout = Layout(as_irreps(irreps, "irreps"))
        degrees = [ir.l for ir in layout.types]
        if len(set(degrees)) < len(degrees):
            raise ValueError(f"irreps must hold each degree once, got {layout.irreps}")
        for name, value in (("num_neighbors", num_neighbors), ("num_edge_tokens", num_edge_tokens)):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if reduce_dim_out and degrees[:2] != [0, 1]:
            raise ValueError(f"reduce_dim_out gives degrees 0 and 1, got irreps={layout.irreps}")
        self.num_tokens, self.num_neighbors, self.reduce_dim_out = num_tokens, num_neighbors, reduce_dim_out
        channels = count(layout.canonical, SCALAR)
        self.dim_in = channels if dim_in is None else dim_in
        self.num_edge_tokens = num_edge_tokens
        edge_dim = (4 if num_edge_tokens else 0) if edge_dim is None else edge_dim
        self.edge_dim = edge_dim
        self.edge_embed = None if num_edge_tokens is None else nn.Embedding(num_edge_tokens, edge_dim)
        self.bond_embed = nn.Embedding(2, 4) if attend_adjacent else None
        self.position_embed = None if num_positions is None else nn.Embedding(num_positions, channels)
        self.lin_in = None if num_tokens is not None else nn.Linear(self.dim_in, channels)
        self.network = Equiformer(_config(layout, heads, irreps_head, depth, cutoff, num_tokens, {
            "edge_dim": edge_dim + (4 if attend_adjacent else 0), **settings,
        }))  # fmt: skip
        self.network.head = nn.Identity()  # the features themselves are the output
        reduced = Irreps([(1, ir) for ir in layout.types[:2]])
        self.layout_out = Layout(reduced if reduce_dim_out else layout.irreps)
        self.lin_out = Linear(layout.irreps, self.layout_out.irreps)

    def forward(
        self,
        feats: Tensor,
        coors: Tensor,
        mask: Tensor | None = None,
        *,
        edges: Tensor | None = None,
        adj_mat: Tensor | None = None,
        return_pooled: bool = False,
    ) -> DenseOutput:
        mask = self._check(feats, coors, mask, edges, adj_mat)
        adj_mat = None if adj_mat is None else adj_mat.expand(*mask.shape, -1)
        found = dense_edges(coors, mask, self.num_neighbors, adj_mat)
        x, edge_attr = feats[mask], []
        if edges is not None:
            of_pairs = found.pick(edges)
            if self.num_edge_tokens is not None:
                _check_tokens(of_pairs, self.num_edge_tokens, "edges")
            edge_attr.append(of_pairs if self.edge_embed is None else self.edge_embed(of_pairs))
        if adj_mat is not None and self.bond_embed is not None:
            edge_attr.append(self.bond_embed(found.pick(adj_mat).long()))
        tokens = x if self.lin_in is None else x.new_zeros(x.shape[0], dtype=torch.int64)
        features = self.network.features(
            tokens,
            coors[mask],
            mask.nonzero()[:, 0],
            edge_index=found.edge_index,
            edge_attr=torch.cat(edge_attr, dim=1) if edge_attr else None,
            node_embedding=self._embed(x, mask),
        )
        return self._dense(self.lin_out.blocks(features.nodes), mask, return_pooled)

    def _embed(self, x: Tensor, mask: Tensor) -> Blocks | None:
        """Return what is added to the first features; None if there is nothing."""
        scalars = None if self.lin_in is None else self.lin_in(x)
        if self.position_embed is not None:
            place = self.position_embed(mask.nonzero()[:, 1])
            scalars = place if scalars is None else scalars + place
        if scalars is None:
            return None
        layout = self.lin_out.layout_in
        others = zip(layout.dims[1:], layout.channels[1:])
        return [scalars.unsqueeze(1), *(scalars.new_zeros(scalars.shape[0], d, c) for d, c in others)]

    def _dense(self, blocks: Blocks, mask: Tensor, pooled: bool) -> DenseOutput:
        out = DenseOutput()
        for ir, block in zip(self.layout_out.types, blocks):
            y = block.squeeze(1) if ir.l == 0 else block.transpose(1, 2)
            y = y.squeeze(1) if self.reduce_dim_out else y
            dense = y.new_zeros(*mask.shape, *y.shape[1:]).masked_scatter(
                mask.view(*mask.shape, *[1] * (y.dim() - 1)), y
            )
            if pooled:
                count = mask.sum(1).clamp(min=1).view(-1, *[1] * (y.dim() - 1))
                dense = dense.sum(1) / count
            out[ir.l] = dense
        return out

    def _check(
        self, feats: Tensor, coors: Tensor, mask: Tensor | None, edges: Tensor | None, adj_mat: Tensor | None
    ) -> Tensor:
        """Check shapes and return the mask."""
        if coors.dim() != 3 or coors.shape[2] != 3:
            raise ValueError(f"coors must have shape [batch, atoms, 3], got {tuple(coors.shape)}")
        size = coors.shape[:2]
        wanted = tuple(size) if self.num_tokens is not None else (*size, self.dim_in)
        if tuple(feats.shape) != wanted:
            raise ValueError(f"feats must have shape {wanted}, got {tuple(feats.shape)}")
        if mask is None:
            mask = torch.ones(size, dtype=torch.bool, device=coors.device)
        if mask.shape != size or mask.dtype != torch.bool:
            raise ValueError(f"mask must hold bools of shape {tuple(size)}, got {mask.dtype} {tuple(mask.shape)}")
        if self.num_tokens is not None:
            _check_tokens(feats[mask], self.num_tokens, "feats")
        if not bool(coors[mask].isfinite().all()):
            b, i = (mask & ~coors.isfinite().all(2)).nonzero()[0].tolist()
            raise ValueError(f"coors must be finite where mask is true, got {coors[b, i].tolist()} at [{b}, {i}]")
        if self.position_embed is not None and size[1] > self.position_embed.num_embeddings:
            raise ValueError(f"num_positions is {self.position_embed.num_embeddings}, got {size[1]} atoms")
        self._check_pairs(edges, adj_mat, tuple(size))
        return mask

    def _check_pairs(self, edges: Tensor | None, adj_mat: Tensor | None, size: tuple[int, ...]) -> None:
        square = (*size, size[1])
        expected = square if self.num_edge_tokens else (*square, self.edge_dim)
        if (edges is not None) != (self.edge_dim > 0):
            wanted = f"edges of shape {expected}" if self.edge_dim else "no edges, or a model made with edge_dim"
            raise ValueError(f"expected {wanted}, got {None if edges is None else tuple(edges.shape)}")
        if edges is not None and tuple(edges.shape) != expected:
            raise ValueError(f"edges must have shape {expected}, got {tuple(edges.shape)}")
        if (adj_mat is not None) != (self.bond_embed is not None):
            wanted = (
                "adj_mat" if self.bond_embed is not None else "no adj_mat, or a model made with attend_adjacent=True"
            )
            raise ValueError(f"expected {wanted}, got {None if adj_mat is None else tuple(adj_mat.shape)}")
        if adj_mat is not None and (adj_mat.dtype != torch.bool or tuple(adj_mat.shape) not in (square, square[1:])):
            raise ValueError(f"adj_mat must hold bools of shape {square}, got {adj_mat.dtype} {tuple(adj_mat.shape)}")


def _check_tokens(values: Tensor, number: int, name: str) -> None:
    if values.dtype not in (torch.int64, torch.int32):
        raise ValueError(f"{name} must hold tokens as int64, got {values.dtype}")
    if values.numel():
        low, high = torch.aminmax(values)
        if int(low) < 0 or int(high) >= number:
            raise ValueError(f"{name} must hold tokens from 0 to {number - 1}, got {int(low)} to {int(high)}")


def _config(
    layout: Layout,
    heads: int,
    irreps_head: Irreps | str | None,
    depth: int,
    cutoff: float,
    num_tokens: int | None,
    settings: dict[str, Any],
) -> EquiformerConfig:
    """Return the settings of the sparse network; what the caller sets goes before the defaults for small networks."""
    irreps = Irreps([(mul, ir) for mul, ir in layout.canonical])
    if irreps_head is None:
        irreps_head = Irreps([(max(1, mul // heads), ir) for mul, ir in irreps])
    own: dict[str, Any] = {
        "irreps": str(irreps),
        "irreps_feature": str(irreps),
        "irreps_ffn": str(Irreps([(3 * mul, ir) for mul, ir in irreps])),
        "irreps_sh": str(Irreps([(1, ir) for ir in layout.types])),
        "irreps_head": str(irreps_head),
        "heads": heads,
        "num_layers": depth,
        "cutoff": cutoff,
        "num_basis": 32,
        "attn_dropout": 0.0,
        "elements": tuple(range(num_tokens or 1)),
        "output": "node_scalar",
    }
    return EquiformerConfig.from_dict({**own, **settings})
