"""Models that travel: folders and repositories of the Hugging Face Hub, with a card that tells what a model is."""

from .card import model_card
from .sharing import from_pretrained, push_to_hub, save_pretrained

__all__ = ["from_pretrained", "model_card", "push_to_hub", "save_pretrained"]
