import pytest
import torch

from pyg_equiformer.data import ReadOptions


def test_lists_of_targets_become_tuples():
    assert ReadOptions(targets=["energy", "gap"]).targets == ("energy", "gap")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bad_frames": "drop"}, r"bad_frames: expected one of \('error', 'skip'\), got 'drop'"),
        ({"missing_labels": "nan"}, "missing_labels: expected one of .*'mask'"),
        ({"duplicates": "mask"}, "duplicates: expected one of .*'keep'"),
        ({"in_memory": "yes"}, "in_memory: expected True, False or None"),
        ({"dtype": torch.int64}, "expected a floating point type"),
        ({"targets": "energy"}, "targets: expected names such as"),
        ({"targets": ("energy", "energy")}, "expected each name once"),
        ({"targets": ("pos",)}, "fields of the structure itself"),
        ({"units": "eV"}, "units: expected texts by name"),
        ({"names": {"energy": 3}}, "names: expected texts by name"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ReadOptions(**options)
