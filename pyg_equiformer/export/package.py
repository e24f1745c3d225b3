"""Trained models as one file of compiled code, which runs from Python and C++ without this package."""

import copy
import os
import shutil
import tempfile
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from ..checkpoints import find_model, load_model, read_extra
from ..models import EnergyForces, Ensemble
from ..models.ensemble import potentials_of
from .program import INPUTS, OUTPUTS, Program, trace

FORMAT = "pyg_equiformer exported potential"
FORMAT_VERSION = "1"
DtypeKind = Literal["float32", "float64"]
DeviceKind = Literal["cpu", "cuda"]

#: Inputs of networks that a program does not take.
_FURTHER_INPUTS = ("edge_dim", "num_edge_types", "num_tokens", "num_positions", "irreps_node")


def export_model(
    model: EnergyForces | Ensemble,
    path: str | Path,
    *,
    elements: Sequence[int] | None = None,
    dtype: DtypeKind | None = None,
    device: DeviceKind = "cpu",
) -> dict[str, str]:
    r"""Compile a potential ahead of time to one file, an AOTInductor package, for any numbers of atoms and edges.

    .. math:: (z, x, \mathrm{edges}, h) \mapsto E, \quad -\frac{\partial E}{\partial x_i}, \quad
        \frac{1}{V} \frac{\partial E}{\partial \epsilon}

    The file needs PyTorch and nothing of this package: `torch._inductor.aoti_load_package(path)` in Python,
    `torch::inductor::AOTIModelPackageLoader` in C++. Its metadata, a text by name, tells cutoff, elements, dtype,
    device, units, and the order of inputs and outputs.

    Args:
        model: `EnergyForces`, or an `Ensemble` of such: then spreads follow the means. It is not changed.
        path: new file, which ends in .pt2; a former one is replaced when all went well.
        elements: atomic numbers that may occur, for example those that were trained on; None: all that the model
            knows. Structures with others get NaN.
        dtype: of positions, forces and stress, "float32" or "float64"; None: that of the model.
        device: "cpu" or "cuda", where the file is to run.

    Shapes:
        inputs, in this order: z [N] int64; pos [N, 3] in Å; edge_index [2, E] int64 (source j, target i), all pairs
        nearer than the cutoff in both directions, in any order; edge_shift [E, 3] in Å of the source's periodic image
        (`edge_vec = pos[j] - pos[i] + edge_shift`; zeros for molecules); cell [B, 3, 3] in Å, rows are the vectors,
        zeros for molecules; batch [N] int64, the structure of each atom
        → energy [B] in eV, float64, references included; forces [N, 3] in eV/Å; stress [B, 3, 3] in eV/Å³, in ASE's
        sign, NaN where a cell has no volume; for committees also the standard deviation of each.

    Returns:
        the metadata.

    Raises:
        ValueError: for models of other outputs or with further inputs, unknown elements, a path that does not end in
            .pt2, or if there is no such device or no C++ compiler.
        OSError: if the file cannot be written.

    Example:
        >>> from pyg_equiformer import Equiformer
        >>> export_model(EnergyForces(Equiformer.from_preset("small")), "model.pt")
        Traceback (most recent call last):
        ...
        ValueError: expected a file that ends in .pt2, got 'model.pt'
    """
    path = Path(path)
    _check_place(path, device)
    program = make_program(model, elements=elements, dtype=dtype, device=device)
    traced, metadata = trace(program), describe(program)
    settings = {
        "aot_inductor.metadata": metadata,
        "aot_inductor.check_lowerbound": False,  # programs serve one atom and no edge as well
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder, warnings.catch_warnings():
        # PyTorch warns of a function of its own that it copies.
        warnings.filterwarnings("ignore", ".*LeafSpec.*is deprecated", FutureWarning)
        part = torch._inductor.aoti_compile_and_package(
            traced, package_path=f"{folder}/{path.name}", inductor_configs=settings
        )
        os.replace(part, path)
    return metadata


def export_run(
    run: str | Path, path: str | Path, *, dtype: DtypeKind | None = None, device: DeviceKind = "cpu"
) -> dict[str, str]:
    """Export the model of a training run for the elements that it was trained on, see `export_model`.

    Args:
        run: folder of the run, or its `model.pt`, another file of `save_model`, or a shared model.
        path: new file, which ends in .pt2.
        dtype: "float32" or "float64"; None: that of the model.
        device: "cpu" or "cuda".

    Returns:
        the metadata of the file.

    Raises:
        FileNotFoundError: if there is no such model.
        ValueError: as `export_model`.
    """
    file = find_model(run)
    elements = read_extra(file).get("elements") or None
    _check_place(Path(path), device)
    return export_model(load_model(file), path, elements=elements, dtype=dtype, device=device)


def make_program(
    model: Any, *, elements: Sequence[int] | None = None, dtype: DtypeKind | None = None, device: DeviceKind = "cpu"
) -> Program:
    """Return the function that is to be exported, of a copy of the model; arguments as in `export_model`."""
    members = potentials_of(model)
    refuse_further_inputs(members)
    check_dtype(dtype)
    known = check_elements(members, elements)
    copies = [_prepared(member, dtype, device) for member in members]
    return Program(copies, known)


def describe(program: Program) -> dict[str, str]:
    """Return the metadata of a program's file, texts by name; lists are separated by blanks."""
    outputs = [*OUTPUTS, *(f"{name}_std" for name in OUTPUTS if len(program.members) > 1)]
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "pyg_equiformer": version("pyg_equiformer"),
        "torch": torch.__version__,
        "cutoff": repr(program.cutoff),
        "elements": " ".join(map(str, program.elements)),
        "dtype": str(program.like.dtype).removeprefix("torch."),
        "device": program.like.device.type,
        "members": str(len(program.members)),
        "inputs": " ".join(INPUTS),
        "outputs": " ".join(outputs),
        "length_unit": "Å",
        "energy_unit": "eV",
        "forces_unit": "eV/Å",
        "stress_unit": "eV/Å^3",
    }


