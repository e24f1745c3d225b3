"""`report.md`: what was trained on what, how good it is, and how to do it again."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from .report import ERROR_COLUMNS, committee_columns, format_metric, target_names
from .whole_files import whole_file


class PublishedResult(Protocol):
    """What a report reads of a published result: `values` has (number, unit, …) by name of the metric."""

    @property
    def model(self) -> str: ...
    @property
    def values(self) -> Mapping[str, Sequence[Any]]: ...
    @property
    def protocol(self) -> str: ...
    @property
    def source(self) -> str: ...


@dataclass(frozen=True)
class RunReport:
    """The facts of a run; a section of the report is left out where there is nothing to tell.

    Args:
        title: of the report.
        sizes: structures in each set, by its name.
        metrics: what `errors` returned, by the name of the set.
        command: what reproduces the run on a command line.
        notes: what a user should know of the data, such as frames that were left out.
        figures: path of each figure, by its caption.
        compared: the set that published results and committee members are compared on.
        published: results of others on that set.
        members: what `errors` returned for each member of a committee, by its name.
        network: sizes of the network, by name.
        settings: of the training, by name; values may be dicts.
        run: wall time, seed, hardware, versions, by name; values may be dicts or {"value", "unit"}.
    """

    title: str
    sizes: Mapping[str, int]
    metrics: Mapping[str, Mapping[str, Any]]
    command: str
    notes: Sequence[str] = ()
    figures: Mapping[str, str | Path] = field(default_factory=dict)
    compared: str = "test"
    published: Sequence[PublishedResult] = ()
    members: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    network: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    run: Mapping[str, Any] = field(default_factory=dict)


def write_report(path: str | Path, report: RunReport) -> None:
    """Write the report as Markdown; figures are linked by their path relative to it.

    Args:
        path: of the file, usually `report.md` in the folder of the run.
        report: the facts.

    Raises:
        ValueError: if there are published results or members, but no errors of the set to compare on.

    Example:
        >>> import tempfile
        >>> facts = RunReport("Ethanol", {"train": 950}, {}, "pyg-equiformer train ethanol.xyz")
        >>> path = Path(tempfile.mkdtemp(), "report.md")
        >>> write_report(path, facts)
        >>> path.read_text().splitlines()[0]
        '# Ethanol'
    """
    if (report.published or report.members) and report.compared not in report.metrics:
        raise ValueError(f"expected errors of the set {report.compared!r} to compare on, got {list(report.metrics)}")
    folder = Path(path).parent
    sections = [
        f"# {report.title}",
        _data(report),
        _section("Errors", _errors(report.metrics)),
        _section("Errors by element", _elements(report.metrics)),
        _section(f"Published results beside those on {report.compared}", _published(report)),
        _section(f"Members of the committee, on {report.compared}", _members(report)),
        _section("Figures", _figures(report.figures, folder)),
        _section("Network", _facts(report.network)),
        _section("Training", _facts(report.settings)),
        _section("The run", _facts(report.run)),
        _section("Do it again", f"```bash\n{report.command}\n```"),
    ]
    with whole_file(path) as part:
        part.write_text("\n\n".join(s for s in sections if s) + "\n", encoding="utf-8")


def _section(title: str, text: str) -> str:
    return f"## {title}\n\n{text}" if text else ""


def _data(report: RunReport) -> str:
    sets = _table(["set", "structures"], [[name, f"{size:,}"] for name, size in report.sizes.items()])
    notes = "\n".join(f"- {' '.join(note.split())}" for note in report.notes)
    return _section("Data", "\n\n".join(part for part in (sets, notes) if part))


def _errors(sets: Mapping[str, Mapping[str, Any]], first: str = "set") -> str:
    columns = {**ERROR_COLUMNS, **committee_columns(sets.values())}
    rows = []
    for label, metrics in sets.items():
        for name in target_names([metrics]):
            rows.append([label, name, *(format_metric(metrics.get(f"{name}_{key}")) for key in columns.values())])
            if f"{name}_mae_per_atom" in metrics:
                per_atom = [format_metric(metrics.get(f"{name}_{key}_per_atom")) for key in ("mae", "rmse")]
                rows.append([label, f"{name} per atom", *per_atom, *[""] * (len(columns) - 2)])
    return _table([first, "target", *columns], rows)


def _elements(sets: Mapping[str, Mapping[str, Any]]) -> str:
    by_set = {label: metrics["by_element"] for label, metrics in sets.items() if "by_element" in metrics}
    names = target_names(values for elements in by_set.values() for values in elements.values())
    keys = [f"{name}_{key}" for name in names for key in ("mae", "rmse")]
    rows = []
    for label, elements in by_set.items():
        for symbol, values in elements.items():
            atoms = f"{int(values['atoms']['value']):,}"
            rows.append([label, symbol, atoms, *(format_metric(values.get(key)) for key in keys)])
    return _table(["set", "element", "atoms", *map(_metric_title, keys)], rows)


def _published(report: RunReport) -> str:
    if not report.published:
        return ""
    keys = list(dict.fromkeys(key for result in report.published for key in result.values))
    own = report.metrics[report.compared]
    size = f"{report.sizes['train']:,} training structures" if "train" in report.sizes else ""
    rows = [["**this run**", *(f"**{format_metric(own[key])}**" if key in own else "–" for key in keys), size, ""]]
    for result in report.published:
        # As it was published: all its digits.
        cells = [f"{result.values[k][0]:g} {result.values[k][1]}" if k in result.values else "–" for k in keys]
        rows.append([result.model, *cells, result.protocol, result.source])
    return _table(["model", *map(_metric_title, keys), "protocol", "source"], rows)


def _members(report: RunReport) -> str:
    return _errors({"committee": report.metrics[report.compared], **report.members}, "model") if report.members else ""


def _figures(figures: Mapping[str, str | Path], folder: Path) -> str:
    links = ((caption, Path(os.path.relpath(path, folder)).as_posix()) for caption, path in figures.items())
    return "\n\n".join(f"![{caption}]({quote(link)})" for caption, link in links)


def _facts(facts: Mapping[str, Any]) -> str:
    return _table(["name", "value"], [[name, value] for name, value in _flat(facts)])


def _flat(facts: Mapping[str, Any], before: str = "") -> Iterable[tuple[str, str]]:
    """Names joined by dots and values as text."""
    for name, value in facts.items():
        if isinstance(value, Mapping) and set(value) != {"value", "unit"}:
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", _text(value)


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return format_metric(value)
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, list | tuple) and len(value) > 4 and list(value) == list(range(len(value) + 1))[1:]:
        return f"1 to {len(value)}"  # all elements
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value)) or "–"
    return "–" if value is None else str(value)


def _metric_title(key: str) -> str:
    name, _, kind = key.rpartition("_")
    return f"{name} {kind.upper()}" if name else key


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; none without rows."""
    if not rows:
        return ""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
