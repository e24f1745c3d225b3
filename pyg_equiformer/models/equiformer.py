"""The Equiformer network."""

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from ..conv import EdgeDegreeEmbedding, EquiformerConv
from ..kernels import EngineKind, check_engine, recompute_with, segment_sum
from ..nn import Couplings, EquivariantDropout, EquivariantNorm
from ..o3 import Blocks
from .atom_embedding import AtomEmbedding
from .block import EquiformerBlock
from .compiled import CompilesParts
from .config import EquiformerConfig
from .features import Features, add_blocks
from .geometry import EdgeGeometry
from .heads import AttentionHead, ScalarHead, VectorHead, squeeze_single
from .inputs import GraphInputs, collect_inputs
from .node_inputs import NodeInputs
from .precision import PrecisionKind, check_precision, products_in, weight_dtype
from .prepare import find_neighbors, prepare_edges, worth_chunks
from .presets import preset_config
from .pretrained import Pretrained
from .reversible import reversible_blocks
from .shares import equal_shares

CheckpointKind = Literal["none", "tensor_product", "block"]


class Equiformer(Pretrained, CompilesParts):
    r"""Equiformer: equivariant graph attention transformer for atomistic graphs (arXiv 2206.11990).

    Args:
        config: the settings; see `EquiformerConfig`, and `from_preset` for named ones.
        checkpoint: what training computes again instead of storing it (arXiv 1604.06174): "none"; "tensor_product",
            all that has to do with edges, layer by layer; or "block", all but the features between the blocks. All
            gradients stay the same, those of forces too. Changed later by `set_checkpoint`; no part of a saved model.
        engine: who computes the tensor products: "auto", "torch", "reference", "triton", "aligned", "cuequivariance" or
            "openequivariance", see `kernels.engines`. Changed later by `set_engine`; no part of a saved model.
        compile: run the blocks through `torch.compile` with dynamic shapes, one graph for graphs of all sizes, and one
            more for edges that do not come in both directions; the first steps take minutes. With `EnergyForces`
            energy and forces are one compiled graph. Where positions have gradients otherwise, blocks run as they
            are: compiled code cannot be differentiated twice. Changed later by `set_compile`; no part of a saved model.
        precision: "float64"; "float32"; "tf32", float32 with TF32 products (NVIDIA GPUs; a setting of PyTorch for the
            whole process); or "bf16", float32 with bfloat16 products summed in float32, geometry and the last step
            excepted. None: as the weights and PyTorch are. Positions have the precision of the weights. Changed later
            by `set_precision`; no part of a saved model.

    Shapes:
        - z [N]: atomic numbers, or tokens with `config.num_tokens`; pos [N, 3] in Å; batch [N]: graph of each atom
          (None: one graph). Or a PyG `Data` / `Batch` with these fields in place of z.
        - edge_index [2, E]: edges to use; None: all pairs nearer than the cutoff, or those stored by the
          `RadiusGraph`, `KNNGraph` or `BondGraph` transform. Chemical bonds in `data.edge_index` are not used unless
          passed here.
        - edge_attr [E, config.edge_dim]: extra features of those edges.
        - edge_type [E]: their types below `config.num_edge_types`; stored by `BondGraph` too.
        - cell [B, 3, 3] in Å (rows are the vectors) and pbc [B, 3] (along which the structure repeats), or fields of
          the data: of periodic structures, whose images are neighbours too. The output can be differentiated by the
          cell.
        - edge_shift [E, 3] in Å: shift of the source's periodic image, needed with `edge_index` of periodic structures.
        - node_position [N]: place of each node in its sequence, below `config.num_positions`; or `data.node_position`.
        - node_attr [N, config.irreps_node.dim]: equivariant inputs of the nodes; or `data.node_attr`.
        - node_embedding: added to the first features of the atoms, one tensor [N, 2l+1, C] per type of
          `config.irreps`, even parity first; for example from `Denoising.embed`.
        - output: by `config.output`, e.g. [B, 1] for a graph scalar; with `return_features=True` also the
          `Features` that the head takes, for further heads; with `return_shares=True` also, as the last, what each
          atom adds to the output of its graph, [N, num_outputs] or [N, num_outputs, 3].

    Raises:
        ValueError: for inputs of the wrong shape, positions that are not finite, unknown elements, or cells that do
            not fit the atoms.

    Example:
        >>> model = Equiformer.from_preset("small")
        >>> z, pos = torch.tensor([8, 1, 1]), torch.randn(3, 3)
        >>> model(z, pos).shape
        torch.Size([1, 1])
    """

    def __init__(
        self,
        config: EquiformerConfig | None = None,
        *,
        checkpoint: CheckpointKind = "none",
        engine: EngineKind = "auto",
        compile: bool = False,
        precision: PrecisionKind | None = None,
    ) -> None:
        super().__init__()
        self.config = c = config if config is not None else EquiformerConfig()
        attn = c.attention_settings()
        self.embed = AtomEmbedding(c.elements, c.irreps, "elements Z" if c.num_tokens is None else "tokens")
        self.geometry = EdgeGeometry(c.irreps_sh, cutoff=c.cutoff, basis=c.basis, num_basis=c.num_basis)
        self.edge_degree = EdgeDegreeEmbedding(c.irreps, **c.edge_settings())
        self.blocks = nn.ModuleList(
            EquiformerBlock(
                c.irreps,
                irreps_out=c.irreps if k < c.num_layers - 1 else c.irreps_feature,
                irreps_ffn=c.irreps_ffn,
                norm=c.norm,
                norm_position=c.norm_position,
                ffn_activation=c.ffn_activation,
                ffn_norms=c.ffn_norms,
                drop_path=c.drop_path,
                **attn,
            )
            for k in range(c.num_layers)
        )
        self.norm = EquivariantNorm(c.irreps_feature, c.norm)
        self.dropout = EquivariantDropout(c.out_dropout)
        self.head: nn.Module
        if c.output.endswith("vector"):
            self.head = VectorHead(c.irreps_feature, c.num_outputs, c.vector)
        elif c.head == "attention":
            self.head = AttentionHead(c.irreps_feature, c.num_outputs, **attn)
        else:
            self.head = ScalarHead(c.irreps_feature, c.num_outputs)
        self.node_inputs: NodeInputs | None = None
        self.embed_edge_type: nn.Embedding | None = None
        if c.num_positions or c.irreps_node is not None:
            self.node_inputs = NodeInputs(c.irreps, num_positions=c.num_positions, irreps_node=c.irreps_node)
        if c.num_edge_types:
            self.embed_edge_type = nn.Embedding(c.num_edge_types, c.edge_type_dim)
        self.set_checkpoint(checkpoint)
        self.set_engine(engine)
        self.set_compile(compile)
        self.set_precision(precision)

    def set_checkpoint(self, checkpoint: CheckpointKind) -> None:
        """Choose what is computed again instead of stored, see the class.

        Raises:
            ValueError: for an unknown kind, or "block" for reversible blocks, which store nothing anyway.
        """
        if checkpoint not in get_args(CheckpointKind):
            raise ValueError(f"checkpoint must be one of {get_args(CheckpointKind)}, got {checkpoint!r}")
        if checkpoint == "block" and self.config.reversible:
            raise ValueError("checkpoint='block' is for blocks that are stored, got reversible=True; expected 'none'")
        self.checkpoint: CheckpointKind = checkpoint
        for module in self.modules():
            if isinstance(module, EquiformerConv):
                module.checkpoint = "tensor_product" if checkpoint == "tensor_product" else "none"

    def set_engine(self, engine: EngineKind) -> None:
        """Choose who computes the tensor products, see the class.

        Raises:
            ValueError: for an unknown name.
        """
        self.engine = check_engine(engine)
        for module in self.modules():
            if isinstance(module, EquiformerConv):
                module.engine = self.engine

    def set_compile(self, compile: bool) -> None:
        """Choose whether `torch.compile` is used, see the class."""
        self.compile_blocks = bool(compile)

    def set_precision(self, precision: PrecisionKind | None) -> None:
        """Choose the precision of weights and products, see the class.

        Raises:
            ValueError: for an unknown one.
        """
        self.precision = check_precision(precision)
        if precision is not None:
            self.to(weight_dtype(precision))

    @classmethod
    def from_preset(cls, name: str, **overrides: Any) -> "Equiformer":
        """Return a new model with the settings of a preset, some changed: `from_preset("small", heads=2)`."""
        return cls(preset_config(name, **overrides))

    def reset_parameters(self) -> None:
        """Draw all weights anew."""
        for module in self.modules():
            reset = getattr(module, "reset_parameters", None)
            if module is not self and callable(reset):
                reset()

    def forward(
        self,
        z: Any,
        pos: Tensor | None = None,
        batch: Tensor | None = None,
        *,
        edge_index: Tensor | None = None,
        edge_attr: Tensor | None = None,
        edge_shift: Tensor | None = None,
        edge_type: Tensor | None = None,
        node_position: Tensor | None = None,
        node_attr: Tensor | None = None,
        cell: Tensor | None = None,
        pbc: Tensor | None = None,
        node_embedding: Blocks | None = None,
        return_features: bool = False,
        return_shares: bool = False,
    ) -> Any:
        if return_shares and not self.config.output.startswith("graph"):
            raise ValueError(f"shares of the atoms are for outputs of graphs, got output={self.config.output!r}")
        extras: dict[str, Any] = {"edge_type": edge_type, "node_position": node_position, "node_attr": node_attr}
        extras |= {"cell": cell, "pbc": pbc}
        inputs = collect_inputs(z, pos, batch, edge_index, edge_attr, edge_shift, self.config, **extras)
        with products_in(self.precision, inputs.pos.device):
            return self._run(inputs, node_embedding, return_features, return_shares)

    def features(
        self, z: Any, pos: Tensor | None = None, batch: Tensor | None = None, *, node_embedding: Blocks | None = None,
        edge_index: Tensor | None = None, edge_attr: Tensor | None = None, edge_shift: Tensor | None = None,
        **extras: Tensor | None,
    ) -> Features:  # fmt: skip
        """Return what the head takes, without calling it; arguments as for the model itself."""
        inputs = collect_inputs(z, pos, batch, edge_index, edge_attr, edge_shift, self.config, **extras)
        with products_in(self.precision, inputs.pos.device):
            return self._features(inputs, node_embedding)

    def _run(
        self, inputs: GraphInputs, node_embedding: Blocks | None, return_features: bool, return_shares: bool
    ) -> Any:
        features = self._features(inputs, node_embedding)
        # Under autocast the last step keeps full precision: an energy has more digits than bf16 can hold.
        with torch.autocast(inputs.pos.device.type, enabled=False):
            graphs = {"batch": inputs.batch, "num_graphs": inputs.num_graphs}
            per_node = self.head(features.nodes, **features.edges, **graphs)
            more: list[Any] = [features] if return_features else []
            more += [self._shares(per_node, inputs)] if return_shares else []
            out = self._finish(per_node, inputs)
        return (out, *more) if more else out

    def _features(self, inputs: GraphInputs, node_embedding: Blocks | None) -> Features:
        x, edges = self.encode(inputs)
        if node_embedding is not None:
            x = add_blocks(x, node_embedding, self.embed.layout_out)
        graphs = {"batch": inputs.batch, "num_graphs": inputs.num_graphs}
        blocks: list[Any] = list(self.blocks)
        if self.config.reversible:
            x = reversible_blocks(blocks[:-1], x, {**edges, "couplings": None}, inputs.batch, inputs.num_graphs)
            blocks = blocks[-1:]
        for block in blocks:
            x = self._block(block, x, edges, graphs)
        x = self.dropout(self.norm(x, **graphs))
        return Features([b.to(inputs.pos.dtype) for b in x], edges)

    def _block(self, block: nn.Module, x: Blocks, edges: dict[str, Any], graphs: dict[str, Any]) -> Blocks:
        """Return the features after a block, which is stored or not. Compiled code decides that by itself."""
        out: Blocks
        # What is compiled by itself cannot be differentiated twice, as training on forces does; see `EnergyForces`.
        twice = torch.is_grad_enabled() and edges["edge_sh"].requires_grad
        if self.compile_blocks and not torch.compiler.is_compiling() and not twice:
            # Each makes its own couplings: a graph does not write into objects outside of it.
            out = self.compiled(block._call_impl)(x, **{**edges, "couplings": None}, **graphs)
            return out
        if self.checkpoint != "block" or torch.compiler.is_compiling():
            out = block(x, **edges, **graphs)
            return out
        names = [k for k in ("edge_sh", "edge_attr", "edge_weight") if edges[k] is not None]

        def call(x: Blocks, given: list[Tensor]) -> Blocks:
            out: Blocks = block(x, **{**edges, **dict(zip(names, given)), "couplings": None}, **graphs)
            return out

        return list(recompute_with(block, call, x, [edges[k] for k in names]))

    def encode(self, inputs: GraphInputs) -> tuple[Blocks, dict[str, Any]]:
        """Return the first node features, and all that the blocks need to know of the edges."""
        c = self.config
        if inputs.pos.dtype != self.embed.weight.dtype and not torch.is_autocast_enabled(inputs.pos.device.type):
            raise ValueError(
                f"pos is {inputs.pos.dtype} but the weights are {self.embed.weight.dtype}; "
                "convert one of them with .float() or .double()"
            )
        inputs = prepare_edges(inputs, c, for_compiler=self.compile_blocks)
        inputs, num_atoms = find_neighbors(inputs, c.cutoff), inputs.pos.shape[0]  # compiled by the caller: not yet
        edge_index = inputs.edge_index
        assert edge_index is not None  # found above
        geometry = self.geometry.features(inputs.pos, edge_index, inputs.edge_shift)
        # The radial networks see each pair of atoms once.
        radial = geometry.radial[: edge_index.shape[1] // 2] if inputs.mirrored else geometry.radial
        if self.embed_edge_type is not None:
            assert inputs.edge_type is not None  # checked with the inputs
            embedded = self.embed_edge_type(inputs.edge_type[: radial.shape[0]])
            radial = torch.cat([radial, embedded.to(radial.dtype)], dim=1)
        if inputs.edge_attr is not None:
            radial = torch.cat([radial, inputs.edge_attr.to(radial.dtype)], dim=1)
        edges: dict[str, Any] = {
            "edge_index": edge_index,
            "edge_sh": geometry.sh,
            "edge_attr": radial,
            "edge_weight": geometry.envelope if c.envelope == "polynomial" else None,
            "table": inputs.table,
            "mirrored": inputs.mirrored,
        }
        if inputs.chunked or (not torch.is_grad_enabled() and not self.compile_blocks and worth_chunks(inputs)):
            edges["chunked"] = True
        x = self.embed(inputs.z)
        if self.node_inputs is not None:
            x = self.node_inputs(x, inputs.node_position, inputs.node_attr)
        y = self.edge_degree(**edges, num_nodes=num_atoms)
        edges["couplings"] = Couplings(geometry.sh, inputs.table)
        return [a + b for a, b in zip(x, y)], edges

    def _finish(self, out: Tensor, inputs: GraphInputs) -> Tensor:
        c = self.config
        if c.output.startswith("graph"):
            out = segment_sum(out, inputs.batch, inputs.num_graphs) / c.avg_num_nodes**0.5
        if (c.output_scale, c.output_std, c.output_mean) != (1.0, 1.0, 0.0):
            out = c.output_mean + c.output_std * (c.output_scale * out)
        return squeeze_single(out)

    def _shares(self, per_node: Tensor, inputs: GraphInputs) -> Tensor:
        """Return what each atom adds to the output of its graph; the mean is shared by all atoms of the graph."""
        c = self.config
        share = c.output_std * c.output_scale / c.avg_num_nodes**0.5 * per_node
        if c.output_mean:
            share = share + c.output_mean * equal_shares(inputs.batch, inputs.num_graphs, share)
        return share

    def __repr__(self) -> str:
        c = self.config
        weights = sum(p.numel() for p in self.parameters())
        return (
            f"{type(self).__name__}({c.num_layers} blocks of {c.irreps}, {c.heads} heads, attention={c.attention!r}, "
            f"message={c.message!r}, cutoff={c.cutoff} Å, output={c.output!r}, {weights:,} weights)"
        )
