"""The Triton engine: its checks in processes of their own, since Triton decides at its import where kernels run."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")

PLAN = """
import torch
from e3nn.o3 import Irreps
from pyg_equiformer.o3 import Layout, coupling_plan
plan = coupling_plan(Layout("32x0e+16x1e"), Irreps("0e+1e"), Irreps("0e+1e"))
"""


def run(*arguments: str, interpret: bool = False) -> str:
    env = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    if interpret:
        env["TRITON_INTERPRET"] = "1"
    done = subprocess.run([sys.executable, *arguments], env=env, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    return done.stdout


@needs_triton
@pytest.mark.parametrize("interpret", [True, pytest.param(False, marks=needs_gpu)], ids=["interpreter", "GPU"])
def test_every_check_of_the_engine_passes(interpret: bool) -> None:
    report = run("-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE / "triton_checks.py"), interpret=interpret)
    assert "passed" in report


@needs_triton
def test_kernel_compiles_for_a_gpu_that_is_not_there_with_exact_constants(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = """
import triton.language as tl
from triton import compile
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from pyg_equiformer.kernels.engines.triton_kernels import derivatives_kernel as kernel, launches, pair_terms

constants = {**dict(launches(plan, pair_terms(plan)))[3], "ACC": tl.float64}
names = [p.name for p in kernel.params]
pointers = {n: "*fp64" for n in names[:11]} | {"source": "*i64", "target": "*i64", "edges": "i32"}
for absent in (("grad", "out_x", "out_sh", "out_weight"), ("out_product",)):
    fixed = constants | dict.fromkeys(absent)
    signature = {n: "constexpr" if n in fixed else pointers[n] for n in names}
    source = ASTSource(kernel, signature, {(names.index(n),): v for n, v in fixed.items()})
    binary = compile(source, target=GPUTarget("cuda", 90, 32), options={"enable_fp_fusion": True})
    assert binary.asm["cubin"]
    print(binary.asm["ttir"])
"""
    (tmp_path / "code.py").write_text(PLAN + code)
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    text = run(str(tmp_path / "code.py"))
    assert f"{0.5**0.5:.15f}"[:-1] in text  # √3/√6 of 1e x 1e -> 1e, not rounded to float32


@needs_triton
@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_engine_says_what_it_needs_where_there_is_no_gpu_and_torch_takes_over() -> None:
    code = """
import warnings
from pyg_equiformer.kernels.engines import choose_engine
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    assert choose_engine("triton", plan, torch.device("cpu"), torch.float32) == "torch"
print(*(w.message for w in caught))
"""
    said = run("-c", PLAN + code)
    assert "TRITON_INTERPRET=1" in said
    assert "cpu" in said


def test_without_triton_the_package_imports_and_the_engine_names_the_extra() -> None:
    code = """
import sys
sys.modules["triton"] = None
from pyg_equiformer.kernels.engines import engine_module
print(engine_module("triton").refusal(plan, torch.device("cpu"), torch.float32))
"""
    assert "pip install triton" in run("-c", PLAN + code)
