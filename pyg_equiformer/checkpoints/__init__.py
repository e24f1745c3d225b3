"""Saving and loading models, our own and those of the published code."""

from .atomic import atomic_save
from .files import load_model, read_extra, save_model
from .official import load_official, to_official_state_dict

__all__ = ["atomic_save", "load_model", "load_official", "read_extra", "save_model", "to_official_state_dict"]
