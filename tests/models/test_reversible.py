"""Reversible blocks: the same gradients of any order, with memory that depth does not change."""

import copy
import weakref
from collections import Counter

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch_geometric.data import Data

from pyg_equiformer import EnergyForces, EquiformerConfig, load_model, save_model
from pyg_equiformer.models import equiformer
from pyg_equiformer.models.reversible import reversible_blocks
from pyg_equiformer.testing import assert_forces_match_finite_differences, assert_model_equivariant

from .conftest import SANDWICH, TINY, tiny

DROPOUT = {"attn_dropout": 0.3, "proj_dropout": 0.2, "drop_path": 0.3}


def stored_blocks(blocks, x, edges, batch, num_graphs):
    """The equations of the two streams, left to ordinary autograd."""
    first, second, graphs = x, x, {"batch": batch, "num_graphs": num_graphs}
    for block in blocks:
        y = block.attn(block.norm_attn(second, **graphs), **edges, **graphs)
        if block.norm_attn_out is not None:
            y = block.drop_path(block.norm_attn_out(y, **graphs), **graphs)
        first = [a + b for a, b in zip(first, y)]
        y = block.ffn(block.norm_ffn(first, **graphs))
        y = y if block.norm_ffn_out is None else block.norm_ffn_out(y, **graphs)
        y = block.drop_path(y, **graphs)
        second = [a + b for a, b in zip(second, y)]
    return [(a + b) / 2 for a, b in zip(first, second)]


def force_loss(model, z, pos):
    out = EnergyForces(model)(z, pos)
    return out["energy"].square().sum() + out["forces"].square().sum()


def gradients(model, loss):
    named = dict(model.named_parameters())
    given = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    return {n: torch.zeros_like(p) if g is None else g for (n, p), g in zip(named.items(), given)}


def assert_same(ours, theirs, tolerance=1e-9):
    assert ours.keys() == theirs.keys()
    for name, g in theirs.items():
        assert (ours[name] - g).abs().max() <= tolerance * max(1, g.abs().max()), name


@pytest.mark.parametrize(
    "settings",
    [
        {"message": "nonlinear"},
        {"message": "linear", "envelope": "polynomial"},
        {"attention": "dot"},
        {**SANDWICH, "message": "linear"},
    ],
)
@pytest.mark.parametrize("dropout", [False, True])
def test_energies_forces_and_their_weight_gradients_are_those_of_stored_blocks(
    settings, dropout, molecule, monkeypatch
):
    model = tiny(num_layers=4, reversible=True, **settings, **(DROPOUT if dropout else {})).train(dropout)
    results = []
    for blocks in (reversible_blocks, stored_blocks):
        monkeypatch.setattr(equiformer, "reversible_blocks", blocks)
        torch.manual_seed(3)
        energy = model(*molecule)
        first = gradients(model, energy.sum())
        after = torch.rand(1)
        torch.manual_seed(3)
        loss = force_loss(model, *molecule)
        results.append((energy, loss, after, first, gradients(model, loss)))
    ours, theirs = results
    assert torch.equal(ours[2], theirs[2]), "gradients must not disturb the random numbers"
    for k in (0, 1):
        assert torch.allclose(ours[k], theirs[k], rtol=1e-10, atol=1e-12)
    assert_same(ours[3], theirs[3])
    assert_same(ours[4], theirs[4])


def test_third_derivatives_are_those_of_stored_blocks(molecule, monkeypatch):
    z, pos = molecule[0][:4], molecule[1][:4].clone().requires_grad_()
    model = tiny(num_layers=3, reversible=True)
    results = []
    for blocks in (reversible_blocks, stored_blocks):
        monkeypatch.setattr(equiformer, "reversible_blocks", blocks)
        (force,) = torch.autograd.grad(model(z, pos).sum(), pos, create_graph=True)
        (curvature,) = torch.autograd.grad(force.square().sum(), pos, create_graph=True)
        results.append(gradients(model, curvature.square().sum()))
    assert_same(*results)


def test_frozen_weights_and_backward_calls_accumulate_like_those_of_stored_blocks(molecule, monkeypatch):
    model = tiny(num_layers=3, reversible=True)
    model.blocks[0].ffn.requires_grad_(False)
    model.embed.requires_grad_(False)
    grads = []
    for blocks in (reversible_blocks, stored_blocks):
        monkeypatch.setattr(equiformer, "reversible_blocks", blocks)
        model.zero_grad()
        for _ in range(2):
            force_loss(model, *molecule).backward()
        grads.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
    assert not any(name.startswith(("blocks.0.ffn", "embed")) for name in grads[0])
    assert_same(*grads)


def test_autocast_holds_in_the_recomputation(molecule, monkeypatch):
    z, pos = molecule
    model = tiny(num_layers=3, reversible=True).float()
    losses, grads = [], []
    for blocks in (reversible_blocks, stored_blocks):
        monkeypatch.setattr(equiformer, "reversible_blocks", blocks)
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(z, pos.float()).sum()
        losses.append(loss.detach())
        grads.append(gradients(model, loss))
    assert torch.allclose(*losses, rtol=1e-3)
    scale = max(float(g.abs().max()) for g in grads[1].values())
    for name, g in grads[1].items():
        assert (grads[0][name] - g).abs().max() <= 0.02 * scale, name


