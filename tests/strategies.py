"""Hypothesis strategies and devices that several folders of tests share."""

import torch
from e3nn.o3 import Irrep, Irreps
from hypothesis import strategies as st

DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])

irrep_types = st.tuples(st.integers(0, 3), st.sampled_from([-1, 1])).map(lambda t: Irrep(*t))
#: Irreps in any order, with duplicates, both parities, and entries of multiplicity zero.
any_irreps = (
    st.lists(st.tuples(st.integers(0, 4), irrep_types), min_size=1, max_size=5)
    .map(Irreps)
    .filter(lambda irreps: irreps.dim > 0)
)
