"""Flat features and blocks hold the same numbers, for irreps in any order."""

import pytest
import torch
from e3nn.o3 import Irrep, Irreps
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_equiformer.o3 import Layout, as_irreps, count, even_first

from ..strategies import any_irreps

any_lead = st.lists(st.integers(0, 3), max_size=3)
quick = settings(deadline=None, max_examples=100)


@given(any_irreps, any_lead)
@quick
def test_join_is_the_inverse_of_split(irreps: Irreps, lead: list[int]) -> None:
    layout, x = Layout(irreps), torch.randn(*lead, irreps.dim)
    assert torch.equal(layout.join(layout.split(x)), x)


@given(any_irreps, any_lead)
@quick
def test_split_is_the_inverse_of_join(irreps: Irreps, lead: list[int]) -> None:
    layout = Layout(irreps)
    blocks = [torch.randn(*lead, ir.dim, mul) for mul, ir in layout.canonical]
    for given_block, block in zip(blocks, layout.split(layout.join(blocks)), strict=True):
        assert torch.equal(given_block, block)


@given(any_irreps)
@quick
def test_a_block_holds_the_channels_of_its_type_in_the_order_of_the_irreps(irreps: Irreps) -> None:
    x = torch.arange(float(irreps.dim))
    layout = Layout(irreps)
    for ir, block in zip(layout.types, layout.split(x), strict=True):
        channels = [x[s].reshape(mul, ir.dim) for (mul, other), s in zip(irreps, irreps.slices()) if other == ir]
        assert torch.equal(block, torch.cat(channels).t())
        assert block.is_contiguous()


@given(any_irreps)
@quick
def test_blocks_are_sorted_by_degree_even_parity_first_and_merged(irreps: Irreps) -> None:
    layout = Layout(irreps)
    keys = [(ir.l, -ir.p) for ir in layout.types]
    assert keys == sorted(set(keys))
    assert layout.canonical == even_first(irreps)
    assert layout.canonical.dim == irreps.dim
    assert layout.names == [str(ir) for ir in layout.types]
    assert layout.dims == [ir.dim for ir in layout.types]


@given(any_irreps)
@quick
def test_count_adds_up_all_entries_of_a_type(irreps: Irreps) -> None:
    layout = Layout(irreps)
    assert [count(irreps, ir) for ir in layout.types] == layout.channels
    assert sum(layout.channels) == irreps.num_irreps


@given(any_irreps)
@quick
def test_even_first_changes_nothing_the_second_time(irreps: Irreps) -> None:
    assert even_first(even_first(irreps)) == even_first(irreps)


def test_gradients_pass_through_split_and_join_unchanged() -> None:
    layout = Layout("2x1o+3x0e+1x1o+2x2e+1x0e")
    x = torch.randn(4, layout.dim, dtype=torch.float64, requires_grad=True)
    weight = torch.randn_like(x)
    (gradient,) = torch.autograd.grad((layout.join(layout.split(x)) * weight).sum(), x)
    assert torch.equal(gradient, weight)


def test_find_tells_the_block_of_a_type() -> None:
    layout = Layout("2x1o+3x0e+1x1e")
    assert [layout.find(ir) for ir in ("0e", "1e", "1o", "0o")] == [0, 1, 2, None]
    assert layout.find(Irrep("1o")) == 2


def test_layouts_of_equal_irreps_are_equal() -> None:
    assert Layout("2x0e+1x1o") == Layout(Irreps("2x0e+1x1o"))
    assert hash(Layout("2x0e+1x1o")) == hash(Layout(Irreps("2x0e+1x1o")))
    assert Layout("2x0e+1x1o") != Layout("1x1o+2x0e")
    assert Layout("2x0e") != "2x0e"
    assert repr(Layout("2x0e+1x1o")) == "Layout(2x0e+1x1o)"


def test_features_of_another_width_are_refused_with_both_widths() -> None:
    with pytest.raises(ValueError, match=r"2x0e\+1x1o with 5 columns, got shape \(3, 6\)"):
        Layout("2x0e+1x1o").split(torch.zeros(3, 6))


@pytest.mark.parametrize("text", ["abc", "2x0", "3x-1e", "1y0e"])
def test_text_that_is_not_irreps_is_refused_with_the_name_of_the_argument(text: str) -> None:
    with pytest.raises(ValueError, match="irreps_head must be irreps such as"):
        as_irreps(text, "irreps_head")


@pytest.mark.parametrize("text", ["", "0x0e", "0x0e+0x1o"])
def test_empty_irreps_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must hold at least one irrep"):
        as_irreps(text)
