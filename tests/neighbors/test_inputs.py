"""What `radius_graph` refuses, and how it says so."""

import math

import pytest
import torch

from pyg_equiformer.neighbors import libraries, radius_graph

POS = torch.zeros(3, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pos": [[0.0, 0.0, 0.0]]}, "pos to be a tensor.*list"),
        ({"pos": torch.zeros(3)}, r"\[N, 3\], got \[3\]"),
        ({"pos": torch.zeros(3, 2)}, r"\[N, 3\], got \[3, 2\]"),
        ({"pos": torch.zeros(3, 3, dtype=torch.int64)}, "float32 or float64, got torch.int64"),
        ({"pos": torch.zeros(3, 3, dtype=torch.bfloat16)}, "float32 or float64, got torch.bfloat16"),
        ({"pos": torch.tensor([[0.0, 0, 0], [0, torch.nan, 0]])}, "finite.*nan.*atom 1"),
        ({"pos": torch.tensor([[0.0, 0, -torch.inf], [0, 0, 0]])}, "finite.*inf.*atom 0"),
        ({"r": 0.0}, "r to be a positive, finite number in Å, got 0.0"),
        ({"r": -1.0}, "positive"),
        ({"r": math.inf}, "finite"),
        ({"r": math.nan}, "finite"),
        ({"r": "5"}, "number"),
        ({"r": None}, "number"),
        ({"batch": [0, 0, 0]}, "batch to be a tensor or None, got list"),
        ({"batch": torch.zeros(2, dtype=torch.int64)}, r"shape \[3\], as pos, got \[2\]"),
        ({"batch": torch.zeros(3, 1, dtype=torch.int64)}, r"got \[3, 1\]"),
        ({"batch": torch.zeros(3)}, "integers, got torch.float32"),
        ({"batch": torch.zeros(3, dtype=torch.bool)}, "integers, got torch.bool"),
        ({"batch": torch.tensor([0, -1, 0])}, "≥ 0, got -1"),
        ({"batch": torch.zeros(3, dtype=torch.int64, device="meta")}, "batch on cpu, as pos, got meta"),
        ({"max_num_neighbors": 0}, "≥ 1.*got 0"),
        ({"max_num_neighbors": 2.5}, "integer"),
        ({"max_num_neighbors": True}, "integer"),
        ({"engine": "cells"}, "engine.*'cells'"),
    ],
)
def test_bad_input_is_refused_with_what_was_given_and_expected(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        radius_graph(**{"pos": POS, "r": 1.0, **arguments})


@pytest.mark.parametrize(("engine", "extra"), [("vesin", "train"), ("nvalchemi", "gpu")])
def test_an_engine_that_is_not_installed_names_its_extra(
    engine: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(libraries, f"has_{engine}", lambda: False)
    with pytest.raises(ImportError, match=rf"pyg_equiformer\[{extra}\]"):
        radius_graph(POS, 1.0, engine=engine)


def test_vesin_refuses_other_devices() -> None:
    if not libraries.has_vesin():
        pytest.skip("vesin is not installed")
    with pytest.raises(ValueError, match=r"on the CPU.*cuda"):
        libraries.check_library("vesin", torch.device("cuda", 0))
