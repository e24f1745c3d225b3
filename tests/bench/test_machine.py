import pytest
import torch

from pyg_equiformer.bench.machine import choose_device, copy_rate, cores, product_rate

CPU = torch.device("cpu")


def test_rates_are_positive_numbers():
    assert product_rate(CPU, size=64) > 0
    assert copy_rate(CPU, numbers=1000) > 0


def test_devices_are_checked():
    assert choose_device("cpu") == CPU
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ValueError, match="expected auto, cpu or cuda, got 'tpu'"):
        choose_device("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="there is no CUDA device"):
            choose_device("cuda")


def test_there_is_a_core_to_run_on():
    assert cores() >= 1
