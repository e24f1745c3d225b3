"""A model as a folder to pass on: weights as safetensors, everything else as JSON, nothing that could run.

config.json         what `save_model` writes but for the tensors, with checksums
model.safetensors   the tensors
"""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from .atomic import atomic_write

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
_SUMS = "sha256"


def is_pretrained(path: str | Path) -> bool:
    """Return whether this is a folder with the files of a model to pass on, or what is left of them."""
    return any((Path(path) / name).is_file() for name in (CONFIG, WEIGHTS))


def write_pretrained(folder: str | Path, content: Mapping[str, Any]) -> None:
    """Write all that describes a model to a folder, each file whole or not at all.

    Args:
        folder: made if it does not exist; files of the same names are replaced.
        content: plain values and, in dicts named "state_dict", tensors: `files.model_content`, for example.

    Raises:
        ImportError: without safetensors, naming the extra.
        ValueError: for values that JSON cannot hold and give back, naming them.
        OSError: if a file cannot be written.
    """
    from_torch = _safetensors().save
    tensors: dict[str, Tensor] = {}
    plain = _without_tensors(content, "", tensors)
    # Contiguous copies: safetensors refuses tensors that share their memory.
    packed = from_torch({name: t.contiguous().clone() for name, t in tensors.items()}, metadata={"format": "pt"})
    plain[_SUMS] = {WEIGHTS: hashlib.sha256(packed).hexdigest(), CONFIG: _sum_of(plain)}
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(folder / WEIGHTS, packed)
    text = json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False)
    atomic_write(folder / CONFIG, (text + "\n").encode())


def read_pretrained(folder: str | Path) -> dict[str, Any]:
    """Return what `write_pretrained` wrote to a folder.

    Raises:
        ImportError: without safetensors, naming the extra.
        ValueError: if a file is missing, truncated, or not the one that was written.
    """
    to_torch = _safetensors().load
    content = read_config(folder)
    path, told = Path(folder) / WEIGHTS, content[_SUMS]
    packed = _bytes_of(path)
    if hashlib.sha256(packed).hexdigest() != told.get(WEIGHTS):
        raise ValueError(f"{path} is not the file that {CONFIG} belongs to: truncated or changed; get it again")
    try:
        tensors = to_torch(packed)
    except Exception as error:  # safetensors has an error class of its own, in Rust
        raise ValueError(f"{path} is no safetensors file: {error}") from error
    del content[_SUMS]
    filled: dict[str, Any] = _with_tensors(content, "", tensors)
    return filled


def read_config(folder: str | Path) -> dict[str, Any]:
    """Return what the `config.json` of a folder says, with its checksums, without the weights.

    Raises:
        ValueError: if it is missing, truncated, or not as it was written.
    """
    path = Path(folder) / CONFIG
    try:
        content = json.loads(_bytes_of(path))
    except ValueError as error:
        if not path.is_file():
            raise
        raise ValueError(f"{path} is not whole JSON: {error}; get it again") from error
    if not isinstance(content, dict) or not str(content.get("format", "")).startswith("pyg_equiformer"):
        raise ValueError(f"{path} is not the config of a model of pyg_equiformer")
    sums = content.get(_SUMS)
    if not isinstance(sums, dict) or _sum_of({k: v for k, v in content.items() if k != _SUMS}) != sums.get(CONFIG):
        raise ValueError(f"{path} is not as it was written: its checksum differs; get it again, or save the model anew")
    return {k: _numbered(v) for k, v in content.items()}


def _bytes_of(path: Path) -> bytes:
    if not path.is_file():
        raise ValueError(f"there is no file {path}, expected {CONFIG} and {WEIGHTS} in the folder of a shared model")
    return path.read_bytes()


def _sum_of(plain: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _without_tensors(value: Any, where: str, tensors: dict[str, Tensor]) -> Any:
    """Return a value as JSON has it; the tensors of state dicts go to `tensors`, by their place."""
    if where.rpartition(".")[2] == "state_dict":
        tensors |= {f"{where.removesuffix('state_dict')}{k}": v for k, v in value.items()}
        return sorted(value)
    if isinstance(value, Mapping):
        keys = {type(k) for k in value}
        if not (keys <= {int} or (keys <= {str} and not any(map(_is_number, value)))):
            raise ValueError(f"{where}: expected a dict with names, or with whole numbers, got the keys {list(value)}")
        inner = f"{where}." if where else ""
        return {str(k): _without_tensors(v, f"{inner}{k}", tensors) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_tensors(v, f"{where}.{k}", tensors) for k, v in enumerate(value)]
    if value is not None and not isinstance(value, (bool, int, float, str)):
        raise ValueError(f"{where}: expected numbers, texts, lists or dicts of them, got {type(value).__name__}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where}: expected a finite number, got {value}")
    return value


def _with_tensors(value: Any, where: str, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, dict):
        inner = f"{where}." if where else ""
        return {
            k: _weights(v, inner, tensors) if k == "state_dict" else _with_tensors(v, f"{inner}{k}", tensors)
            for k, v in value.items()
        }
    return (
        [_with_tensors(v, f"{where}.{k}", tensors) for k, v in enumerate(value)] if isinstance(value, list) else value
    )


def _weights(names: list[str], inner: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    missing = [name for name in names if inner + name not in tensors]
    if missing:
        raise ValueError(f"{WEIGHTS} lacks {len(missing)} of the weights that {CONFIG} names: {missing[:2]}")
    return {name: tensors[inner + name] for name in names}


def _is_number(key: str) -> bool:
    return key.lstrip("-").isdecimal()


def _numbered(value: Any) -> Any:
    """Give dicts their whole numbers back, which JSON has as text: atomic numbers, for example."""
    if isinstance(value, dict):
        numbers = bool(value) and all(map(_is_number, value))
        return {int(k) if numbers else k: _numbered(v) for k, v in value.items()}
    return [_numbered(v) for v in value] if isinstance(value, list) else value


def _safetensors() -> Any:
    try:
        import safetensors.torch
    except ImportError as error:
        raise ImportError('models to pass on need safetensors: pip install "pyg_equiformer[hub]"') from error
    return safetensors.torch
