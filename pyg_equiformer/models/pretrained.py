"""Models that save themselves for others, and come back from a folder or a repository."""

from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T", bound="Pretrained")


class Pretrained:
    """The methods of huggingface_hub's `ModelHubMixin`, for models of this package.

    They do what the functions of the same names in `pyg_equiformer.hub` do, which take folders of runs too. The class
    of huggingface_hub itself cannot be a parent: models work where that package is not installed.

    Example:
        >>> import tempfile
        >>> from pyg_equiformer import EnergyForces, Equiformer
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = EnergyForces(Equiformer.from_preset("small", num_layers=1)).save_pretrained(folder)
        ...     type(EnergyForces.from_pretrained(folder)).__name__
        'EnergyForces'
    """

    def save_pretrained(self, folder: str | Path, **card: Any) -> Path:
        """Write the model to a folder to pass on, see `hub.save_pretrained`.

        Args:
            folder: new, empty, or one that was written so before.
            **card: `title`, `licence`, `about` and `extra`.

        Raises:
            ImportError: without safetensors, naming the extra.
            ValueError: for a folder with other files.
        """
        from .. import hub

        return hub.save_pretrained(self, folder, **card)  # type: ignore[arg-type]

    @classmethod
    def from_pretrained(cls: type[T], name: str | Path, **source: Any) -> T:
        """Return the model in a folder or a repository of the Hugging Face Hub, see `hub.from_pretrained`.

        Args:
            name: folder, or "owner/name".
            **source: `revision`, `token`, `cache_dir` and `local_files_only`.

        Raises:
            ImportError: without safetensors or huggingface_hub, naming the extra.
            FileNotFoundError: if `name` is neither.
            ValueError: if it holds a model of another class, or is not whole.
        """
        from .. import hub

        model = hub.from_pretrained(name, **source)
        if not isinstance(model, cls):
            found = type(model).__name__
            raise ValueError(f"{name} holds a model of class {found}, expected {cls.__name__}: call {found}'s method")
        return model

    def push_to_hub(self, repo_id: str, **how: Any) -> str:
        """Put the model into a repository of the Hugging Face Hub and return its address, see `hub.push_to_hub`.

        Args:
            repo_id: "owner/name".
            **how: `private`, `token`, `revision`, `message`, and what `save_pretrained` takes.

        Raises:
            ImportError: without huggingface_hub or safetensors, naming the extra.
            ValueError: for another kind of name.
        """
        from .. import hub

        return hub.push_to_hub(self, repo_id, **how)  # type: ignore[arg-type]
