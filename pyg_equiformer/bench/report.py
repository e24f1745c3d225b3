"""The result in words and in a table."""

from typing import TYPE_CHECKING, Any

from .timing import TASKS

if TYPE_CHECKING:
    from rich.table import Table


def format_seconds(value: float) -> str:
    """Return a time with three digits.

    Example:
        >>> format_seconds(0.01234), format_seconds(4.1)
        ('12.3 ms', '4.10 s')
    """
    factor, unit = (1.0, "s") if value >= 1 else (1e3, "ms") if value >= 1e-3 else (1e6, "µs")
    return f"{_digits(value * factor)} {unit}"


def format_bytes(value: float) -> str:
    """Return an amount of memory with three digits.

    Example:
        >>> format_bytes(4.5e9), format_bytes(12_300_000)
        ('4.50 GB', '12.3 MB')
    """
    factor, unit = (1e-9, "GB") if value >= 1e9 else (1e-6, "MB")
    return f"{_digits(value * factor)} {unit}"


def _digits(value: float) -> str:
    return f"{value:.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def table(result: dict[str, Any]) -> "Table":
    """Return a rich table with a line for each peer and batch: median times and peak memory."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    settings, system = result["settings"], result["system"]
    with_memory = settings["memory"]
    out = Table(
        title=f"{settings['preset']}: {system['molecules']} molecules, {system['atoms']} atoms, "
        f"{system['edges']:,} edges; medians of {settings['repeats']}",
        caption="× of our own time on as many molecules",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    out.add_column("", overflow="fold")
    for name in ("batch", *TASKS, "steps,\nmol./s"):
        out.add_column(name, justify="right")
    if with_memory:
        for task in TASKS:
            out.add_column(f"memory,\n{task}", justify="right")
    for row in result["results"]:
        step = row["step"]
        cells = [row["peer"], str(row["molecules"]), *(_time(row[task]) for task in TASKS)]
        cells.append("" if "error" in step else f"{step['molecules_per_second']:.3g}")
        if with_memory:
            cells += [_memory(row[task]) for task in TASKS]
        out.add_row(*cells)
    return out


def _time(timing: dict[str, Any]) -> str:
    if "error" in timing:
        return "failed"
    ratio = timing.get("times_ours", 1.0)
    return format_seconds(timing["median"]) + (f"\n({_digits(ratio)}×)" if ratio != 1 else "")


def _memory(timing: dict[str, Any]) -> str:
    memory = timing.get("memory", {})
    return format_bytes(memory["bytes"]) if "bytes" in memory else "failed"


def notes(result: dict[str, Any]) -> list[str]:
    """Return what must be known beside the table: the machine, shares of what it reaches, who differs or is absent."""
    machine = result["machine"]
    places = [machine["processor"], f"threads: {machine['threads']}"]
    if "gpu" in machine:
        places.insert(0, machine["gpu"])
    rates = " and ".join(f"{machine[k]['value']:g} {machine[k]['unit']}" for k in ("matrix_product", "copy"))
    lines = [
        f"machine: {', '.join(places)}, PyTorch {machine['versions']['torch']}; reaches {rates} in float32 matrix "
        "products and copies",
        f"allocator of the C library: {machine['allocator']}",
        *(f"{task}: {told}" for task, told in result["tasks"].items()),
    ]
    for row in result["results"]:
        who = f"{row['peer']} ({row['molecules']} molecules)"
        lines += [f"{who}, {task}: {row[task]['error']}" for task in TASKS if "error" in row[task]]
        lines += _memory_failures(who, row)
        for task in TASKS:
            found = row[task].get("shares")
            if found:
                lines.append(
                    f"{row['peer']}, {task}: {100 * found['matrix_product']:.0f} % of that rate of matrix products, "
                    f"bytes moved at {100 * found['copy']:.0f} % of that rate of copies"
                )
        if row["variant"] and row["variant"]["compile"]:
            first = ", ".join(f"{t} {format_seconds(row[t]['warm_up'])}" for t in TASKS if "error" not in row[t])
            lines.append(f"{row['peer']}, first calls with compilation: {first}")
    counted: dict[str, Any] = next(iter(result["work"].values()), {})
    lines += [f"{kind} counted: {entry['counted']}" for kind, entry in counted.items()]
    for row in result["results"]:
        lines += [f"{row['peer']} is not the same network: {text}" for text in row["differences"]]
    lines += [f"{name} takes no part: {reason}" for name, reason in result["left_out"].items()]
    return lines + _ends(result["scaling"])


def _memory_failures(who: str, row: dict[str, Any]) -> list[str]:
    failed = [(task, row[task].get("memory", {})) for task in TASKS]
    return [f"{who}, memory of {task}: {memory['error']}" for task, memory in failed if "error" in memory]


def _ends(scaling: dict[str, Any]) -> list[str]:
    """Where peers went no further."""
    return [
        f"{axis}: {label} ends before {row['value']:,}: {entry['stopped']}"
        for axis, rows in scaling.items()
        for row in rows
        for label, entry in row["peers"].items()
        if "stopped" in entry
    ]
