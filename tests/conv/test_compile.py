"""The layer as one compiled graph with dynamic shapes."""

import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch

from ..strategies import DEVICES
from .samples import edge_weights, every_kind, every_message, make_conv, make_graph, random_edges

needs_compiler = pytest.mark.skipif(
    not any(shutil.which(name) for name in ("g++", "c++", "clang++")), reason="torch.compile needs a C++ compiler"
)
SMALL = {"irreps_in": "2x0e+2x1e", "irreps_sh": "0e+1e", "radial_hidden": (4,)}
SIZES = [(6, 14), (9, 30)]


@pytest.fixture(autouse=True)
def _forget_compiled_code() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@needs_compiler
@every_message
@pytest.mark.parametrize("device", DEVICES)
def test_one_graph_of_dynamic_shapes_serves_two_sizes_without_recompiling(message: str, device: str) -> None:
    conv = make_conv(**SMALL, message=message).to(device).requires_grad_(False)
    compiled = torch.compile(conv, fullgraph=True, dynamic=True)
    for stance, (nodes, edges) in zip(["default", "fail_on_recompile"], SIZES):
        graph = make_graph(conv, random_edges(nodes, edges), num_nodes=nodes, device=device)
        expected = conv(*graph)
        with torch.compiler.set_stance(stance):
            assert torch.allclose(compiled(*graph), expected, rtol=0, atol=1e-11)


FRESH_PROGRAM = """
import torch
from pyg_equiformer import EquiformerConv

conv = EquiformerConv("2x0e+2x1e", irreps_sh="0e+1e", edge_dim=3, heads=2, radial_hidden=(4,))
compiled = torch.compile(conv, fullgraph=True, dynamic=True, backend="eager")
for stance, nodes, edges in [("default", 6, 14), ("fail_on_recompile", 9, 30)]:
    inputs = torch.randn(nodes, 8), torch.randint(nodes, (2, edges)), torch.randn(edges, 4), torch.randn(edges, 3)
    with torch.compiler.set_stance(stance):
        out = compiled(*inputs)
    assert torch.allclose(out, conv(*inputs), atol=1e-5)
"""


@pytest.mark.slow
def test_in_a_fresh_program_a_call_without_the_compiler_does_not_make_it_compile_again() -> None:
    done = subprocess.run([sys.executable, "-c", FRESH_PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.slow
@every_kind
def test_gradients_through_the_captured_graph_equal_those_of_the_layer(attention: str, message: str) -> None:
    conv = make_conv("E(3)", attention=attention, message=message, rescale_degree=True)
    compiled = torch.compile(conv, fullgraph=True, dynamic=True, backend="aot_eager")
    graph, u = make_graph(conv), edge_weights(14)
    results = []
    for layer in (conv, compiled):
        inputs = [v.detach().requires_grad_() for v in (graph.x, graph.edge_sh, graph.edge_attr)]
        out = layer(inputs[0], graph.edge_index, *inputs[1:], edge_weight=u)
        results.append((out, *torch.autograd.grad(out.sin().sum(), [*inputs, *conv.parameters()])))
    for a, b in zip(*results, strict=True):
        assert torch.allclose(a, b, rtol=1e-10, atol=1e-10)
