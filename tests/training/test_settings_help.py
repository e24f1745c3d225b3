import dataclasses

import pytest
from rich.console import Console

from pyg_equiformer.data import ReadOptions
from pyg_equiformer.models import EquiformerConfig
from pyg_equiformer.training import TrainConfig
from pyg_equiformer.training.settings_help import described, settings_help


@pytest.mark.parametrize("cls", [TrainConfig, ReadOptions])
def test_every_setting_has_its_default_and_an_explanation(cls):
    found = described(cls)
    assert list(found) == [f.name for f in dataclasses.fields(cls)]
    for name, (default, text) in found.items():
        assert default == getattr(cls(), name)
        assert len(text) > 10, name
        assert "`" not in text
        assert "\n" not in text


def test_the_help_shows_all_of_them():
    console = Console(width=120)
    with console.capture() as capture:
        console.print(settings_help())
    shown = capture.get()
    for cls in (TrainConfig, ReadOptions, EquiformerConfig):
        # The precision of the run decides the type that files are read in.
        assert {f.name for f in dataclasses.fields(cls) if f.name not in shown} <= {"dtype"}
    assert "null" in shown


def test_a_setting_without_an_explanation_is_found():
    @dataclasses.dataclass
    class Bare:
        """Nothing much.

        Args:
            one: explained over
                two lines.
        """

        one: int = 1

    assert described(Bare) == {"one": (1, "explained over two lines.")}
    Bare.__doc__ = "Nothing.\n\n    Args:\n        other: not there."
    with pytest.raises(KeyError):
        described(Bare)
