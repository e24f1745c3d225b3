import platform

import pytest

from pyg_equiformer.bench.allocator import KEPT, describe_allocator, unset


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_what_is_set_already_is_left_alone():
    assert unset({}) == KEPT
    mine = {"MALLOC_TRIM_THRESHOLD_": "1"}
    assert set(unset(mine)) == {"MALLOC_MMAP_THRESHOLD_"}
    assert unset({**mine, **unset(mine)}) == {}


def test_another_c_library_needs_nothing(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert unset({}) == {}


def test_the_allocator_is_described_as_it_is_set():
    assert "8 GiB" in describe_allocator(KEPT)
    assert describe_allocator({"MALLOC_TRIM_THRESHOLD_": "1"}) == "MALLOC_TRIM_THRESHOLD_=1"
