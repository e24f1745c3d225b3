"""Imports run one way through the package, as the folders promise."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "pyg_equiformer"

#: What each part may import of the package, beside itself.
BASE = {"keys", "units"}
ALLOWED = {
    "keys": set(),
    "units": set(),
    "o3": BASE,
    "neighbors": BASE,
    "kernels": BASE | {"o3"},
    "nn": BASE | {"o3", "kernels"},
    "conv": BASE | {"o3", "kernels", "nn"},
    "models": BASE | {"o3", "kernels", "nn", "conv", "neighbors"},
    "checkpoints": BASE | {"o3", "kernels", "nn", "conv", "neighbors", "models"},
    "data": BASE | {"neighbors"},
    "testing": BASE | {"o3"},
    "reference": BASE | {"neighbors", "models", "checkpoints"},
    "training": BASE | {"o3", "kernels", "nn", "conv", "neighbors", "models", "checkpoints", "data"},
}
#: Optional packages and the parts that may import them at the top of a file; elsewhere inside functions only.
OPTIONAL = {"ase", "tblite", "rdkit", "lightning", "matplotlib", "typer", "rich", "vesin", "nvalchemiops", "yaml"}
OPTIONAL |= {"biotite", "lmdb", "ase_db_backends", "tensorboard", "wandb"}


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


FILES = sorted(p for p in PACKAGE.rglob("*.py") if p.parent != PACKAGE or p.name not in ("__init__.py", "cli.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_each_file_imports_only_from_below(path):
    part = _part(path)
    for name, _ in _imports(path):
        if name[0] == "pyg_equiformer" and len(name) > 1:
            assert name[1] == part or name[1] in ALLOWED[part], f"{part} may not import {'.'.join(name)}"


# Training is the part that needs Lightning and matplotlib.
@pytest.mark.parametrize(
    "path", [f for f in FILES if _part(f) != "training"], ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_optional_packages_are_imported_where_they_are_needed_only(path):
    top = {name[0] for name, at_top in _imports(path) if at_top}
    assert not top & OPTIONAL


def test_the_package_imports_without_any_optional_package():
    import subprocess
    import sys

    block = "import sys\nfor name in %r: sys.modules[name] = None\n" % sorted(OPTIONAL)  # noqa: UP031
    code = block + "import pyg_equiformer, pyg_equiformer.data, pyg_equiformer.reference, pyg_equiformer.testing"
    subprocess.run([sys.executable, "-c", code], check=True)
