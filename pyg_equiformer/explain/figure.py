"""Attention drawn on the structure."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from .attention import AttentionMaps, LayerAttention

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = "YlOrRd"
_WIDTH = 0.18  #: of the strongest edge at its target, Å


def draw_attention(
    attention: AttentionMaps | Iterable[LayerAttention],
    pos: Tensor,
    z: Tensor | None = None,
    *,
    heads: Literal["mean", "each"] | int = "mean",
    target: int | None = None,
    top: int | None = None,
    bonds: Tensor | None = None,
    path: str | Path | None = None,
) -> "Figure":
    """Draw what layers attend to: wedges from source to target, wider and darker the more weight they have.

    The structure is seen along the direction in which it is thinnest. A wedge is broad at the atom that attends and
    thin at the one attended to; the two directions of a pair lie side by side.

    Args:
        attention: of `attention_maps`, or what `recorded_attention` collected; one panel per layer.
        pos: positions of the nodes [N, 3] in Å.
        z: atomic numbers [N], for colours, sizes and bonds; None: nodes are grey dots.
        heads: "mean" of the heads; "each" in a panel of its own; or the number of one.
        target: draw the edges of this node only.
        top: draw the strongest edges of each panel only, so many; its title then says of how many. None: all.
        bonds: pairs of nodes [2, M] to join by a line, such as the residues of a chain; None: by distance, where `z`
            is known.
        path: file to write, .png, .svg or .pdf.

    Raises:
        ImportError: without matplotlib or ASE, naming the extra.
        ValueError: if there are no layers, or a number is out of range.
    """
    plt, patches = _matplotlib()
    layers, vec = list(attention), getattr(attention, "edge_vec", None)
    if not layers:
        raise ValueError("expected the attention of at least one layer, got none")
    panels = [_panels(layer, heads, target, top, len(pos)) for layer in layers]
    frame = _Frame(pos)
    rows, columns = (1, len(panels)) if heads != "each" else (len(panels), len(panels[0]))
    size = (3.6 * columns + 0.8, 3.6 * rows)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    most = max(float(alpha.max()) if len(alpha) else 0.0 for row in panels for _, _, alpha in row) or 1.0
    drawn = None
    for axis, (layer, panel) in zip(axes.flat, [(k, p) for k, row in zip(layers, panels) for p in row]):
        title, chosen, alpha = panel
        source, goal = layer.edge_index[:, chosen]
        start = pos[source] if vec is None else pos[goal] + vec[chosen]
        order = alpha.argsort()
        shapes = _wedges(frame.flat(start)[order], frame.flat(pos[goal])[order], alpha[order] / most)
        drawn = patches(shapes, cmap=_COLOURS, array=alpha[order].numpy(), clim=(0, most), zorder=2, linewidth=0)
        axis.add_collection(drawn)
        _draw_nodes(axis, frame.flat(pos), pos, z, bonds)
        axis.set_title(title, fontsize=9)
    figure.colorbar(drawn, ax=axes, label="attention α", shrink=0.7)
    if path is not None:
        figure.savefig(path, dpi=150)
        plt.close(figure)
    return figure


class _Frame:
    """The plane in which a structure is widest."""

    def __init__(self, pos: Tensor) -> None:
        self.middle = pos.detach().double().cpu().mean(dim=0)
        centred = pos.detach().double().cpu() - self.middle
        self.axes = torch.linalg.eigh(centred.T @ centred).eigenvectors[:, [2, 1]]

    def flat(self, points: Tensor) -> Tensor:
        return (points.detach().double().cpu() - self.middle) @ self.axes


def _panels(
    layer: LayerAttention, heads: Any, target: int | None, top: int | None, num_nodes: int
) -> list[tuple[str, Tensor, Tensor]]:
    """Return title, numbers of the edges [K] and their weights [K] for each panel of a layer."""
    alpha = layer.of_heads().detach().double().cpu()
    if target is not None and not 0 <= target < num_nodes:
        raise ValueError(f"target must be the number of a node below {num_nodes}, got {target}")
    if top is not None and top < 1:
        raise ValueError(f"top must be at least 1, got {top}")
    if heads == "mean":
        kinds = [("mean of heads", alpha.mean(dim=1))]
    elif heads == "each":
        kinds = [(f"head {h}", alpha[:, h]) for h in range(alpha.shape[1])]
    elif isinstance(heads, int) and 0 <= heads < alpha.shape[1]:
        kinds = [(f"head {heads}", alpha[:, heads])]
    else:
        raise ValueError(f"heads must be 'mean', 'each' or a number below {alpha.shape[1]}, got {heads!r}")
    wanted = torch.ones(len(alpha), dtype=torch.bool) if target is None else (layer.edge_index[1] == target).cpu()
    edges, panels = wanted.nonzero().flatten(), []
    for told, values in kinds:
        chosen, title = edges, f"{layer.name}, {told}"
        if top is not None and top < len(edges):
            chosen = edges[values[edges].topk(top).indices]
            title += f"\nstrongest {top} of {len(edges)} edges"
        panels.append((title, chosen, values[chosen]))
    return panels


def _wedges(start: Tensor, end: Tensor, share: Tensor) -> Any:
    """Return triangles [K, 3, 2] from points to points, beside the line between them."""
    along = end - start
    length = along.norm(dim=1, keepdim=True).clamp(min=1e-9)
    side = torch.stack([along[:, 1], -along[:, 0]], dim=1) / length
    width = _WIDTH * share.unsqueeze(1)
    near = end - 0.25 * along / length  # short of the node's middle, so that many fit around it
    return torch.stack([start, near, near + side * width], dim=1).numpy()


def _draw_nodes(axis: Any, flat: Tensor, pos: Tensor, z: Tensor | None, bonds: Tensor | None) -> None:
    from ase.data import chemical_symbols, covalent_radii
    from ase.data.colors import jmol_colors

    if bonds is None and z is not None:
        radii = torch.from_numpy(covalent_radii)[z.cpu()]
        near = torch.cdist(pos.double().cpu(), pos.double().cpu()) < 1.25 * (radii + radii.unsqueeze(1))
        bonds = near.triu(1).nonzero().T
    for i, j in () if bonds is None else bonds.T.tolist():
        axis.plot(*flat[[i, j]].T.tolist(), color="0.3", linewidth=1.2, zorder=2.5, solid_capstyle="round")
    colours = "0.6" if z is None else jmol_colors[z.cpu().numpy()]
    sizes = 12 if z is None else 300 * (0.15 + covalent_radii[z.cpu().numpy()]) ** 2
    axis.scatter(*flat.T.tolist(), s=sizes, c=colours, edgecolors="0.2", linewidths=0.7, zorder=3)
    if z is not None and len(z) <= 60:
        for point, number in zip(flat.tolist(), z.tolist()):
            style = {"ha": "center", "va": "center", "fontsize": 7, "zorder": 4}
            axis.annotate(chemical_symbols[number], point, **style)
    axis.set_aspect("equal")
    axis.margins(0.12)
    axis.set_axis_off()


def _matplotlib() -> tuple[Any, Any]:
    try:
        import ase.data.colors  # noqa: F401
        import matplotlib.pyplot as plt
        from matplotlib.collections import PolyCollection
    except ImportError as error:
        raise ImportError('the figure needs matplotlib and ASE: pip install "pyg_equiformer[train]"') from error
    return plt, PolyCollection