def _check_place(path: Path, device: str) -> None:
    if path.suffix != ".pt2":
        raise ValueError(f"expected a file that ends in .pt2, got {str(path)!r}")
    if device not in get_args(DeviceKind):
        raise ValueError(f"device must be one of {get_args(DeviceKind)}, got {device!r}")
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device='cuda': there is no CUDA device here, and code is compiled for the one it finds")
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        raise ValueError(f"export needs a C++ compiler, but there is no {compiler!r}: install one, or name it in CXX")


def check_dtype(dtype: Any) -> None:
    """Raise a ValueError unless it is a name of `DtypeKind` or None."""
    if dtype not in (None, *get_args(DtypeKind)):
        raise ValueError(f"dtype must be one of {get_args(DtypeKind)}, got {dtype!r}")


def refuse_further_inputs(members: Sequence[EnergyForces]) -> None:
    """Raise a ValueError for networks that take more than atoms and edges."""
    for member in members:
        if more := [name for name in _FURTHER_INPUTS if getattr(member.config, name)]:
            raise ValueError(f"exported models take atoms and edges alone, but this one has further inputs: {more}")


def check_elements(members: Sequence[EnergyForces], wanted: Sequence[int] | None) -> list[int]:
    """Return the atomic numbers wanted, or all that all members have weights and reference energies for."""
    known = set(members[0].config.elements)
    for member in members:
        known &= set(member.config.elements)
        if member.atomic_energies is not None:
            known &= set(member.atomic_energies)
    if wanted is None:
        return sorted(known)
    if not wanted or (unknown := sorted(set(wanted) - known)):
        got = f"got {unknown}, which it does not know" if wanted else "got none"
        raise ValueError(f"elements: expected atomic numbers that the model knows, {sorted(known)}, {got}")
    return sorted({int(z) for z in wanted})


def _prepared(member: EnergyForces, dtype: DtypeKind | None, device: str) -> EnergyForces:
    """Return a copy for evaluation with the engine whose operators are PyTorch's own."""
    out = copy.deepcopy(member).eval().to(device)
    if dtype is not None:
        out.model.to(getattr(torch, dtype))
    out.model.set_engine("torch")
    out.model.set_compile(False)
    out.model.set_precision(None)
    out.model.set_checkpoint("none")
    return out.requires_grad_(False)
