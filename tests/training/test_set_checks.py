import pickle

import pytest
import torch
from torch_geometric.data import Data

from pyg_equiformer.training.set_checks import Checked, ElementCheck, LabelCheck, check_all


def hydrogen(gap=1.0, z=1):
    return Data(z=torch.tensor([z]), pos=torch.zeros(1, 3), gap=torch.tensor([gap]))


GAPS = LabelCheck("the test set", ("gap",))


def test_labels_that_are_missing_or_not_finite_are_named():
    check_all([hydrogen()], GAPS)
    for bad in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="structure 1 of the test set has gap that are NaN or infinite"):
            check_all([hydrogen(), hydrogen(bad)], GAPS)
    with pytest.raises(ValueError, match="structure 0 of the test set has no gap, expected gap"):
        check_all([Data(z=torch.tensor([1]))], GAPS)


def test_masked_labels_may_be_nan_but_not_infinite():
    masked = LabelCheck("the test set", ("gap",), masked=True)
    check_all([hydrogen(float("nan"))], masked)
    with pytest.raises(ValueError, match="structure 0 of the test set has gap that are infinite"):
        check_all([hydrogen(float("-inf"))], masked)


def test_other_elements_are_named():
    check = ElementCheck("more.xyz", (1, 8))
    check_all([hydrogen(), hydrogen(z=8)], check)
    with pytest.raises(ValueError, match=r"structure 1 of more.xyz has atomic numbers \[6\], which .* \(\[1, 8\]\)"):
        check_all([hydrogen(), hydrogen(z=6)], check)


def test_streamed_structures_are_checked_when_they_are_asked_for():
    checked = Checked([hydrogen(), hydrogen(float("nan")), hydrogen(z=6)], GAPS, ElementCheck("the test set", (1,)))
    assert len(checked) == 3
    assert float(checked[0].gap) == 1.0
    with pytest.raises(ValueError, match="structure 1 of the test set has gap"):
        checked[1]
    with pytest.raises(ValueError, match="structure 2 of the test set has atomic numbers"):
        checked[2:]
    # Workers get a copy.
    assert float(pickle.loads(pickle.dumps(checked))[0].gap) == 1.0
