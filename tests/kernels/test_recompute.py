"""Recomputation gives the same values and derivatives, and stores nothing but its inputs."""

import torch
from torch import Tensor, nn

from pyg_equiformer.kernels import recompute, recompute_with


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(3, 16), nn.SiLU(), nn.Dropout(0.4), nn.Linear(16, 1)).double()
        self.other = nn.Linear(2, 2).double()

    def energies(self, groups: list[Tensor]) -> list[Tensor]:
        x, y = groups
        return [self.inner(x * y).sum(), (x * y).sin().sum()]


def inputs() -> list[Tensor]:
    draw = torch.Generator().manual_seed(0)
    return [torch.randn(5, 3, generator=draw, dtype=torch.float64).requires_grad_() for _ in range(2)]


def derivatives(out: tuple[Tensor, ...], net: Net, x: list[Tensor]) -> list[Tensor]:
    """First derivatives, and those of a function of them."""
    first = torch.autograd.grad(out[0] + out[1] ** 2, x, create_graph=True)
    wanted = [*x, *(p for n, p in net.inner.named_parameters() if n != "3.bias")]  # no slope depends on the last bias
    return [*out, *first, *torch.autograd.grad(sum((g**3).sum() for g in first), wanted)]


def test_first_and_second_derivatives_are_those_of_the_stored_computation_dropout_included() -> None:
    net, x = Net(), inputs()
    torch.manual_seed(1)
    expected = derivatives(tuple(net.energies(x)), net, x)
    torch.manual_seed(1)
    found = derivatives(recompute_with(net, net.energies, x, skip=("other",)), net, x)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_later_random_numbers_are_those_that_would_have_come_without_recomputation() -> None:
    net, x = Net(), inputs()
    torch.manual_seed(1)
    net.energies(x)
    expected = torch.rand(3)
    torch.manual_seed(1)
    derivatives(recompute_with(net, net.energies, x), net, x)
    assert torch.equal(torch.rand(3), expected)


def test_third_derivatives_pass_gradgradcheck() -> None:
    (x, y) = inputs()

    def slope(a: Tensor, b: Tensor) -> Tensor:
        (out,) = recompute(lambda a, b: ((a * b).sin() * a,), a, b)
        return torch.autograd.grad(out.sum(), a, create_graph=True)[0]

    assert torch.autograd.gradcheck(slope, (x, y))
    assert torch.autograd.gradgradcheck(slope, (x, y))


def test_only_the_inputs_are_stored() -> None:
    net, x = Net(), inputs()
    stored = 0

    def count(t: Tensor) -> Tensor:
        nonlocal stored
        stored += t.numel()
        return t

    with torch.autograd.graph.saved_tensors_hooks(count, lambda t: t):
        recompute_with(net, net.energies, x)
    assert stored == sum(t.numel() for t in (*x, *net.parameters()))


def test_an_input_that_is_not_used_gets_a_gradient_of_zero() -> None:
    x, y = inputs()
    (out,) = recompute(lambda a, b: (a.exp().sum(),), x, y)
    assert torch.autograd.grad(out, y)[0].abs().max() == 0
