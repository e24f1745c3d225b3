"""Every engine on this device against the default one in float64 on the CPU: products, then a whole network."""

import copy
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from types import ModuleType
from typing import Any

import torch
from e3nn.o3 import Irreps
from torch import Tensor

from pyg_equiformer.kernels import EngineWarning, Message, coupling_matrices, depthwise_product, engine_module
from pyg_equiformer.kernels.engines import AUTOMATIC
from pyg_equiformer.models import EnergyForces, Equiformer, EquiformerConfig
from pyg_equiformer.o3 import CouplingPlan, Layout, SphericalHarmonics, coupling_plan

from .choices import values_of
from .pieces import DONE, FAILED, LeftOut, Session, Work

#: Largest error beside the largest value of a tensor. Products in TF32 are beyond that of float32.
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}
#: The same for precisions of products: errors are told, and bounded against nonsense. Gradients of a loss of forces
#: are the worst, in a network with as few channels as this one.
PRECISIONS = {"float32": 1e-4, "tf32": 0.03, "bf16": 0.3}

#: Irreps of features, harmonics and products.
PRODUCTS = {
    "SE(3)": ("8x0e+4x1e+2x2e", "0e+1e+2e", "0e+1e+2e"),
    "E(3)": ("4x0e+3x0o+4x1e+2x1o+2x2e", "0e+1o+2e", "0e+0o+1e+1o+2e"),
    "degree 3": ("6x0e+5x1e+4x2e+3x3e", "0e+1e+2e+3e", "0e+1e+2e+3e"),
    "qm9": ("128x0e+64x1e+32x2e", "0e+1e+2e", "0e+1e+2e"),
}
NODES, EDGES = 12, 60
#: Features as sums over both nodes of an edge with weights, and features of edges without weights.
FORMS = ("nodes", "edges")

NETWORK: dict[str, Any] = {
    "irreps": "8x0e+4x1e+2x2e",
    "irreps_head": "4x0e+2x1e+1x2e",
    "irreps_sh": "1x0e+1x1e+1x2e",
    "irreps_ffn": "12x0e+6x1e+3x2e",
    "irreps_feature": "8x0e",
    "heads": 2,
    "num_layers": 2,
    "num_basis": 8,
    "radial_hidden": (8,),
    "attn_dropout": 0.0,
}
MESSAGES = ("nonlinear", "linear")
ORDERS = ("values", "first derivatives", "second derivatives")
PARTS = ("energy", "forces", "gradients of a loss")


class NotServed(Exception):
    """The engine that was asked for does not serve this case."""


def check_engine(engine: str, work: Work) -> dict[str, Any]:
    """Compare an engine with the default one, values and both derivatives, and a network with it."""
    s, module = work.session, engine_module(engine)
    rows: list[dict[str, Any]] = []
    for case, irreps in PRODUCTS.items():
        if s.tiny and case != "SE(3)":
            continue
        plan = coupling_plan(Layout(irreps[0]), Irreps(irreps[1]), Irreps(irreps[2]))
        for dtype, bound in TOLERANCE.items():
            for form in FORMS:
                work.clock.check(f"product {case}, {dtype}")
                told = {"what": "product", "case": f"{case}, {form}", "dtype": _name(dtype)}
                rows.append(_judge(told, bound, partial(_product_errors, module, plan, form, s.device, dtype)))
    if all("refused" in row for row in rows):
        return {"refused": rows[0]["refused"], "checks": rows}
    rows += _network_rows({"engine": engine}, work)
    return _verdict(rows)


def check_choice(choice: str, work: Work) -> dict[str, Any]:
    """Compare networks that have something chosen with one that has not."""
    rows: list[dict[str, Any]] = []
    # Each network that is compiled takes a minute or more.
    messages = MESSAGES[:1] if choice == "compile" else MESSAGES
    for value in values_of(choice):
        if choice == "precision" and value != "float64":
            rows += _network_rows({choice: value}, work, {torch.float32: PRECISIONS[value]}, messages)
        else:
            rows += _network_rows({choice: value}, work, TOLERANCE, messages)
    return _verdict(rows)


def failing(session: Session, name: str) -> str | None:
    """Return why an engine or a choice should not be timed: not checked, failed, or cannot serve; None if it may."""
    result = session.result(f"correctness:{name}")
    if not result:
        return f"{name} was not checked"
    if result["state"] != DONE:
        return f"{name} is not correct here: {result.get('error', '; '.join(result.get('failures', ())))}"
    return result.get("refused")


def require_default(session: Session) -> None:
    """Raise `LeftOut` if the engines that serve by default are not known to be correct."""
    for engine in {"torch", *AUTOMATIC.get(session.device.type, ())[:1]}:
        reason = failing(session, engine)
        if reason is not None:
            raise LeftOut(reason)


def _verdict(rows: list[dict[str, Any]]) -> dict[str, Any]:
    failures = [f"{row['what']} {row['case']} ({row['dtype']}): {_told(row)}" for row in rows if not row["passed"]]
    return {"state": FAILED if failures else DONE, "failures": failures, "checks": rows}


def _told(row: dict[str, Any]) -> str:
    if "error" in row:
        return str(row["error"])
    return ", ".join(f"{k} off by {v:.1e}" for k, v in row["errors"].items()) + f", allowed {row['bound']:g}"


def _judge(row: dict[str, Any], bound: float, measure: Callable[[], dict[str, float]]) -> dict[str, Any]:
    """Add errors and whether they are small enough, or why there are none."""
    try:
        errors = measure()
    except NotServed as reason:
        return {**row, "passed": True, "refused": str(reason)}
    except Exception as error:  # whatever a package raises is a finding
        return {**row, "passed": False, "error": f"{type(error).__name__}: {str(error)[:500]}"}
    return {**row, "passed": all(e <= bound for e in errors.values()), "bound": bound, "errors": errors}


