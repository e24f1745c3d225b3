"""Fixed tensors stay exact whatever precisions a module passes through."""

import copy
import pickle

import pytest
import torch
from torch import nn

from pyg_equiformer.o3 import Constants

DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])
THIRD = torch.tensor([1 / 3, 2 / 3], dtype=torch.float64)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("detour", [torch.float32, torch.bfloat16, torch.float16])
def test_a_detour_through_low_precision_loses_nothing(detour: torch.dtype, device: str) -> None:
    constants = Constants(value=THIRD).to(detour).to(device)
    assert constants.value.dtype == detour
    assert constants.value.device.type == device
    assert torch.equal(constants.double().value.cpu(), THIRD)


def test_follow_the_module_that_holds_them() -> None:
    parent = nn.Sequential(nn.Linear(2, 2), Constants(value=THIRD)).float()
    assert torch.equal(parent.double()[1].value, THIRD)
    assert torch.equal(parent.float()[1].value, THIRD.float())


def test_start_in_the_default_precision() -> None:
    assert Constants(value=THIRD).value.dtype == torch.get_default_dtype()


def test_are_not_part_of_checkpoints() -> None:
    assert not Constants(value=THIRD).state_dict()


def test_survive_copy_and_pickle() -> None:
    constants = Constants(value=THIRD)
    for twin in (copy.deepcopy(constants), pickle.loads(pickle.dumps(constants))):
        assert torch.equal(twin.float().double().value, THIRD)


def test_need_no_gradient_even_when_made_from_tensors_that_do() -> None:
    constants = Constants(value=THIRD.clone().requires_grad_())
    assert not constants.value.requires_grad
    assert list(constants.parameters()) == []


def test_get_their_values_when_a_meta_module_becomes_real() -> None:
    constants = Constants(value=THIRD).to("meta").to_empty(device="cpu").double()
    assert torch.equal(constants.value, THIRD)
