"""What the README says can be run, runs."""

import re
import shlex
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


RUNNABLE = [b for b in BLOCKS if "checkpoint.pth" not in b]
#: Compiling takes minutes.
MARKED = [pytest.param(b, marks=pytest.mark.slow) if "export_model(" in b else b for b in RUNNABLE]


@pytest.mark.parametrize(
    "code",
    MARKED,
    ids=[
        *("training", "dynamics", "travel", "torchsim", "inside", "layer"),
        *("model", "inputs", "periodic", "export", "dense"),
    ],
)
def test_the_python_examples_run_as_they_stand(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if "torch_sim" in code:
        pytest.importorskip("torch_sim", reason="needs Python 3.11")
    exec(compile(code, "README.md", "exec"), {})


def test_the_layer_example_is_short():
    code = next(b for b in BLOCKS if "EquiformerConv(" in b)
    assert len([line for line in code.splitlines() if line.strip()]) <= 20


def test_every_file_and_folder_in_the_map_exists():
    root = Path(__file__).parents[1]
    block = README[README.index("## Map") : README.index("## Licence")]
    for name in re.findall(r"^ {6}(\w+[/.]\w*)", block, flags=re.MULTILINE):
        assert (root / "pyg_equiformer" / name).exists(), name
    for name in re.findall(r"^ {4}(\w+/) ", block, flags=re.MULTILINE):
        assert (root / name).exists(), name


def test_the_commands_install_with_the_constraints():
    for line in re.findall(r"^pip install .*$", README, flags=re.MULTILINE):
        first = shlex.split(line.split("&&")[0])
        assert "-c" in first or first[2:] == ["setuptools", "wheel"], line
