import pytest
import torch
from torch import Tensor

from pyg_equiformer import Equiformer

#: Norms on both sides of each branch, of all types together, in feed-forward networks too.
SANDWICH = {"norm": "merged", "norm_position": "sandwich", "ffn_activation": "norm", "ffn_norms": True}
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]

#: Sizes that keep every feature of a preset and take milliseconds.
TINY = {
    "irreps": "8x0e+4x1e+2x2e",
    "irreps_head": "4x0e+2x1e+1x2e",
    "irreps_ffn": "12x0e+6x1e+3x2e",
    "irreps_feature": "16x0e",
    "heads": 2,
    "num_layers": 2,
    "num_basis": 8,
    "radial_hidden": (16,),
    "attn_dropout": 0.0,
}
TINY_E3 = {
    **TINY,
    "irreps": "8x0e+4x0o+4x1e+4x1o+2x2e+2x2o",
    "irreps_sh": "1x0e+1x1o+1x2e",
    "irreps_head": "4x0e+2x0o+2x1e+2x1o+1x2e+1x2o",
    "irreps_ffn": "8x0e+4x0o+4x1e+4x1o+2x2e+2x2o",
}


@pytest.fixture(params=DEVICES)
def device(request) -> str:
    return request.param


@pytest.fixture
def molecule() -> tuple[Tensor, Tensor]:
    """Ethanol, atomic numbers and positions in Å (float64)."""
    pos = [
        [1.19, -0.38, 0.02], [0.0, 0.56, -0.03], [-1.17, -0.20, 0.25], [-1.94, 0.37, 0.19], [2.11, 0.20, -0.11],
        [1.14, -1.12, -0.78], [1.24, -0.89, 0.99], [0.10, 1.34, 0.75], [-0.05, 1.05, -1.01],
    ]  # fmt: skip
    return torch.tensor([6, 6, 8, 1, 1, 1, 1, 1, 1]), torch.tensor(pos, dtype=torch.float64)


def tiny(preset: str = "small", **settings) -> Equiformer:
    """A tiny float64 model of a preset, in evaluation mode, with every weight random."""
    torch.manual_seed(0)
    base = TINY_E3 if preset == "qm9_e3" else TINY
    model = Equiformer.from_preset(preset, **{**base, **settings}).double().eval()
    for parameter in model.parameters():
        if parameter.dim() <= 1:
            torch.nn.init.normal_(parameter, std=0.5)
    return model
