"""Checkpoints of the published code, in and out."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..conv import EquiformerConv
from ..models import EnergyForces, Equiformer
from ..units import energy_in_ev
from .official_models import MODEL_CLASSES, build_module, registered_model, unsupported
from .official_names import official_names

_NOT_WEIGHTS = ("output_mask", "_w3j_", "atomref")


def load_official(
    checkpoint: Mapping[str, Any] | str | Path,
    *,
    model: str | None = None,
    cutoff: float | None = None,
    mean: float | None = None,
    std: float | None = None,
    unit: str = "eV",
    physical: bool = False,
) -> Any:
    r"""Return our equivalent of a model, or a layer, of the published Equiformer code.

    Takes a dict with `cls`, `ctor` and `state_dict`, such a dict in a file, or a published checkpoint file,
    which holds only weights and needs the name of its `model`. Outputs are those of the network; with
    `physical=True` they are `mean + std · network` in eV: published targets were standardised outside of
    the network.

    Args:
        checkpoint: dict or path.
        model: name the published code registers, e.g. "graph_attention_transformer_nonlinear_exp_l2_md17".
        cutoff: radius in Å of a weights-only file; None: 5.
        mean, std: of the training targets, in `unit`; None: those in `ctor`.
        unit: of `mean`, `std` and the targets: eV, meV, kcal/mol, hartree, kJ/mol.
        physical: apply mean, spread and unit.

    Returns:
        `EnergyForces` for the MD17 family, `Equiformer` for QM9 (returning [B, 1]), or the layer; in the
        precision of the weights, in evaluation mode.

    Raises:
        ValueError: for a file that is not a checkpoint, an unknown class or model (OC20 and DeNS models among
            them), or weights that do not fit.

    Example:
        >>> network = Equiformer.from_preset("qm9", num_layers=1).eval()
        >>> ctor = {"num_layers": 1, "nonlinear_message": True, "irreps_head": "32x0e+16x1e+8x2e",
        ...         "irreps_mlp_mid": "384x0e+192x1e+96x2e"}
        >>> same = load_official({"cls": "GraphAttentionTransformer", "ctor": ctor,
        ...                       "state_dict": to_official_state_dict(network)})
        >>> z, pos = torch.tensor([6, 1, 1, 1, 1]), torch.randn(5, 3)
        >>> bool(torch.allclose(same(z, pos), network(z, pos)))
        True
    """
    content = checkpoint if isinstance(checkpoint, Mapping) else read_torch_file(checkpoint)
    cls, ctor, weights = _unpack(content, model, cutoff)
    module = build_module(cls, ctor)
    weights, dtype = _weights(weights)
    module = _fill(module.to(dtype), weights)
    if physical:
        mean = ctor.get("mean") if mean is None else mean
        std = ctor.get("std") if std is None else std
        if mean is None or std is None:
            raise ValueError("physical=True needs mean and std of the training targets, got none")
    if not isinstance(module, Equiformer):
        if physical:
            raise ValueError(f"physical=True is for whole models, got {cls}")
        return module.eval()
    factor = energy_in_ev(unit)
    scale, shift = (float(std) * factor, float(mean) * factor) if physical else (1.0, 0.0)  # type: ignore[arg-type]
    if MODEL_CLASSES[cls.rsplit(".", 1)[-1]]["elements"] == module.config.elements and "MD17" in cls:
        return EnergyForces(module, energy_scale=scale, energy_shift=shift).eval()
    if physical:
        module.config = module.config.replace(output_std=scale, output_mean=shift)
    return module.eval()


def to_official_state_dict(
    module: nn.Module, values: Mapping[str, Tensor] | None = None, *, fixed: bool = True
) -> dict[str, Tensor]:
    """Return a model's or layer's weights under the published names, the exact inverse of `load_official`.

    Args:
        module: `Equiformer`, `EnergyForces`, or a layer that the published code has.
        values: other tensors by our parameter names (gradients, say), to be mapped in place of the weights;
            missing ones count as zero.
        fixed: include the constant tensors (masks, 3j symbols) that the published `state_dict` also holds, so
            that it loads there strictly.

    Raises:
        ValueError: for a module that the published code does not have, reversible blocks and options of attention
            among them.

    Example:
        >>> names = to_official_state_dict(Equiformer.from_preset("qm9", num_layers=1), fixed=False)
        >>> names["blocks.0.ga.alpha_dot"].shape
        torch.Size([1, 4, 32])
    """
    if getattr(getattr(module, "config", None), "reversible", False):
        raise ValueError("the published code has no reversible blocks, expected a model with reversible=False")
    for layer in module.modules():
        if isinstance(layer, EquiformerConv) and layer.unpublished():
            raise ValueError(f"the published code's attention has no {', '.join(layer.unpublished())}")
    _check_inputs(module)
    names = official_names(module)
    state = dict(module.state_dict())
    if values is not None:
        state = {k: values[k] if k in values else torch.zeros_like(v) for k, v in state.items()}
    if values is None:
        names.check_padding(state)
    out = names.gather(state)
    if fixed and values is None:
        like = next(iter(out.values()))
        out |= {k: v.to(like) for k, v in names.fixed.items()}
    return out


def _check_inputs(module: nn.Module) -> None:
    """Raise a ValueError for inputs that the published networks do not take."""
    config = getattr(module, "config", None)
    for name in ("num_edge_types", "num_positions", "irreps_node"):
        if getattr(config, name, None):
            raise ValueError(f"the published code has no {name}, got a model with {name}={getattr(config, name)!r}")


def read_torch_file(path: str | Path) -> Any:
    """Return what a torch file holds, weights only.

    Raises:
        ValueError: if there is no such file or it is not one.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError, OSError) as error:
        raise ValueError(f"{path} is not a checkpoint: torch.load(weights_only=True) cannot read it") from error


