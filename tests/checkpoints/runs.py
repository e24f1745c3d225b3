"""Runs of our models and of the reference, recorded under the published names."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pyg_equiformer import to_official_state_dict
from pyg_equiformer.reference import ReferenceEquiformer


class Run(NamedTuple):
    """Outputs, features inside the network, and gradients of the loss with respect to pos and all parameters."""

    outputs: dict[str, Tensor]
    intermediates: dict[str, Tensor]
    gradients: dict[str, Tensor]


class Atoms(NamedTuple):
    """Input of a model, and the edges at which edge features are recorded."""

    z: Tensor
    pos: Tensor
    batch: Tensor
    edge_index: Tensor


def run_ours(model: nn.Module, atoms: Atoms) -> Run:
    """Run a model that `load_official` made."""
    network: Any = getattr(model, "model", model)
    names = {"edge_deg_embed": network.edge_degree, "norm": network.norm}
    for k, block in enumerate(network.blocks):
        attention = "dpa" if block.attn.attention == "dot" else "ga"
        parts = {"norm_1": block.norm_attn, attention: block.attn, "norm_2": block.norm_ffn, "ffn": block.ffn}
        names |= {f"blocks.{k}": block, **{f"blocks.{k}.{name}": part for name, part in parts.items()}}
    pos = atoms.pos.clone().requires_grad_()
    with Recorder(names) as features:
        out = model(atoms.z, pos, atoms.batch)
    outputs = {"energy": out["energy"][:, None], "forces": out["forces"]} if isinstance(out, dict) else {"pred": out}
    edges = network.geometry.features(atoms.pos, atoms.edge_index)
    features |= {"edge_vec": edges.vec, "edge_sh": edges.sh, "rbf": edges.radial}
    loss(outputs).backward()
    assert pos.grad is not None
    ours = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return Run(outputs, features, {"pos": pos.grad, **to_official_state_dict(model, ours)})


def run_reference(model: ReferenceEquiformer, atoms: Atoms) -> Run:
    """Run the reference."""
    kinds = ("norm_1", "ga", "dpa", "norm_2", "ffn")
    wanted = {"edge_deg_embed", "norm"}
    for k in range(len(model.blocks)):
        wanted |= {f"blocks.{k}", *(f"blocks.{k}.{name}" for name in kinds)}
    pos = atoms.pos.clone().requires_grad_()
    with Recorder({name: part for name, part in model.named_modules() if name in wanted}) as features:
        out = model(atoms.z, pos, atoms.batch)
    outputs = {"energy": out[0], "forces": out[1]} if isinstance(out, tuple) else {"pred": out}
    features |= zip(("edge_vec", "edge_sh", "rbf"), model.edge_features(atoms.pos, atoms.edge_index))
    loss(outputs).backward()
    assert pos.grad is not None
    parameters = {name: gradient(p) for name, p in model.named_parameters()}
    return Run(outputs, features, {"pos": pos.grad, **parameters})


def gradient(p: Tensor) -> Tensor:
    return torch.zeros_like(p) if p.grad is None else p.grad


def loss(outputs: dict[str, Tensor]) -> Tensor:
    """The loss of the golden files."""
    if "pred" in outputs:
        return outputs["pred"].sum()
    return outputs["energy"].sum() + (outputs["forces"] ** 2).sum()


class Recorder:
    """Keeps the outputs of modules as flat features while it is entered."""

    def __init__(self, modules: dict[str, nn.Module]) -> None:
        self.modules, self.features = modules, dict[str, Tensor]()

    def __enter__(self) -> dict[str, Tensor]:
        self.handles = [part.register_forward_hook(self._keep(name)) for name, part in self.modules.items()]
        return self.features

    def _keep(self, name: str):
        def hook(module: Any, inputs: Any, output: Any) -> None:
            self.features[name] = (module.layout_out.join(output) if isinstance(output, list) else output).detach()

        return hook

    def __exit__(self, *error: object) -> None:
        for handle in self.handles:
            handle.remove()
