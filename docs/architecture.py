"""Draws docs/architecture.svg, the picture in the README:  python docs/architecture.py"""

from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
from matplotlib.patches import FancyBboxPatch

INK, EDGE, NODE, GRAY = "#1d2733", "#f3c98b", "#a9cdea", "#e7eaee"
plt.rcParams.update({"svg.hashsalt": "pyg_equiformer", "font.family": "DejaVu Sans", "text.color": INK})


def box(ax, x, y, text, color, w=2.6, h=0.62, size=9.5):
    style = FancyBboxPatch((x - w / 2, y - h / 2), w, h, boxstyle="round,pad=0.02,rounding_size=0.12", fc=color, ec=INK)
    ax.add_patch(style)
    ax.text(x, y, text, ha="center", va="center", fontsize=size)


def arrow(ax, start, end, text="", side=0.12, curve=0.0):
    line = {"arrowstyle": "-|>", "color": INK, "lw": 1.1, "connectionstyle": f"arc3,rad={curve}"}
    ax.annotate("", xy=end, xytext=start, arrowprops=line)
    if text:
        ax.text((start[0] + end[0]) / 2 + side, (start[1] + end[1]) / 2, text, fontsize=8.5, va="center")


def model(ax):
    ax.text(2.5, 10.35, "Equiformer", fontsize=13, weight="bold", ha="center")
    box(ax, 0.9, 9.5, "z\natomic numbers", "white", 2.3, 0.8)
    box(ax, 4.1, 9.5, "pos (Å), batch", "white", 2.2, 0.8)
    box(ax, 4.1, 8.2, "radius_graph", GRAY)
    box(ax, 4.1, 7.1, "EdgeGeometry\nY(r̂), radial basis", EDGE, 2.8, 0.82)
    box(ax, 0.9, 7.1, "atom embedding", NODE, 2.2)
    box(ax, 2.5, 5.7, "+ edge-degree embedding", NODE, 3.4)
    box(ax, 2.5, 3.95, "norm → EquiformerConv → +\nnorm → feed-forward → +", NODE, 3.9, 1.1)
    ax.text(4.7, 4.4, "× layers", fontsize=9.5)
    box(ax, 2.5, 2.3, "norm, head: scalars or vectors\nper atom, summed per graph", NODE, 3.9, 0.85)
    box(ax, 2.5, 0.95, "EnergyForces:  E,  F = −∂E/∂pos", GRAY, 3.9)
    arrow(ax, (0.9, 9.1), (0.9, 7.43))
    arrow(ax, (4.1, 9.1), (4.1, 8.53))
    arrow(ax, (4.1, 7.88), (4.1, 7.53), "edge_index")
    arrow(ax, (0.9, 6.78), (1.9, 6.03))
    arrow(ax, (4.1, 6.67), (3.3, 6.03))
    arrow(ax, (2.5, 5.37), (2.5, 4.53), "blocks [N, 2l+1, C]")
    arrow(ax, (2.5, 3.38), (2.5, 2.75))
    arrow(ax, (2.5, 1.86), (2.5, 1.28))


def layer(ax):
    ax.text(10.3, 10.35, "EquiformerConv", fontsize=13, weight="bold", ha="center")
    box(ax, 8.9, 9.5, "x_j  source", NODE, 2.0)
    box(ax, 11.7, 9.5, "x_i  target", NODE, 2.0)
    box(ax, 10.3, 8.2, "linear(x_j) + linear(x_i)", EDGE, 3.6)
    box(ax, 7.4, 7.0, "edge_sh  Y(r̂)", "white", 1.9)
    box(ax, 13.3, 7.0, "edge_attr → MLP → w", "white", 2.7)
    box(ax, 10.3, 7.0, "⊗ Y,  weighted by w", EDGE, 2.7)
    box(ax, 8.7, 5.6, "score → softmax\nα per head", EDGE, 2.5, 0.85)
    box(ax, 12.0, 5.6, "linear → gate\nvalue v", EDGE, 2.5, 0.85)
    box(ax, 10.3, 3.95, "Σ_j  α v ⊗ Y\nsum over neighbours first", NODE, 3.7, 0.95)
    box(ax, 10.3, 2.6, "couple and map, per head", NODE, 3.7)
    box(ax, 10.3, 1.45, "linear → x_i′", NODE, 3.7)
    arrow(ax, (8.9, 9.17), (9.8, 8.53))
    arrow(ax, (11.7, 9.17), (10.8, 8.53))
    arrow(ax, (10.3, 7.87), (10.3, 7.33))
    arrow(ax, (8.37, 7.0), (8.93, 7.0))
    arrow(ax, (11.93, 7.0), (11.67, 7.0))
    arrow(ax, (9.9, 6.67), (9.0, 6.05), "0e", -0.42)
    arrow(ax, (10.7, 6.67), (11.7, 6.05), "all l", 0.12)
    arrow(ax, (9.0, 5.15), (9.8, 4.45))
    arrow(ax, (11.7, 5.15), (10.8, 4.45))
    arrow(ax, (6.8, 6.67), (8.42, 3.95), curve=0.33)
    arrow(ax, (10.3, 3.45), (10.3, 2.93))
    arrow(ax, (10.3, 2.27), (10.3, 1.78))
    box(ax, 13.6, 3.95, "on edges", EDGE, 1.5, 0.5, 8.5)
    box(ax, 13.6, 3.25, "on nodes", NODE, 1.5, 0.5, 8.5)


if __name__ == "__main__":
    figure, axes = plt.subplots(figsize=(11.2, 7.6))
    axes.set_xlim(-0.4, 14.8)
    axes.set_ylim(0.4, 10.8)
    axes.axis("off")
    axes.plot([6.1, 6.1], [0.9, 10.4], color="#b9c0c9", lw=0.8, ls=(0, (4, 4)))
    model(axes)
    layer(axes)
    figure.savefig(Path(__file__).with_name("architecture.svg"), bbox_inches="tight", metadata={"Date": None})