def _product_errors(
    module: ModuleType, plan: CouplingPlan, form: str, device: torch.device, dtype: torch.dtype
) -> dict[str, float]:
    refusal = module.refusal(plan, device, dtype)
    if refusal is not None:
        raise NotServed(refusal)
    inputs, nodes = _inputs(plan, form)
    expected = _derivatives(lambda x: _product(_oracle, plan, x, nodes), inputs)
    moved = [x.detach().to(device, dtype).requires_grad_() for x in inputs]
    index = nodes.to(device)
    found = _derivatives(lambda x: _product(module.message_product, plan, x, index), moved)
    return {order: max(map(_relative, a, b)) for order, a, b in zip(ORDERS, found, expected)}


def _inputs(plan: CouplingPlan, form: str) -> tuple[list[Tensor], Tensor]:
    """Features, vectors of edges, weights; and the nodes of the edges. Values are such that float32 holds them."""
    g = torch.Generator().manual_seed(0)
    dim = plan.layout_in.dim
    shapes = [(NODES, dim), (NODES, dim), (EDGES, 3), (EDGES, plan.weight_numel)]
    if form == "edges":
        shapes = [(EDGES, dim), (EDGES, 3)]
    inputs = [torch.randn(*shape, generator=g).double().requires_grad_() for shape in shapes]
    return inputs, torch.randint(NODES, (2, EDGES), generator=g)


def _oracle(plan: CouplingPlan, coefficients: Tensor, edge_sh: Tensor, message: Message, weight: Tensor | None) -> Any:
    return depthwise_product(plan, coupling_matrices(plan, coefficients, edge_sh), message.dense(), weight)


def _product(engine: Callable[..., Any], plan: CouplingPlan, inputs: Sequence[Tensor], nodes: Tensor) -> Tensor:
    """All parts side by side, as a function of features, vectors of the edges and weights."""
    split, weight = plan.layout_in.split, None
    if len(inputs) == 2:
        x, vec = inputs
        message = Message(split(x))
    else:
        src, dst, vec, weight = inputs
        message = Message(split(src), split(dst), nodes[0], nodes[1])
    edge_sh = SphericalHarmonics(plan.irreps_sh).to(vec.device, vec.dtype)(vec)
    parts = engine(plan, plan.coefficients.to(vec.device, vec.dtype), edge_sh, message, weight)
    dense = [u if isinstance(u, Tensor) else u.dense() for pieces in parts for u in pieces]
    return torch.cat([u.flatten(1) for u in dense], dim=1)


def _derivatives(function: Callable[[Sequence[Tensor]], Tensor], inputs: Sequence[Tensor]) -> list[list[Tensor]]:
    """Values, first derivatives, and derivatives of a function of the first ones."""
    out = function(inputs)
    first = torch.autograd.grad(out.sin().sum(), inputs, create_graph=True)
    second = torch.autograd.grad(torch.cat([g.flatten() for g in first]).square().sum(), inputs)
    return [[out], list(first), list(second)]


def _network_rows(
    arguments: dict[str, Any],
    work: Work,
    tolerance: dict[torch.dtype, float] = TOLERANCE,
    messages: Sequence[str] = MESSAGES,
) -> list[dict[str, Any]]:
    rows = []
    told = ", ".join(f"{name}={value}" for name, value in arguments.items())
    for message in messages[:1] if work.session.tiny else messages:
        for dtype, bound in tolerance.items():
            work.clock.check(f"network with {told}, {dtype}")
            row = {"what": "network", "case": f"{told}, {message} messages", "dtype": _name(dtype)}
            device = work.session.device
            rows.append(_judge(row, bound, partial(_network_errors, arguments, message, device, dtype)))
    return rows


def _network_errors(
    arguments: dict[str, Any], message: str, device: torch.device, dtype: torch.dtype
) -> dict[str, float]:
    torch.manual_seed(0)
    config = EquiformerConfig(**NETWORK, message=message)  # type: ignore[arg-type]
    model = Equiformer(config, engine="torch")
    other = Equiformer(config, **arguments)
    other.load_state_dict(copy.deepcopy(model.state_dict()))
    expected = _network(model.double())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = _network(other.to(device, dtype))
    for warning in caught:
        # The one warning that says who serves instead; others of its kind are only told.
        if issubclass(warning.category, EngineWarning) and "taking 'torch'" in str(warning.message):
            raise NotServed(str(warning.message))
    return {part: _relative(a, b) for part, a, b in zip(PARTS, found, expected)}


def _network(model: Equiformer) -> list[Tensor]:
    """Energies, forces, and the gradients of a loss of both, of two molecules."""
    weight = next(model.parameters())
    g = torch.Generator().manual_seed(1)
    z = torch.tensor([6, 1, 1, 8, 1, 7, 1, 1, 6])
    pos = 1.6 * torch.randn(len(z), 3, generator=g)
    batch = torch.tensor([0] * 5 + [1] * 4)
    out = EnergyForces(model.train())(z.to(weight.device), pos.to(weight), batch.to(weight.device))
    loss = out["energy"].square().sum() + out["forces"].square().sum()
    weights = list(model.parameters())
    gradients = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
    return [out["energy"], out["forces"], torch.cat([x.flatten() for x in gradients])]


def _relative(found: Tensor, expected: Tensor) -> float:
    """Largest error beside the largest value."""
    if found.shape != expected.shape:
        raise ValueError(f"got shape {tuple(found.shape)}, expected {tuple(expected.shape)}")
    error = (found.detach().double().cpu() - expected.detach()).abs().max()
    return float(error / expected.detach().abs().max().clamp_min(1e-300))


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