class PeakBytes(TorchDispatchMode):
    """Counts the bytes of tensors made inside, at most alive at once."""

    def __init__(self):
        super().__init__()
        self.alive, self.peak, self.uses = 0, 0, Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for t in tree_leaves(out):
            if isinstance(t, torch.Tensor):
                storage = t.untyped_storage()
                key, size = storage._cdata, storage.nbytes()
                if not self.uses[key]:
                    self.alive += size
                    self.peak = max(self.peak, self.alive)
                self.uses[key] += 1
                weakref.finalize(t, self._free, key, size)
        return out

    def _free(self, key, size):
        self.uses[key] -= 1
        if not self.uses[key]:
            self.alive -= size


def saved_bytes(num_layers, molecule, reversible=True):
    """Bytes of distinct tensors, weights aside, that are kept for the gradients of an energy."""
    model = tiny(num_layers=num_layers, reversible=reversible)
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept = {}

    def pack(t):
        kept[t.untyped_storage().data_ptr()] = t
        return t

    with saved_tensors_hooks(pack, lambda t: t):
        model(*molecule).sum()
    sizes = {key: t.untyped_storage().nbytes() for key, t in kept.items() if key not in weights}
    return sum(sizes.values())


def test_what_an_energy_keeps_does_not_grow_with_depth(molecule):
    assert saved_bytes(2, molecule) == saved_bytes(6, molecule)
    assert saved_bytes(6, molecule, reversible=False) > 2 * saved_bytes(2, molecule, reversible=False)


def peak_of_training_on_forces(num_layers, molecule, reversible=True):
    """Most bytes alive in a step on forces, beyond the gradients of the weights."""
    model = tiny(num_layers=num_layers, reversible=reversible)
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    with PeakBytes() as bytes_:
        force_loss(model, *molecule).backward()
    return bytes_.peak, weights


def test_what_a_step_on_forces_keeps_grows_by_the_weights_alone(molecule):
    (few, few_weights), (many, many_weights) = (peak_of_training_on_forces(n, molecule) for n in (3, 6))
    # Gradients of the weights are more for more blocks, and nothing else is.
    assert many - few <= 2 * (many_weights - few_weights)
    assert peak_of_training_on_forces(6, molecule, reversible=False)[0] > 2 * many


def test_a_reversible_model_is_equivariant(molecule):
    z, pos = (v[:4] for v in molecule)
    assert_model_equivariant(EnergyForces(tiny("qm9_e3", num_layers=2, reversible=True)), Data(z=z, pos=pos))


def test_forces_of_a_reversible_model_are_finite_differences_of_its_energy(molecule):
    z, pos = (v[:4] for v in molecule)
    assert_forces_match_finite_differences(EnergyForces(tiny(num_layers=3, reversible=True)), z, pos)


@pytest.mark.parametrize("settings", [{}, SANDWICH], ids=["as published", "sandwich"])
def test_a_compiler_is_given_the_same_equations(settings, molecule, monkeypatch):
    model = tiny(num_layers=3, reversible=True, **settings)
    x, edges = model.encode(equiformer.collect_inputs(*molecule, None, None, None, None, model.config))
    want = reversible_blocks(model.blocks[:-1], x, edges)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    for ours, theirs in zip(reversible_blocks(model.blocks[:-1], x, edges), want, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-12)


def test_a_reversible_model_comes_back_from_its_checkpoint(molecule, tmp_path):
    model = tiny(num_layers=3, reversible=True)
    save_model(tmp_path / "model.pt", model)
    loaded = load_model(tmp_path / "model.pt")
    assert loaded.config.reversible
    assert torch.equal(loaded(*molecule), model(*molecule))
    assert not torch.allclose(tiny(num_layers=3)(*molecule), model(*molecule))


def test_a_checkpoint_without_the_setting_is_an_ordinary_model(molecule, tmp_path):
    model = tiny()
    save_model(tmp_path / "model.pt", model)
    content = torch.load(tmp_path / "model.pt", weights_only=True)
    content["config"] = {k: v for k, v in content["config"].items() if k != "reversible"}
    torch.save(content, tmp_path / "older.pt")
    assert torch.equal(load_model(tmp_path / "older.pt")(*molecule), model(*molecule))


def test_weights_keep_their_names_and_a_copy_trains(molecule):
    model = tiny(num_layers=3, reversible=True)
    assert model.state_dict().keys() == tiny(num_layers=3).state_dict().keys()
    twin = copy.deepcopy(model)
    assert_same(gradients(twin, force_loss(twin, *molecule)), gradients(model, force_loss(model, *molecule)), 1e-12)


def test_settings_that_cannot_be_reversible_are_refused(molecule):
    with pytest.raises(ValueError, match="reversible needs num_layers of at least 2"):
        EquiformerConfig(**{**TINY, "num_layers": 1}, reversible=True)
    with pytest.raises(ValueError, match="reversible must be true or false, got 'yes'"):
        EquiformerConfig(**TINY, reversible="yes")
    model = tiny()
    x, edges = model.encode(equiformer.collect_inputs(*molecule, None, None, None, None, model.config))
    with pytest.raises(ValueError, match="reversible blocks keep their irreps"):
        reversible_blocks(list(model.blocks), x, edges)
