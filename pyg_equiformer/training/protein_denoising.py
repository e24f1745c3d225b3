"""Denoising proteins: a network learns to move atoms back to where they were before Gaussian noise."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from e3nn.o3 import Irreps
from torch import Tensor, nn
from torch_geometric.data import Batch, Data

from ..data.protein_atoms import AtomSet, num_tokens
from ..data.protein_edges import NUM_SEPARATIONS, ProteinGraph
from ..models import Equiformer
from ..models.presets import preset_config
from ..nn import AttentionKind
from ..o3 import as_irreps
from .schedule import warmup_cosine


@dataclass(frozen=True)
class ProteinDenoisingConfig:
    """Settings of a training on protein chains.

    Attributes:
        atoms: "backbone" or "heavy".
        noise: standard deviation of the noise per coordinate, in Å.
        cutoff: of the neighbours, in Å.
        layers, irreps, heads, attention: of the network, see `EquiformerConfig`; harmonics go up to the highest
            degree of the irreps.
        epochs: passes over the chains; None: until `max_time`.
        max_time: longest time of the training in seconds; None: no limit.
        batch_size: chains per step.
        learning_rate: highest one, of AdamW; it rises and falls as `warmup_cosine` tells.
        seed: of weights, noise and order.

    Raises:
        ValueError: if a number is out of range, or nothing ends the training.
    """

    atoms: AtomSet = "backbone"
    noise: float = 1.0
    cutoff: float = 6.0
    layers: int = 3
    irreps: str = "32x0e+32x1e"
    heads: int = 4
    attention: AttentionKind = "mlp"
    epochs: int | None = None
    max_time: float | None = 180.0
    batch_size: int = 1
    learning_rate: float = 3e-3
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("noise", "learning_rate", "max_time"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"{name} must be positive and finite, got {value}")
        for name in ("epochs", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        types = [str(ir) for _, ir in as_irreps(self.irreps, "irreps")]
        if "0e" not in types or "1e" not in types:
            raise ValueError(f"irreps needs scalars (0e) and vectors (1e), as in 32x0e+32x1e, got {self.irreps}")
        if self.epochs is None and self.max_time is None:
            raise ValueError("epochs and max_time are both None, expected one of them to end the training")

    def network(self, avg_degree: float = 15.0) -> Equiformer:
        """Return a new network of these settings: each head has the irreps through the heads, at least one of each.

        Args:
            avg_degree: mean number of neighbours, which scales the sums over them.
        """
        irreps = Irreps(self.irreps)
        head = Irreps([(max(1, mul // self.heads), ir) for mul, ir in irreps])
        config = preset_config(
            "small",
            irreps=self.irreps,
            irreps_sh=str(Irreps.spherical_harmonics(max(irreps.lmax, 1), p=1)),
            irreps_head=str(head),
            irreps_ffn=str(Irreps([(2 * mul, ir) for mul, ir in irreps])),
            irreps_feature=self.irreps,
            num_layers=self.layers,
            heads=self.heads,
            attention=self.attention,
            norm="layer",
            cutoff=self.cutoff,
            elements=tuple(range(num_tokens(self.atoms))),
            edge_dim=NUM_SEPARATIONS,
            avg_degree=avg_degree,
            output="node_vector",
            # No forces are taken, and a noisy neighbour near the cutoff tells as much as others.
            envelope="none",
        )
        return Equiformer(config)


def add_noise(chain: Data, noise: float, cutoff: float, generator: torch.Generator) -> Data:
    r"""Return a chain with moved atoms, where they were (`clean` [N, 3] in Å), and the edges of the moved atoms.

    .. math:: \tilde x_i = x_i + \epsilon_i, \quad \epsilon_i \sim N(0, \sigma^2 I)

    Args:
        chain: as `read_protein_chains` gives it; it is left as it is.
        noise: :math:`\sigma` in Å, per coordinate; the RMSD is about :math:`\sqrt 3` times as much.
        cutoff: of the edges, in Å.
        generator: of the noise.
    """
    moved = chain.clone()
    moved.clean = chain.pos
    moved.pos = chain.pos + noise * torch.randn(chain.pos.shape, generator=generator, dtype=chain.pos.dtype)
    return ProteinGraph(cutoff)(moved)


def displacement(model: nn.Module, graph: Data) -> Tensor:
    """Return where the network would move each atom [N, 3] in Å, of a chain or a batch with edges."""
    out: Tensor = model(
        graph.atom_type, graph.pos, graph.get("batch"), edge_index=graph.edge_index, edge_attr=graph.edge_attr
    )
    return out


def train_denoiser(
    chains: Sequence[Data],
    config: ProteinDenoisingConfig,
    device: str | torch.device = "cpu",
    report: Callable[[int, int, float, float], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
    network: nn.Module | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Any:
    r"""Train a network to find the way back, on new noise in every step.

    .. math:: L = \frac{1}{N} \sum_i \left| f(\tilde x)_i - (x_i - \tilde x_i) \right|^2

    Args:
        chains: as `read_protein_chains` gives them.
        config: the settings.
        device: where to train.
        report: called after each epoch with its number, the steps so far, the seconds so far, and the RMSD in Å between
            the chains and what the network made of the noisy ones.
        stop: asked after each step; True ends the training there.
        network: that is trained, called as `displacement` does. None: `config.network()` for the mean number of
            neighbours.
        clock: tells the time that `max_time` limits, in seconds; `time.process_time` counts the work of the processor
            alone, whatever else it does.

    Raises:
        ValueError: if there are no chains, or the loss is not finite.
    """
    if not chains:
        raise ValueError("expected chains to train on, got none")
    torch.manual_seed(config.seed)
    generator = torch.Generator().manual_seed(config.seed)
    if network is None:
        sample = [add_noise(chain, config.noise, config.cutoff, generator) for chain in chains[:20]]
        degree = sum(g.num_edges for g in sample) / sum(int(g.num_nodes or 0) for g in sample)
        network = config.network(max(degree, 1.0))
    model = network.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=1e-4)
    start, done, losses = clock(), 0.0, list[float]()
    for step, (epoch, part, last) in enumerate(_batches(chains, config, generator), 1):
        past = (clock() - start) / (config.max_time or float("inf"))
        done = max(done, past, epoch / (config.epochs or float("inf")))
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * warmup_cosine(done)
        noisy = [add_noise(chain, config.noise, config.cutoff, generator) for chain in part]
        losses.append(_step(model, optimizer, Batch.from_data_list(noisy).to(device)))
        seconds = clock() - start
        ended = seconds >= (config.max_time or float("inf")) or stop()
        if last or ended:
            if report:
                report(int(epoch) + 1, step, seconds, (sum(losses) / len(losses)) ** 0.5)
            losses.clear()
        if ended:
            break
    return model.eval()


def _step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Data) -> float:
    """Do one step, and return the loss before it."""
    loss = (displacement(model, batch) - (batch.clean - batch.pos)).square().sum(dim=1).mean()
    if not torch.isfinite(loss):
        raise ValueError(f"the loss is {float(loss)}, expected a finite one: give a smaller learning_rate")
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return float(loss.detach())


def _batches(
    chains: Sequence[Data], config: ProteinDenoisingConfig, generator: torch.Generator
) -> Iterator[tuple[float, list[Data], bool]]:
    """Chains of each step in a new order in each epoch, after how many epochs, and whether they end one."""
    epoch = 0
    while config.epochs is None or epoch < config.epochs:
        order = torch.randperm(len(chains), generator=generator).split(config.batch_size)
        for k, part in enumerate(order):
            yield epoch + k / len(order), [chains[int(i)] for i in part], k + 1 == len(order)
        epoch += 1


@dataclass(frozen=True)
class DenoisedChain:
    """A test chain, with noise and after denoising.

    Args:
        chain: as it was read.
        noisy, denoised: positions [N, 3] in Å.
    """

    chain: Data
    noisy: Tensor
    denoised: Tensor

    def errors(self, pos: Tensor) -> Tensor:
        """Distance of each atom from its true place [N] in Å, without superposition."""
        return (pos - self.chain.pos).norm(dim=1)

    @property
    def rmsd_before(self) -> float:
        """Root mean square of the distances of the noisy atoms from their places in Å."""
        return float(self.errors(self.noisy).square().mean().sqrt())

    @property
    def rmsd_after(self) -> float:
        """The same after denoising."""
        return float(self.errors(self.denoised).square().mean().sqrt())


@torch.no_grad()
def denoise_chains(
    model: nn.Module, chains: Sequence[Data], noise: float, seed: int = 0, *, cutoff: float | None = None
) -> Iterator[DenoisedChain]:
    """Add noise to chains and let a network move the atoms back, once.

    Args:
        model: trained by `train_denoiser`.
        chains: other chains than those of the training, with the same kind of atoms.
        noise: standard deviation per coordinate in Å.
        seed: of the noise: the same for every network, chain by chain.
        cutoff: of the edges in Å. None: that of the network.
    """
    reach: float = model.config.cutoff if cutoff is None else cutoff  # type: ignore[union-attr, assignment]
    device = next(model.parameters()).device
    for number, chain in enumerate(chains):
        generator = torch.Generator().manual_seed(1_000_003 * seed + number)
        noisy = add_noise(chain, noise, reach, generator)
        moved = displacement(model, noisy.to(device)).cpu()
        yield DenoisedChain(chain, noisy.pos.cpu(), noisy.pos.cpu() + moved)
