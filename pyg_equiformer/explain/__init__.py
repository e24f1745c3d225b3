"""Looking inside: attention on the molecule, and PyG's explainers for whole models."""

from .attention import AttentionMaps, LayerAttention, attention_maps, recorded_attention
from .explainable import Explainable
from .figure import draw_attention
from .view import view_attention

__all__ = [
    "AttentionMaps",
    "Explainable",
    "LayerAttention",
    "attention_maps",
    "draw_attention",
    "recorded_attention",
    "view_attention",
]