def _unpack(content: Any, model: str | None, cutoff: float | None) -> tuple[str, dict[str, Any], Mapping[str, Tensor]]:
    if not isinstance(content, Mapping):
        raise ValueError(f"expected a checkpoint dict, got {type(content).__name__}")
    if {"cls", "ctor", "state_dict"} <= set(content):
        return str(content["cls"]), dict(content["ctor"]), content["state_dict"]
    weights = content.get("state_dict", content.get("model", content))
    if not isinstance(weights, Mapping) or not any(isinstance(v, Tensor) for v in weights.values()):
        raise ValueError(
            "expected a dict with cls, ctor and state_dict, or a checkpoint with weights, "
            f"got the keys {list(content)[:5]}"
        )
    if model is None:
        raise ValueError("a checkpoint that holds only weights needs model=, the name the published code registers")
    reason = unsupported(model)
    if reason:
        raise ValueError(reason)
    cls, ctor = registered_model(model)
    weights = {k.removeprefix("module."): v for k, v in weights.items()}
    first = weights.get("edge_deg_embed.rad.net.0.weight")
    if first is None:
        raise ValueError(f"the weights do not belong to a published model: no edge_deg_embed among {list(weights)[:5]}")
    ctor |= {"number_of_basis": first.shape[1], "max_radius": 5.0 if cutoff is None else float(cutoff)}
    return cls, ctor, weights


def _weights(published: Mapping[str, Any]) -> tuple[dict[str, Tensor], torch.dtype]:
    kept = {
        k: v
        for k, v in published.items()
        if isinstance(v, Tensor) and v.numel() and not any(mark in k for mark in _NOT_WEIGHTS)
    }
    dtypes = {v.dtype for v in kept.values() if v.is_floating_point()}
    if not dtypes:
        raise ValueError("the state_dict holds no weights")
    # The widest precision present, so that nothing is rounded on the way.
    return kept, max(dtypes, key=lambda d: torch.finfo(d).bits)


def _fill(module: nn.Module, published: dict[str, Tensor]) -> nn.Module:
    names = official_names(module)
    expected = {k: tuple(v.shape) for k, v in names.published.items() if v.numel()}
    missing, extra = sorted(set(expected) - set(published)), sorted(set(published) - set(expected))
    if missing or extra:
        raise ValueError(
            f"the weights do not fit the class and its arguments: {len(missing)} missing {missing[:3]}, "
            f"{len(extra)} unexpected {extra[:3]}"
        )
    wrong = [k for k, shape in expected.items() if published[k].numel() != names.published[k].numel()]
    if wrong:
        k = wrong[0]
        raise ValueError(f"{k} must have shape {expected[k]}, got {tuple(published[k].shape)}")
    dtype = next(module.parameters(), torch.empty(0, dtype=published[next(iter(published))].dtype)).dtype
    names.published = {k: v for k, v in names.published.items() if v.numel()}
    module.load_state_dict(names.scatter(published, dtype))
    return module
