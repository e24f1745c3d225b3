"""PyG's in-memory data sets as light sequences of structures."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from .. import keys


class CollatedStructures(Sequence[Data]):
    """Structures of a PyG data set, built when they are asked for: `z`, `pos` and the labels, nothing else.

    The tensors of all structures are held once, joined; subsets share them.

    Args:
        z: atomic numbers of all structures, joined [N].
        pos: positions, joined [N, 3] in Å.
        offsets: where each structure starts, and N [n + 1].
        per_structure: labels of the structures [n, …], by name.
        per_atom: labels of the atoms, joined [N, …], by name.
        indices: the structures of this sequence, in order; None: all.

    Example:
        >>> z, pos, offsets = torch.tensor([1, 1, 8]), torch.zeros(3, 3), torch.tensor([0, 2, 3])
        >>> structures = CollatedStructures(z, pos, offsets, {"gap": torch.tensor([0.5, 0.7])})
        >>> structures[1]
        Data(pos=[1, 3], z=[1], gap=[1])
    """

    def __init__(
        self,
        z: Tensor,
        pos: Tensor,
        offsets: Tensor,
        per_structure: Mapping[str, Tensor] | None = None,
        per_atom: Mapping[str, Tensor] | None = None,
        indices: Tensor | None = None,
    ) -> None:
        self.z, self.pos, self.offsets = z, pos, offsets
        self.per_structure, self.per_atom = dict(per_structure or {}), dict(per_atom or {})
        self.indices = torch.arange(len(offsets) - 1) if indices is None else indices

    def __len__(self) -> int:
        return len(self.indices)

    @overload
    def __getitem__(self, item: int) -> Data: ...

    @overload
    def __getitem__(self, item: slice) -> "CollatedStructures": ...

    def __getitem__(self, item: int | slice) -> "Data | CollatedStructures":
        if isinstance(item, slice):
            return self.subset(torch.arange(len(self))[item])
        k = int(self.indices[item])
        atoms = slice(int(self.offsets[k]), int(self.offsets[k + 1]))
        fields = {keys.Z: self.z[atoms], keys.POS: self.pos[atoms]}
        fields |= {name: values[k : k + 1] for name, values in self.per_structure.items()}
        fields |= {name: values[atoms] for name, values in self.per_atom.items()}
        # Copies: what is done to a structure must not reach the store, nor saving it save all of the store.
        return Data(**{name: value.clone() for name, value in fields.items()})

    def __iter__(self) -> Iterator[Data]:
        return (self[i] for i in range(len(self)))

    def subset(self, positions: Tensor) -> "CollatedStructures":
        """Return the structures at these positions of the sequence, in this order."""
        chosen = self.indices[positions]
        return CollatedStructures(self.z, self.pos, self.offsets, self.per_structure, self.per_atom, chosen)


def load_dataset(make: Callable[[], Any], files: Sequence[Path]) -> Any:
    """Return PyG's data set; what goes wrong on the way says which files are wanted where.

    Args:
        make: opens the data set, which downloads and processes what is not there.
        files: the raw files that it needs.

    Raises:
        OSError: if files are missing and cannot be downloaded.
        ValueError: if they are there but cannot be processed.
    """
    missing = [str(f) for f in files if not f.exists()]
    try:
        return make()
    except Exception as error:  # downloads, archives and parsers fail each in their own way
        if missing:
            raise OSError(
                f"could not download the data set ({error!r}); to go on without a network, put these files in place: "
                f"{', '.join(missing)} (and delete unfinished downloads beside them)"
            ) from error
        raise ValueError(
            f"could not process {', '.join(map(str, files))}: {error!r}; "
            "delete files that are broken or incomplete, then they are downloaded anew"
        ) from error


def offsets_of(dataset: Any) -> Tensor:
    """Return where the atoms of each structure start [n + 1].

    Raises:
        ValueError: if there are too few structures for three sets.
    """
    if len(dataset) < 3:
        raise ValueError(
            f"{dataset.raw_dir}: expected at least 3 structures to train, validate and test, got {len(dataset)}"
        )
    return torch.as_tensor(dataset.slices["pos"])


def check_precise_values(precise: Tensor, stored: Tensor, raw_file: str | Path, processed_dir: str) -> None:
    """Check that values read anew from a raw file are those that PyG stored from it, but for rounding.

    Raises:
        ValueError: if they are not, because one of the files was exchanged.
    """
    stored = stored.reshape(-1).double()
    close = precise.shape == stored.shape and np.allclose(precise, stored, rtol=1e-6, atol=1e-9)
    if not close:
        raise ValueError(
            f"{raw_file} holds other values than the processed files in {processed_dir}; "
            "delete that folder, then the raw file is processed anew"
        )
