"""Saving and loading models, our own and those of the published code."""

from .atomic import atomic_save, atomic_write
from .files import load_model, model_content, model_from_content, read_extra, save_model
from .official import load_official, to_official_state_dict
from .places import MODEL, find_model
from .pretrained import is_pretrained, read_config, read_pretrained, write_pretrained

__all__ = [
    "MODEL",
    "atomic_save",
    "atomic_write",
    "find_model",
    "is_pretrained",
    "load_model",
    "load_official",
    "model_content",
    "model_from_content",
    "read_config",
    "read_extra",
    "read_pretrained",
    "save_model",
    "to_official_state_dict",
    "write_pretrained",
]
