"""Attention on the structure in three dimensions, to turn in a notebook."""

from typing import Any

from torch import Tensor

from .attention import AttentionMaps, LayerAttention


def view_attention(
    attention: AttentionMaps | LayerAttention,
    pos: Tensor,
    z: Tensor,
    *,
    layer: int = -1,
    head: int | None = None,
    top: int = 200,
) -> Any:
    """Return a py3Dmol view of a structure with its strongest edges, thicker and darker the more weight they have.

    Args:
        attention: of `attention_maps`, or one layer that `recorded_attention` collected.
        pos: positions [N, 3] in Å.
        z: atomic numbers [N].
        layer: of the maps; -1 is the last one.
        head: None: the mean of all.
        top: number of edges that are drawn.

    Returns:
        a `py3Dmol.view`, which a notebook shows.

    Raises:
        ImportError: without py3Dmol or ASE, naming the extra.
        ValueError: for layers or heads that there are not.
    """
    try:
        import py3Dmol
        from ase.data import chemical_symbols
    except ImportError as error:
        raise ImportError('the view needs py3Dmol and ASE: pip install "pyg_equiformer[view]"') from error
    one = attention if isinstance(attention, LayerAttention) else _layer(attention, layer)
    weights = one.of_heads().detach().double().cpu()
    if head is not None and not 0 <= head < weights.shape[1]:
        raise ValueError(f"head must be below {weights.shape[1]}, got {head}")
    alpha = weights.mean(dim=1) if head is None else weights[:, head]
    points, most = pos.detach().double().cpu(), max(float(alpha.max()), 1e-12)
    lines = [f"{chemical_symbols[k]} {x} {y} {w}" for k, (x, y, w) in zip(z.tolist(), points.tolist())]
    view = py3Dmol.view(width=640, height=480)
    view.addModel("\n".join([str(len(lines)), "", *lines]), "xyz")
    view.setStyle({"stick": {"radius": 0.08}, "sphere": {"scale": 0.22}})
    for edge in alpha.topk(min(top, len(alpha))).indices.tolist():
        source, target = one.edge_index[:, edge].tolist()
        start = points[source]
        if isinstance(attention, AttentionMaps):
            start = points[target] + attention.edge_vec[edge].detach().double().cpu()
        share = float(alpha[edge]) / most
        ends = {"start": _point(start), "end": _point(points[target])}
        colour = f"#{255:02x}{round(220 * (1 - share)):02x}{round(120 * (1 - share)):02x}"
        view.addCylinder({**ends, "radius": 0.02 + 0.12 * share, "color": colour, "opacity": 0.3 + 0.6 * share})
    view.zoomTo()
    return view


def _layer(maps: AttentionMaps, number: int) -> LayerAttention:
    if not -len(maps) <= number < len(maps):
        raise ValueError(f"layer must be one of {len(maps)}, got {number}")
    return list(maps)[number]


def _point(x: Tensor) -> dict[str, float]:
    return dict(zip("xyz", x.tolist()))
