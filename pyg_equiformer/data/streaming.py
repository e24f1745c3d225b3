"""Structures that are read from disk when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import numpy as np
from torch_geometric.data import Data

from .conversion import FrameConverter


class StreamedStructures(Sequence[Data]):
    """Structures of a source, read and converted one at a time; no `Data` is held.

    It can be pickled and used by several worker processes at once: each opens the source for itself.

    Args:
        converter: of the frames.
        indices: of the frames to use.
        periodic: whether every structure carries its cell.

    Raises:
        ValueError: when a structure is asked for, naming file and frame, if it is not in order.

    Example:
        >>> import lzma, tempfile
        >>> from pathlib import Path
        >>> from pyg_equiformer.data import SAMPLES, ReadOptions, open_structures
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "ethanol.xyz")
        ...     _ = path.write_bytes(lzma.decompress((SAMPLES / "ethanol_test.xyz.xz").read_bytes()))
        ...     ethanol = open_structures(path, ReadOptions(in_memory=False)).structures
        ...     print(type(ethanol).__name__, len(ethanol[200:]), ethanol[-1].pos.shape)
        StreamedStructures 50 torch.Size([9, 3])
    """

    def __init__(self, converter: FrameConverter, indices: np.ndarray | range, periodic: bool) -> None:
        self._converter, self._indices, self._periodic = converter, indices, periodic

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, index: int) -> Data: ...
    @overload
    def __getitem__(self, index: slice) -> StreamedStructures: ...
    def __getitem__(self, index: int | slice) -> Data | StreamedStructures:
        if isinstance(index, slice):
            return StreamedStructures(self._converter, self._indices[index], self._periodic)
        if not -len(self) <= index < len(self):
            raise IndexError(f"index: expected -{len(self)} to {len(self) - 1}, got {index}")
        return self._converter.data(int(self._indices[index]), self._periodic)
