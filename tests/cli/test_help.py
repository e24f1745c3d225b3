import dataclasses
import re
import subprocess
import sys

import pytest
import typer

from pyg_equiformer.cli import app, seconds

from .command import call, fine, one_red_line

COMMANDS = ("train", "resume", "eval", "predict", "share", "export", "relax", "md")
COMMANDS += ("sample", "denoise", "bench", "fold")


def test_version_is_that_of_the_package():
    assert re.fullmatch(r"pyg_equiformer \d+\.\d+\.\d+\n", fine(call("--version")))


def test_without_a_command_the_commands_are_shown_in_the_order_of_their_use():
    text = fine(call())
    assert text.strip() == fine(call("--help")).strip()
    places = [re.search(rf"^. {name} ", text, flags=re.MULTILINE).start() for name in COMMANDS]
    assert places == sorted(places)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_tells_of_every_argument_and_option_within_80_columns(name):
    text = fine(call(name, "--help", COLUMNS="80"))
    assert max(map(len, text.splitlines())) <= 80
    command = typer.main.get_command(app).commands[name]
    for parameter in command.params:
        told = [o for o in parameter.opts if o.startswith("-")] or [parameter.metavar or parameter.name]
        assert all(word in text for word in told), told
        assert parameter.help, parameter.name


def test_help_names_units_and_defaults():
    text = " ".join(fine(call("sample", "--help")).split())
    for word in ("1200", "in K", "500.0", "in fs", "20.0", "eV/Å"):
        assert word in text
    text = " ".join(fine(call("train", "--help")).split())
    for word in ("qm9:gap", "rmd17:aspirin", "labels.csv", "md17_l3", "20m", "resume RUN", "--settings explains"):
        assert word in text


def test_help_loads_neither_torch_nor_what_the_commands_need():
    code = """
import sys
from pyg_equiformer.cli import app
for arguments in (["--help"], *([name, "--help"] for name in sys.argv[1:])):
    try:
        app(arguments)
    except SystemExit as error:
        assert error.code in (None, 0)
print("loaded:", sorted({"torch", "lightning", "ase", "matplotlib", "numpy", "yaml"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code, *COMMANDS], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded: []"


def test_settings_explains_every_setting_within_80_columns():
    from pyg_equiformer import EquiformerConfig
    from pyg_equiformer.data import ReadOptions
    from pyg_equiformer.training import TrainConfig

    text = fine(call("train", "--settings", COLUMNS="80"))
    assert max(map(len, text.splitlines())) <= 80
    shown = set(re.findall(r"^  (\w+)  ", text, flags=re.MULTILINE))
    for cls in (TrainConfig, ReadOptions, EquiformerConfig):
        assert {f.name for f in dataclasses.fields(cls)} - shown <= {"dtype"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--epoch", "3"], "No such option: --epoch .*--epochs.*; .* train --help tells what there is"),
        (["train", "--epochs", "0"], "--epochs.*greater than or equal to 1|--epochs.*x>=1"),
        (["train", "--epochs", "many"], "--epochs.*integer"),
        (["train", "--max-time"], "--max-time.* requires an argument"),
        (["trian"], "No such command 'trian'. Did you mean 'train'"),
        (["predict", "run"], "Missing argument"),
        (["resume"], "Missing argument"),
        (["predict", "run", "a.xyz"], "Missing option.*--out"),
        (["--nonsense"], "No such option: --nonsense"),
    ],
)
def test_wrong_words_give_one_line_that_names_the_help(arguments, message):
    error = one_red_line(call(*arguments))
    assert re.search(message, error), error
    assert "--help tells what there is" in error


@pytest.mark.parametrize(("text", "value"), [("90s", 90.0), ("20m", 1200.0), ("1.5h", 5400.0), ("45", 45.0)])
def test_durations(text, value):
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "m", "-3s", "0", "nan", "inf", "5d"])
def test_bad_durations(text):
    with pytest.raises(ValueError, match="expected a duration"):
        seconds(text)


@pytest.mark.parametrize(("missing", "words"), [("typer", ["--help"]), ("lightning", ["train"])])
def test_a_missing_package_is_named_with_its_extra(missing, words):
    code = f"import sys; sys.modules[{missing!r}] = None; from pyg_equiformer.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert 'pip install "pyg_equiformer[train]"' in done.stderr
    assert done.stderr.count("\n") == 1
