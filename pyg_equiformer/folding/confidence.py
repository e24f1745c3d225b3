"""How well each residue is placed, and how well a model expects it to be."""

import torch
import torch.nn.functional as F
from torch import Tensor

BINS = 20  #: of lDDT, 0 to 1
RADIUS = 15.0  #: Å around a residue in which distances count
THRESHOLDS = (0.5, 1.0, 2.0, 4.0)  #: Å that a distance may be off


def residue_lddt(pos: Tensor, true: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    r"""Return the local distance difference test of one atom per residue (Mariani et al., Bioinformatics 29, 2722).

    .. math:: \mathrm{lDDT}_i = \frac 14 \sum_{t} \mathrm{mean}_{j \neq i,\, d^*_{ij} < 15\,\text{Å}}
        \big[\,|d_{ij} - d^*_{ij}| < t\,\big], \quad t \in \{0.5, 1, 2, 4\}\,\text{Å}

    Args:
        pos, true: places of the Cα [L, 3] in Å.
        mask: which are known [L].

    Returns:
        lDDT [L], 0 where it is not known, and where it is: residues that are there and have neighbours.

    Example:
        >>> true = torch.tensor([[0.0, 0.0, 0.0], [3.8, 0.0, 0.0], [7.6, 0.0, 0.0]])
        >>> residue_lddt(true + 1, true, torch.ones(3, dtype=torch.bool))[0]
        tensor([1., 1., 1.])
    """
    distance, wanted = torch.cdist(pos, pos), torch.cdist(true, true)
    pair = mask[:, None] & mask[None] & (wanted < RADIUS)
    pair.fill_diagonal_(False)
    error = (distance - wanted).abs()
    kept = torch.stack([error < t for t in THRESHOLDS]).to(pos.dtype).mean(0) * pair
    count = pair.sum(1)
    return kept.sum(1) / count.clamp(min=1), count > 0


def confidence_of(logits: Tensor) -> Tensor:
    """Return the expected lDDT [L], 0 to 100, of the logits of its bins [L, BINS]."""
    centers = (torch.arange(BINS, device=logits.device, dtype=logits.dtype) + 0.5) * (100 / BINS)
    return logits.softmax(-1) @ centers


def confidence_loss(logits: Tensor, lddt: Tensor, known: Tensor) -> Tensor:
    """Return the cross-entropy of the bin that each known lDDT is in, 0 if none is known."""
    bins = (lddt.detach() * BINS).long().clamp(0, BINS - 1)
    loss = F.cross_entropy(logits, bins, reduction="none")
    return (loss * known).sum() / known.sum().clamp(min=1)
