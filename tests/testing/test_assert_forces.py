"""assert_forces_match_finite_differences passes exact forces and says how wrong others are."""

import pytest
import torch
from torch import Tensor

from pyg_equiformer.testing import assert_forces_match_finite_differences

POS = torch.tensor([[0.0, 0.1, 0.2], [1.0, -0.2, 0.4], [0.3, 1.1, -0.5]], dtype=torch.float64)
Z = torch.tensor([8, 1, 1])


class Pairs:
    """Energy Σ exp(-r²) over pairs of the same graph, with forces that may be wrong on purpose."""

    def __init__(self, factor: float = 1.0, extra: float = 0.0) -> None:
        self.factor, self.extra = factor, extra

    def __call__(self, z: Tensor, pos: Tensor, batch: Tensor | None = None, scale: float = 1.0) -> dict[str, Tensor]:
        batch = torch.zeros_like(z) if batch is None else batch
        vec = pos.unsqueeze(0) - pos.unsqueeze(1)
        mine = (batch.unsqueeze(0) == batch.unsqueeze(1)).double() * scale
        pairs = mine * (-vec.square().sum(-1)).exp()
        energy = pos.new_zeros(int(batch.max()) + 1).index_add(0, batch, pairs.sum(1) / 2)
        # row i of vec holds pos[j] - pos[i]
        forces = -2 * (pairs.unsqueeze(-1) * vec).sum(1)
        forces = self.factor * forces
        forces[1, 2] += self.extra
        return {"energy": energy, "forces": forces}


@pytest.mark.parametrize("batch", [None, [0, 0, 0], [1, 0, 1]])
def test_passes_exact_forces_of_one_and_of_several_graphs(batch: list[int] | None) -> None:
    assert_forces_match_finite_differences(Pairs(), Z, POS, None if batch is None else torch.tensor(batch))


def test_passes_further_inputs_on() -> None:
    assert_forces_match_finite_differences(Pairs(), Z, POS, scale=100.0)


@pytest.mark.parametrize("factor", [-1.0, 0.0, 1.0001])
def test_fails_forces_of_another_sign_or_scale(factor: float) -> None:
    with pytest.raises(AssertionError, match="forces are not the derivative of the energy: off by"):
        assert_forces_match_finite_differences(Pairs(factor), Z, POS)


def test_tells_the_size_the_atom_and_the_direction() -> None:
    with pytest.raises(AssertionError, match=r"off by 1\.00e-03 eV/Å \(allowed .*\) for atom 1 along z"):
        assert_forces_match_finite_differences(Pairs(extra=1e-3), Z, POS)
    assert_forces_match_finite_differences(Pairs(extra=1e-3), Z, POS, tolerance=1e-2)


def test_fails_nan_and_forces_of_another_shape() -> None:
    with pytest.raises(AssertionError, match="off by"):
        assert_forces_match_finite_differences(Pairs(extra=float("nan")), Z, POS)
    with pytest.raises(AssertionError, match=r"forces must have shape \(3, 3\), got \(3,\)"):
        assert_forces_match_finite_differences(
            lambda z, pos, batch: {"energy": pos.sum(), "forces": -pos[:, 0]}, Z, POS
        )


def test_float32_is_refused() -> None:
    with pytest.raises(ValueError, match=r"need float64 positions and weights, got torch\.float32"):
        assert_forces_match_finite_differences(Pairs(), Z, POS.float())
