import pytest

from pyg_equiformer.bench import BenchSettings, Variant
from pyg_equiformer.bench.peers import PEERS


def test_what_is_left_out_is_filled_in():
    settings = BenchSettings("qm9_linear", scaling=("all",))
    assert settings.molecules == 32
    assert settings.threads >= 1
    assert settings.device in ("cpu", "cuda")
    assert settings.peers == tuple(name for name in PEERS if name != "pyg_equiformer")
    assert settings.scaling == ("atoms", "degree", "lmax", "channels")
    assert BenchSettings("md17").molecules == 8


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"preset": "qm8"}, "there is no preset 'qm8'.*did you mean qm9"),
        ({"peers": ("mace",)}, "there is no peer 'mace', expected some of"),
        ({"scaling": ("size",)}, "there is no axis 'size', expected all or some of atoms"),
        ({"molecules": 0}, "--molecules: expected at least 1, got 0"),
        ({"repeats": 0}, "--repeats: expected at least 1, got 0"),
        ({"threads": 0}, "--threads: expected at least 1, got 0"),
        ({"device": "gpu"}, "--device: expected auto, cpu or cuda"),
        ({"variants": ()}, "at least one variant"),
        ({"variants": (Variant(checkpoint="all"),)}, "checkpoint must be one of"),
    ],
)
def test_wrong_settings_are_told(wrong, message):
    with pytest.raises(ValueError, match=message):
        BenchSettings(**wrong)
