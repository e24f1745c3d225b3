"""The frame-aligned point error of rigid groups, blind to global motion and to which of two alike atoms is which."""

from functools import partial

import torch
from torch import Tensor

from .frames import Frames, fit_frames
from .groups import group_flips

CHUNK = 2**22  #: pairs of frames and atoms that are held at once


def fape(
    predicted: Frames,
    predicted_atoms: Tensor,
    true: Frames,
    true_atoms: Tensor,
    mask: Tensor,
    *,
    frame_mask: Tensor | None = None,
    weight: Tensor | None = None,
    clamp: float | None = 10.0,
    scale: float = 10.0,
    eps: float = 1e-4,
) -> Tensor:
    r"""Return the frame-aligned point error (AlphaFold, Nature 596, 583 (2021), supplement, algorithm 28).

    .. math::
        d_{ua}^2 = \left| R_u^{-1}(x_a - T_u) - R_u^{*\,-1}(x_a^* - T_u^*) \right|^2, \qquad
        L = \frac{1}{Z} \frac{\sum_{ua} w_{ua} \min\left(\sqrt{d_{ua}^2 + ε}, c\right)}{\sum_{ua} w_{ua}}

    over all frames u and atoms a of one structure; identical structures have :math:`\sqrt ε / Z`.

    Args:
        predicted, true: frames (R, T) and (R*, T*) of the G groups.
        predicted_atoms, true_atoms: x and x* of the groups [G, A, 3] in Å.
        mask: which atoms count [G, A].
        frame_mask: which frames count [G]. None: those of groups with an atom that counts.
        weight: w of each pair of groups, frame first [G, G]. None: 1.
        clamp: c in Å; None: no limit.
        scale: Z in Å.
        eps: ε in Å², which keeps the gradient finite at zero.

    Returns:
        a scalar without a unit; zero if nothing counts.

    Raises:
        ValueError: if the shapes do not fit together, or a number is out of range.

    Example:
        >>> from pyg_equiformer.folding import random_frames
        >>> true, everywhere = random_frames(4, 5.0), torch.ones(4, 3, dtype=torch.bool)
        >>> atoms = true.apply(torch.randn(4, 3, 3))
        >>> motion = random_frames(1, 20.0)[0]  # of the whole, which changes nothing
        >>> copy, moved = motion.compose(true), motion.apply(atoms)
        >>> round(float(fape(copy, moved, true, atoms, everywhere)), 4)  # the floor: √ε / Z
        0.001
    """
    _check(predicted, predicted_atoms, true, true_atoms, mask, weight, clamp, scale, eps)
    frame_mask = mask.any(1) if frame_mask is None else frame_mask
    owner = mask.nonzero()[:, 0]
    points, targets = predicted_atoms[mask], true_atoms[mask]
    rows = frame_mask.nonzero().flatten()
    total, count = points.new_zeros(()), points.new_zeros(())
    for part in rows.split(max(1, CHUNK // max(1, len(owner)))):
        local = predicted[part].local(points.expand(len(part), -1, 3))
        wanted = true[part].local(targets.expand(len(part), -1, 3))
        distance = ((local - wanted).square().sum(-1) + eps).sqrt() if eps else (local - wanted).norm(dim=-1)
        distance = distance if clamp is None else distance.clamp(max=clamp)
        share = torch.ones_like(distance) if weight is None else weight[part][:, owner]
        total, count = total + (share * distance).sum(), count + share.sum()
    return total / (scale * count.clamp(min=torch.finfo(count.dtype).tiny))


def rename_symmetric(
    predicted_atoms: Tensor, true: Frames, true_atoms: Tensor, mask: Tensor, group_type: Tensor, shapes: Tensor
) -> tuple[Frames, Tensor, Tensor]:
    r"""Return true frames and atoms with alike atoms named as the prediction has them (AlphaFold, algorithm 26).

    Of the two ways to name the atoms that a half turn exchanges (ASP, GLU, PHE, TYR), each group takes the one whose
    distances to all atoms that have one name only are nearer to those of the prediction.

    .. math:: \sum_{a, b} \left| \, |x_a - x_b| - |x^*_{π(a)} - x^*_b| \, \right|, \quad π \in \{1, \text{flip}\}

    Args:
        predicted_atoms, true_atoms: x and x* of the groups [G, A, 3] in Å.
        true: frames of the true atoms.
        mask: which true atoms are there [G, A].
        group_type: kinds of the groups [G].
        shapes: templates of these groups [G, A, 3], to which frames of renamed groups are fitted.

    Returns:
        frames, atoms and mask with these names; they pass no gradient to the prediction.

    Raises:
        ValueError: if the shapes do not fit together.

    Example:
        >>> from pyg_equiformer.folding.groups import GROUPS, MAX_ATOMS
        >>> from pyg_equiformer.folding.templates import chain_groups, group_mask
        >>> group_type, _ = chain_groups("GD")  # the last group: CG, OD1, OD2 of ASP
        >>> shapes, mask = torch.randn(5, MAX_ATOMS, 3), group_mask()[group_type]
        >>> true = Frames(torch.eye(3).expand(5, 3, 3), torch.zeros(5, 3))
        >>> other = shapes.clone()
        >>> other[4, [1, 2]] = shapes[4, [2, 1]]  # a prediction that names the two oxygens the other way
        >>> renamed = rename_symmetric(other, true, shapes, mask, group_type, shapes)
        >>> renamed[1].equal(other)
        True
    """
    _check(true, predicted_atoms, true, true_atoms, mask, None, None, 1.0, 0.0)
    if group_type.shape != mask.shape[:1] or shapes.shape != true_atoms.shape:
        raise ValueError(
            f"expected a type for each of {len(mask)} groups and shapes {list(true_atoms.shape)}, got types "
            f"{list(group_type.shape)} and shapes {list(shapes.shape)}"
        )
    flips = group_flips().to(mask.device)[group_type]
    moves = flips != torch.arange(flips.shape[1], device=mask.device)
    groups = moves.any(1).nonzero().flatten()
    if not len(groups):
        return true, true_atoms, mask
    flipped = true_atoms[groups].gather(1, flips[groups].unsqueeze(-1).expand(-1, -1, 3))
    flipped_mask = mask[groups].gather(1, flips[groups])
    both = mask[groups] & flipped_mask & moves[groups]  # half a pair cannot tell
    with torch.no_grad():
        fixed = mask & ~moves
        names = predicted_atoms[groups][both], true_atoms[groups][both], flipped[both]
        gain = _gain_of_names(*names, predicted_atoms[fixed], true_atoms[fixed])
        row = both.nonzero()[:, 0]
        better = gain.new_zeros(len(groups)).index_add(0, row, gain) > 0
    chosen = groups[better]
    atoms, there = true_atoms.clone(), mask.clone()
    atoms[chosen], there[chosen] = flipped[better], flipped_mask[better]
    fitted = fit_frames(shapes[chosen], atoms[chosen], there[chosen])
    rotation, origin = true.rotation.clone(), true.origin.clone()
    rotation[chosen], origin[chosen] = fitted.rotation, fitted.origin
    return Frames(rotation, origin), atoms, there


def _gain_of_names(predicted: Tensor, true: Tensor, other: Tensor, at: Tensor, to: Tensor) -> Tensor:
    """How much nearer distances from other true places [P, 3] are to those predicted, over atoms of one name [P]."""
    # The matrix product that `cdist` would take loses digits far from the origin.
    distances = partial(torch.cdist, compute_mode="donot_use_mm_for_euclid_dist")
    parts = [predicted.new_zeros(0)]
    for x, y, z in zip(*(each.split(max(1, CHUNK // max(1, len(at)))) for each in (predicted, true, other))):
        seen = distances(x, at)
        parts.append(((seen - distances(y, to)).abs() - (seen - distances(z, to)).abs()).sum(1))
    return torch.cat(parts)


def _check(
    predicted: Frames, predicted_atoms: Tensor, true: Frames, true_atoms: Tensor, mask: Tensor, weight: Tensor | None,
    clamp: float | None, scale: float, eps: float,
) -> None:  # fmt: skip
    groups, places = mask.shape
    for name, value, shape in (
        ("predicted_atoms", predicted_atoms, (groups, places, 3)),
        ("true_atoms", true_atoms, (groups, places, 3)),
        ("predicted origins", predicted.origin, (groups, 3)),
        ("true origins", true.origin, (groups, 3)),
        ("weight", weight, (groups, groups)),
    ):
        if value is not None and tuple(value.shape) != shape:
            raise ValueError(f"expected {name} of shape {shape}, got {tuple(value.shape)}")
    if scale <= 0 or eps < 0 or (clamp is not None and clamp <= 0):
        raise ValueError(f"expected positive scale and clamp and eps of at least 0, got {scale}, {clamp} and {eps}")
