"""The published code's parameter names for each of our modules."""

from collections.abc import Callable
from typing import Any

import torch
from e3nn.o3 import Irrep, Irreps
from torch import Tensor, nn

from ..conv import EdgeDegreeEmbedding, EquiformerConv, ParityBlindConv
from ..models import Equiformer, EquiformerBlock
from ..models.heads import AttentionHead
from ..nn import (
    BesselBasis,
    DotScore,
    EquivariantNorm,
    ExpNormalBasis,
    FeedForward,
    Gate,
    GaussianBasis,
    Linear,
    MLPScore,
    PathLinear,
    RadialMLP,
)
from ..o3 import SCALAR, CouplingPlan, count
from .numbering import (
    Entries,
    Numbering,
    ProductNumbers,
    bias_numbers,
    channel_entries,
    matrix_numbers,
    merge_neighbors,
)
from .official_blind import name_blind_attention
from .official_heads import head_entries, pair_entries


class OfficialNames(Numbering):
    """Fills a `Numbering` with the published names of a module's tensors."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__(module.state_dict())
        #: fixed tensors that the published code also saves
        self.fixed: dict[str, Tensor] = {}

    def linear(self, name: str, ours: str, module: Linear, **order: Any) -> None:
        rows, columns = order.get("rows"), order.get("columns")
        rows = channel_entries(module.irreps_in, simplify=False) if rows is None else rows
        columns = channel_entries(module.irreps_out, simplify=False) if columns is None else columns
        self.matrix(name, self.grids_of(f"{ours}.types"), rows, columns, self.bias_of(f"{ours}.types"))

    def grids_of(self, prefix: str) -> dict[Irrep, Tensor]:
        start = f"{prefix}.weight."
        return {Irrep(k[len(start) :]): grid for k, grid in self.grids.items() if k.startswith(start)}

    def bias_of(self, prefix: str) -> Tensor | None:
        return self.grids.get(f"{prefix}.bias")

    def matrix(
        self, name: str, grids: dict[Irrep, Tensor], rows: Entries, columns: Entries, bias: Tensor | None
    ) -> None:
        numbers = matrix_numbers(grids, rows, columns)
        self.put(f"{name}.tp.weight", numbers if numbers else torch.zeros(0, dtype=torch.long))
        reached = {ir for ir, _ in rows}
        self._mask(f"{name}.tp", [(len(c), ir, ir in reached) for ir, c in columns])
        if bias is not None:
            for k, b in enumerate(bias_numbers(bias, columns)):
                self.put(f"{name}.bias.{k}", b)

    def _mask(self, name: str, entries: list[tuple[int, Irrep, bool]]) -> None:
        parts = [torch.full((mul * ir.dim,), float(on)) for mul, ir, on in entries]
        self.fixed[f"{name}.output_mask"] = torch.cat(parts)

    def product(
        self, name: str, plan: CouplingPlan, weight: Tensor | None = None, published: Any = None
    ) -> ProductNumbers:
        """Name a depthwise product; `weight`: numbers of weights that all edges share."""
        numbers = ProductNumbers(plan, published)
        if weight is None:
            self.fixed[f"{name}.weight"] = torch.zeros(0)
        else:
            self.put(f"{name}.weight", weight[numbers.weights])
        self._mask(name, [(mul, ir, True) for mul, ir in numbers.outputs])
        for l1, l2, l3 in numbers.paths:
            if min(l1, l2, l3) > 0:
                from e3nn.o3 import wigner_3j

                key = f"{name}._compiled_main_left_right._w3j_{l1}_{l2}_{l3}"
                self.fixed[key] = wigner_3j(l1, l2, l3, dtype=torch.float64)
        return numbers

    def radial(self, name: str, ours: str, module: RadialMLP, order: Tensor | None = None) -> None:
        for k, layer in enumerate(module.hidden):
            for kind in ("weight", "bias") if isinstance(layer, nn.Linear | nn.LayerNorm) else ():
                self.put_as(f"{name}.net.{k}.{kind}", f"{ours}.hidden.{k}.{kind}")
        order = torch.arange(module.offset.shape[0]) if order is None else order
        last = self[f"{ours}.out.weight"][order]
        self.put(f"{name}.net.{len(module.hidden)}.weight", last, last.shape)
        self.put(f"{name}.offset", self[f"{ours}.offset"][order])

    def put_as(self, name: str, ours: str, shape: tuple[int, ...] | None = None) -> None:
        self.put(name, self[ours], self[ours].shape if shape is None else shape)

    def norm(self, name: str, ours: str, module: EquivariantNorm) -> None:
        if module.kind == "none":
            return
        if module.kind in ("soft", "rms", "merged"):
            raise ValueError(f"the published norms are 'layer', 'fast_layer', 'graph', 'instance', got {module.kind!r}")
        merged = len(module.layout_in.entries) > len(module.layout_in.types)
        if merged and module.kind in ("layer", "fast_layer"):
            raise ValueError(
                "the published layer norms treat entries of one irrep apart, ours together: "
                f"irreps must hold each irrep once, got {module.irreps_in}"
            )
        entries = channel_entries(module.irreps_in)
        self.put(f"{name}.affine_weight", [self[f"{ours}.weight.{ir}"][c] for ir, c in entries])
        scalars = [c for ir, c in entries if ir == SCALAR]
        for theirs, mine in (("affine_bias", "bias"), ("mean_shift", "mean_shift")):
            if f"{ours}.{mine}" in self.grids:
                self.put(f"{name}.{theirs}", [self[f"{ours}.{mine}"][c] for c in scalars])
            elif mine == "bias":
                self.put(f"{name}.{theirs}", torch.zeros(0, dtype=torch.long))

    def basis(self, name: str, ours: str, module: nn.Module) -> None:
        if isinstance(module, GaussianBasis):
            for kind, shape in (("mean", (1, -1)), ("std", (1, -1)), ("weight", (1, 1)), ("bias", (1, 1))):
                self.put(f"{name}.{kind}", self[f"{ours}.{kind}"], shape)
        elif isinstance(module, ExpNormalBasis):
            self.put_as(f"{name}.means", f"{ours}.means")
            self.put_as(f"{name}.betas", f"{ours}.betas")
        elif isinstance(module, BesselBasis):
            self.put_as(f"{name}.rbf.frequencies", f"{ours}.frequencies")

    def gate_columns(self, gate: Gate) -> Entries:
        """Return the published order of a gate's inputs: scalars, gates as the gated irreps come, gated."""
        kinds = [ir == SCALAR for _, ir in gate.irreps_out]
        if kinds != sorted(kinds, reverse=True):
            raise ValueError(
                "the published gate gives 0e first and reads its output in the order of the irreps: "
                f"they must start with 0e, got {gate.irreps_out}"
            )
        layout, scalars = gate.layout_out, torch.arange(gate.num_scalars)
        starts, start = {}, gate.num_scalars
        for ir, mul in zip(layout.types, layout.channels):
            if ir != SCALAR:
                starts[ir] = start
                start += mul
        gated = [(ir, c) for ir, c in channel_entries(gate.irreps_out, simplify=False) if ir != SCALAR]
        gates = [(SCALAR, c + starts[ir]) for ir, c in gated]
        return merge_neighbors([e for e in [(SCALAR, scalars), *gates, *gated] if len(e[1])])

    def gate(self, name: str, gate: Gate) -> None:
        gated = Irreps([e for e in gate.irreps_out if e.ir != SCALAR])
        if gated.dim:
            self.fixed[f"{name}.mul.weight"] = torch.zeros(0)
            self.fixed[f"{name}.mul.output_mask"] = torch.ones(gated.dim)

    def feed_forward(self, name: str, ours: str, module: FeedForward) -> None:
        if not isinstance(module.activation, Gate) or module.norms:
            raise ValueError(
                "the published feed-forward network has gates and sees no norms: expected activation='gate' and "
                f"norms=False, got {type(module.activation).__name__} and norms={module.norms}"
            )
        self.linear(
            f"{name}.fctp_1",
            f"{ours}.lin_in",
            module.lin_in,
            rows=channel_entries(module.irreps_in, simplify=False),
            columns=self.gate_columns(module.activation),
        )
        self.gate(f"{name}.fctp_1.gate", module.activation)
        self.linear(f"{name}.fctp_2", f"{ours}.lin_out", module.lin_out)

    def edge_degree(self, name: str, ours: str, module: EdgeDegreeEmbedding) -> None:
        columns = channel_entries(module.irreps_out, simplify=False)
        weight, bias = self[f"{ours}.scalar_weight"], self[f"{ours}.scalar_bias"]
        self.matrix(f"{name}.exp", {SCALAR: weight.unsqueeze(0)}, [(SCALAR, torch.arange(1))], columns, bias)
        numbers = self.product(f"{name}.dw.tp", module.lin.plan)
        self.radial(f"{name}.rad", f"{ours}.radial", module.radial, numbers.weights)
        self.path_linear(f"{name}.proj", f"{ours}.lin", module.lin, numbers.rows)

    def path_linear(
        self, name: str, ours: str, module: PathLinear, rows: Entries, columns: Entries | None = None
    ) -> None:
        columns = channel_entries(module.irreps_out, simplify=False) if columns is None else columns
        self.matrix(name, self.grids_of(f"{ours}.types"), rows, columns, self.bias_of(f"{ours}.types"))

    def attention(self, name: str, ours: str, module: EquiformerConv | ParityBlindConv) -> None:
        if isinstance(module, ParityBlindConv):
            name_blind_attention(self, name, ours, module)
            return
        joined = head_entries(module.irreps_head, module.heads, module.attention)
        self.linear(f"{name}.merge_src", f"{ours}.lin_src", module.lin_src)
        self.linear(f"{name}.merge_dst", f"{ours}.lin_dst", module.lin_dst)
        self.linear(f"{name}.proj", f"{ours}.lin_out", module.lin_out, rows=joined)
        if module.attention == "dot":
            self._dot(name, ours, module, joined)
            return
        self.put(f"{name}.alpha_dot", self[f"{ours}.score.vector"], (1, *self[f"{ours}.score.vector"].shape))
        if module.gate is None:
            self._linear_message(name, ours, module)
        else:
            self._nonlinear_message(name, ours, module, joined)

    def _nonlinear_message(self, name: str, ours: str, module: EquiformerConv, joined: Entries) -> None:
        assert module.gate is not None
        first = self.product(f"{name}.sep_act.dtp.tp", module.product.plan)
        self.radial(f"{name}.sep_act.dtp_rad", f"{ours}.radial", module.radial, first.weights)
        self.path_linear(
            f"{name}.sep_act.lin", f"{ours}.lin_gate", module.lin_gate, first.rows, self.gate_columns(module.gate)
        )
        self.gate(f"{name}.sep_act.gate", module.gate)
        assert isinstance(module.score, MLPScore)
        self.path_linear(f"{name}.sep_alpha", f"{ours}.score.lin", module.score.lin, first.rows)
        second = self.product(f"{name}.sep_value.dtp.tp", module.value_product.plan, self[f"{ours}.value_weight"])
        self.path_linear(f"{name}.sep_value.lin", f"{ours}.lin_value", module.lin_value, second.rows, joined)

    def _linear_message(self, name: str, ours: str, module: EquiformerConv) -> None:
        numbers = self.product(f"{name}.sep.dtp.tp", module.product.plan)
        self.radial(f"{name}.sep.dtp_rad", f"{ours}.radial", module.radial, numbers.weights)
        grids = self.grids_of(f"{ours}.lin_value.types")
        alpha, biases = self.grids_of(f"{ours}.score.lin.types")[SCALAR], [self.bias_of(f"{ours}.score.lin.types")]
        biases.append(self.bias_of(f"{ours}.lin_value.types"))
        grids[SCALAR] = torch.cat([alpha, grids[SCALAR]], dim=1)
        columns = pair_entries(module.irreps_head, module.heads, module.attention)
        self.matrix(f"{name}.sep.lin", grids, numbers.rows, columns, _joined(biases))

    def _dot(self, name: str, ours: str, module: EquiformerConv, joined: Entries) -> None:
        score = module.score
        assert isinstance(score, DotScore)
        if module.gate is not None:
            raise ValueError("the published dot-product attention has linear messages only, got message='nonlinear'")
        self.linear(f"{name}.query", f"{ours}.score.query", score.query, columns=joined)
        numbers = self.product(f"{name}.key_value.dtp.tp", module.product.plan)
        self.radial(f"{name}.key_value.dtp_rad", f"{ours}.radial", module.radial, numbers.weights)
        grids, bias = self.keys_and_values(ours)
        columns = pair_entries(module.irreps_head, module.heads, module.attention)
        self.matrix(f"{name}.key_value.lin", grids, numbers.rows, columns, bias)

    def keys_and_values(self, ours: str) -> tuple[dict[Irrep, Tensor], Tensor | None]:
        """Return the numbers of the matrices, and of the biases, that make keys, then values."""
        parts = [f"{ours}.{part}.types" for part in ("score.key", "lin_value")]
        keys, values = (self.grids_of(part) for part in parts)
        grids = {ir: torch.cat([keys[ir], values[ir]], dim=1) for ir in keys}
        return grids, _joined([self.bias_of(part) for part in parts])

    def block(self, name: str, ours: str, module: EquiformerBlock) -> None:
        if module.norm_position != "pre":
            raise ValueError(f"the published blocks have norm_position='pre', got {module.norm_position!r}")
        self.norm(f"{name}.norm_1", f"{ours}.norm_attn", module.norm_attn)
        attention = "dpa" if module.attn.attention == "dot" else "ga"
        self.attention(f"{name}.{attention}", f"{ours}.attn", module.attn)
        self.norm(f"{name}.norm_2", f"{ours}.norm_ffn", module.norm_ffn)
        self.feed_forward(f"{name}.ffn", f"{ours}.ffn", module.ffn)
        if module.shortcut is not None:
            self.linear(f"{name}.ffn_shortcut", f"{ours}.shortcut", module.shortcut)

    def model(self, module: Equiformer, ours: str) -> None:
        scalars = torch.arange(count(module.embed.layout_out.irreps, SCALAR))
        embed = {SCALAR: self[f"{ours}embed.weight"]}
        rows = [(SCALAR, torch.arange(len(module.config.elements)))]
        columns = channel_entries(module.embed.layout_out.irreps, simplify=False)
        assert len(scalars)
        self.matrix("atom_embed.atom_type_lin", embed, rows, columns, self[f"{ours}embed.bias"])
        self.basis("rbf", f"{ours}geometry.basis", module.geometry.basis)
        self.edge_degree("edge_deg_embed", f"{ours}edge_degree", module.edge_degree)
        for k, block in enumerate(module.blocks):
            assert isinstance(block, EquiformerBlock)
            self.block(f"blocks.{k}", f"{ours}blocks.{k}", block)
        self.norm("norm", f"{ours}norm", module.norm)
        head: Any = module.head
        if isinstance(head, AttentionHead):
            self.attention("head", f"{ours}head.attn", head.attn)
        else:
            rows = channel_entries(head.lin_in.irreps_in, simplify=False)
            hidden = [entry for entry in rows if entry[0] == SCALAR]
            self.linear("head.0", f"{ours}head.lin_in", head.lin_in, columns=hidden)
            self.linear("head.2", f"{ours}head.lin_out", head.lin_out, rows=hidden)


