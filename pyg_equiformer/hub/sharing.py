"""Models into folders and repositories, and back."""

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from ..checkpoints import atomic_write, is_pretrained, read_pretrained, write_pretrained
from ..checkpoints.pretrained import CONFIG, WEIGHTS
from .card import CARD, model_card
from .content import build, content_of

_REPO = re.compile(r"[\w.-]+/[\w.-]+")


def save_pretrained(
    source: nn.Module | str | Path,
    folder: str | Path,
    *,
    title: str | None = None,
    licence: str | None = None,
    about: str = "",
    extra: Mapping[str, Any] | None = None,
) -> Path:
    """Write a model to a folder to pass on: `model.safetensors`, `config.json` and a card, `README.md`.

    The card tells units, data, errors, cutoff and elements as far as they are known: those of a run are. Of the
    files that the model was trained on, only the names are passed on, not the folders they lay in.

    Args:
        source: a model (`Equiformer`, `EnergyForces`, `PropertyModel`, `Ensemble`, `EquiFold`), or where one is: the
            folder of a run, or a file such as its `model.pt`.
        folder: new, empty, or one that was written so before, whose files are replaced.
        title: of the card; None: its kind of model.
        licence: of the weights, as the Hub spells it: "mit", "cc-by-4.0", …; None: not told.
        about: what else the card should tell, Markdown.
        extra: plain values kept beside the model and read by `checkpoints.read_extra`, such as
            `{"elements": [1, 6, 8]}`, the atomic numbers that it was trained on.

    Returns:
        the folder.

    Raises:
        ImportError: without safetensors, naming the extra.
        FileNotFoundError: if there is no such model.
        ValueError: for a folder with other files, or a model that is not whole.

    Example:
        >>> from pyg_equiformer import EnergyForces, Equiformer
        >>> potential = EnergyForces(Equiformer.from_preset("small", num_layers=1))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = save_pretrained(potential, folder, title="Untrained", extra={"elements": [1, 8]})
        ...     sorted(file.name for file in Path(folder).iterdir()), type(from_pretrained(folder)).__name__
        (['README.md', 'config.json', 'model.safetensors'], 'EnergyForces')
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file, expected a folder for the model")
    if folder.is_dir() and any(folder.iterdir()) and not is_pretrained(folder):
        raise ValueError(f"{folder} holds other files, expected a new or empty folder for the model")
    content = content_of(source, extra or {})
    card = model_card(content, title=title, licence=licence, about=about)
    write_pretrained(folder, content)
    atomic_write(folder / CARD, card.encode())
    return folder


def from_pretrained(
    name: str | Path,
    *,
    revision: str | None = None,
    token: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
) -> Any:
    """Return a model from a folder, or from a repository of the Hugging Face Hub, in evaluation mode.

    Nothing of what is read can run code: weights are safetensors, everything else is JSON. Checksums tell files that
    were truncated or changed on the way (by accident: who changes them on purpose can change the sums too).

    Args:
        name: a folder that `save_pretrained` wrote, or "owner/name" of a repository.
        revision: branch, tag or commit of the repository; None: the newest.
        token: for private repositories; None: the one that `hf auth login` stored.
        cache_dir: where repositories are kept; None: huggingface_hub's place.
        local_files_only: take what was downloaded before, without a connection.

    Raises:
        ImportError: without safetensors or huggingface_hub, naming the extra.
        FileNotFoundError: if `name` is neither.
        ValueError: if the files are of a newer format, not whole, changed, or do not fit each other.

    Example:
        >>> from_pretrained("no such folder")
        Traceback (most recent call last):
        ...
        FileNotFoundError: there is no folder no such folder, expected one that save_pretrained wrote, or owner/name of a repository
    """  # noqa: E501
    folder = Path(name)
    if not folder.is_dir():
        if not _REPO.fullmatch(str(name)):
            told = "expected one that save_pretrained wrote, or owner/name of a repository"
            raise FileNotFoundError(f"there is no folder {name}, {told}")
        given: dict[str, Any] = {"revision": revision, "token": token, "cache_dir": cache_dir}
        given |= {"local_files_only": local_files_only, "allow_patterns": [CONFIG, WEIGHTS, CARD]}
        folder = Path(_hub().snapshot_download(str(name), **given))
    return build(name, read_pretrained(folder))


def push_to_hub(
    source: nn.Module | str | Path,
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | None = None,
    revision: str | None = None,
    message: str = "Upload a model of pyg_equiformer",
    **card: Any,
) -> str:
    """Put a model into a repository of the Hugging Face Hub, which is made if there is none.

    Args:
        source: as in `save_pretrained`; a folder that it wrote goes as it is, with the card that you may have edited.
        repo_id: "owner/name".
        private: whether a new repository is; None: as the owner's settings say.
        token: with the right to write; None: the one that `hf auth login` stored.
        revision: branch; None: the main one.
        message: of the commit.
        **card: `title`, `licence`, `about`, `extra` of `save_pretrained`, which names any that it does not know.

    Returns:
        the address of the repository.

    Raises:
        ImportError: without huggingface_hub or safetensors, naming the extra.
        ValueError: for another kind of name, or as in `save_pretrained`.
    """
    if not _REPO.fullmatch(repo_id):
        raise ValueError(f"repo_id must be owner/name, got {repo_id!r}")
    api = _hub().HfApi(token=token)
    with tempfile.TemporaryDirectory() as temporary:
        if isinstance(source, (str, Path)) and is_pretrained(source):
            if card:
                raise ValueError(f"{source} has its card already: edit its {CARD}, or save the model anew with {card}")
            folder = Path(source)
            build(folder, read_pretrained(folder))  # what does not load is not passed on
        else:
            folder = save_pretrained(source, Path(temporary) / "model", **card)
        address = str(api.create_repo(repo_id, private=private, exist_ok=True))
        api.upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            commit_message=message,
            revision=revision,
            allow_patterns=[CONFIG, WEIGHTS, CARD],
        )
    return address


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise ImportError('repositories need huggingface_hub: pip install "pyg_equiformer[hub]"') from error
    return huggingface_hub