def _joined(biases: list[Tensor | None]) -> Tensor | None:
    found = [b for b in biases if b is not None]
    return torch.cat(found) if found else None


def official_names(module: nn.Module) -> OfficialNames:
    """Return the numbering of one of our modules, published names filled in.

    Raises:
        ValueError: for a module that the published code does not have.
    """
    inner = getattr(module, "model", module)
    names = OfficialNames(module)
    if isinstance(inner, Equiformer):
        names.model(inner, "model." if inner is not module else "")
        return names
    writers: dict[type, Callable[[str, str, Any], None]] = {
        EquiformerConv: names.attention,
        ParityBlindConv: names.attention,
        EdgeDegreeEmbedding: names.edge_degree,
        FeedForward: names.feed_forward,
        EquivariantNorm: names.norm,
        RadialMLP: names.radial,
        GaussianBasis: names.basis,
        ExpNormalBasis: names.basis,
        BesselBasis: names.basis,
        EquiformerBlock: names.block,
    }
    if type(module) not in writers:
        raise ValueError(f"the published code has no counterpart of {type(module).__name__}")
    # Prefixes are joined with dots; a module of its own has none.
    names.grids = {f".{k}": v for k, v in names.grids.items()}
    writers[type(module)]("", "", module)
    names.grids = {k[1:]: v for k, v in names.grids.items()}
    names.padded = [k[1:] for k in names.padded]
    names.published = {k.removeprefix("."): v for k, v in names.published.items()}
    names.fixed = {k.removeprefix("."): v for k, v in names.fixed.items()}
    return names
