"""Errors with their units: `metrics.json` and the table at the end of a run."""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import keys
from ..data.structure_sets import Target
from .predictions import Predictions
from .whole_files import whole_file

if TYPE_CHECKING:
    from rich.table import Table

Metric = dict[str, float | str]

#: Columns of a table of errors and the ends of the metrics' names.
ERROR_COLUMNS = {"MAE": "mae", "RMSE": "rmse", "largest": "max", "std of labels": "std", "MAE / std": "mae_of_std"}


def errors(predictions: Predictions) -> dict[str, Any]:
    r"""Return the errors of a set, the spread of its labels, and the errors in % of the spread.

    .. math:: \mathrm{MAE} = \frac{1}{n} \sum_k |\hat y_k - y_k|, \qquad
        \mathrm{RMSE} = \sqrt{\frac{1}{n} \sum_k (\hat y_k - y_k)^2}

    Both are over the components of vectors and tensors. Per target: `<name>_mae`, `<name>_rmse`, `<name>_max`
    (the largest error), `<name>_std` (of the labels) and `<name>_mae_of_std`; energies also per atom. Where
    labels are missing, `<name>_labels` counts those there are; where a prediction is not finite,
    `<name>_not_finite` counts what the errors leave out. `by_element` has the errors of targets per atom by the
    element of the atom. For committees `<name>_spread` is the mean standard deviation of the members, and
    `<name>_spread_correlation` its rank correlation (Spearman) with the size of the error, per structure or atom.
    A number that is not defined, such as a percentage of no spread, is left out, as JSON has no infinity.

    Args:
        predictions: of one set; units are those of the targets, errors of energies in eV come in meV.

    Returns:
        {"value": number, "unit": text} by name, and such dicts by element in `by_element`.

    Example:
        >>> energy, true = Target("energy", "graph_scalar", "eV"), np.array([1.0, 3.0])
        >>> hydrogen = {"z": np.ones(4, dtype=int), "num_atoms": np.array([2, 2])}
        >>> table = errors(Predictions((energy,), {"energy": true + 0.1}, {"energy": true}, **hydrogen))
        >>> round(table["energy_mae"]["value"], 6), table["energy_mae"]["unit"]
        (100.0, 'meV')
    """
    metrics: dict[str, Any] = {}
    for target in predictions.targets:
        if target.name in predictions.true:
            metrics.update(_target_errors(predictions, target))
        if target.name in predictions.spread:
            metrics.update(_committee(predictions, target))
    metrics["structures"] = {"value": float(len(predictions)), "unit": "1"}
    metrics["atoms"] = {"value": float(len(predictions.z)), "unit": "1"}
    by_element = _by_element(predictions)
    return {**metrics, "by_element": by_element} if by_element else metrics


def _metrics(values: Mapping[str, tuple[float, str]]) -> dict[str, Metric]:
    return {name: {"value": float(v), "unit": unit} for name, (v, unit) in values.items() if math.isfinite(v)}


def _rows(predictions: Predictions, target: Target) -> tuple[np.ndarray, np.ndarray]:
    """Which structures or atoms have a label, and which of these a finite prediction."""
    rest = tuple(range(1, predictions.true[target.name].ndim))
    labelled = np.isfinite(predictions.true[target.name]).all(axis=rest)
    return labelled, labelled & np.isfinite(predictions.predicted[target.name]).all(axis=rest)


def _sizes(error: np.ndarray, unit: str, name: str) -> dict[str, tuple[float, str]]:
    if not error.size:
        return {}
    return {
        f"{name}_mae": (np.abs(error).mean(), unit),
        f"{name}_rmse": (math.sqrt(np.square(error).mean()), unit),
    }


def _target_errors(predictions: Predictions, target: Target) -> dict[str, Metric]:
    name, (factor, unit) = target.name, target.error_unit
    labelled, rows = _rows(predictions, target)
    predicted, true = predictions.compared(target)
    error = factor * (predicted[rows] - true[rows])
    values = _sizes(error, unit, name)
    if error.size:
        values[f"{name}_max"] = (np.abs(error).max(), unit)
        spread = factor * true[rows].std()
        values[f"{name}_std"] = (spread, unit)
        if spread > 0:
            values[f"{name}_mae_of_std"] = (100 * np.abs(error).mean() / spread, "%")
    if name == keys.ENERGY:
        per_atom = _sizes(error / predictions.num_atoms[rows], f"{unit}/atom", name)
        values.update({f"{key}_per_atom": value for key, value in per_atom.items()})
    if not labelled.all():
        values[f"{name}_labels"] = (labelled.sum(), "1")
    if not_finite := int((labelled & ~rows).sum()):
        values[f"{name}_not_finite"] = (not_finite, "1")
    return _metrics(values)


def _by_element(predictions: Predictions) -> dict[str, dict[str, Metric]]:
    from ase.data import chemical_symbols

    targets = [t for t in predictions.labelled if t.per_atom]
    table = {}
    for z in np.unique(predictions.z).tolist() if targets else []:
        values: dict[str, tuple[float, str]] = {}
        for target in targets:
            factor, unit = target.error_unit
            rows = _rows(predictions, target)[1] & (predictions.z == z)
            error = predictions.predicted[target.name][rows] - predictions.true[target.name][rows]
            values.update(_sizes(factor * error, unit, target.name))
        values["atoms"] = ((predictions.z == z).sum(), "1")
        table[chemical_symbols[z] if z < len(chemical_symbols) else f"Z{z}"] = _metrics(values)
    return table


def _committee(predictions: Predictions, target: Target) -> dict[str, Metric]:
    """Mean spread of a committee, and whether it is large where the error is."""
    name, (factor, unit) = target.name, target.error_unit
    spread = predictions.spread[name]
    known = spread[np.isfinite(spread)]
    values = {f"{name}_spread": (factor * known.mean() if known.size else math.nan, unit)}
    if name in predictions.true:
        rows = _rows(predictions, target)[1] & np.isfinite(_norms(spread))
        error = predictions.predicted[name][rows] - predictions.true[name][rows]
        correlation = rank_correlation(_norms(spread[rows]), _norms(error))
        values[f"{name}_spread_correlation"] = (correlation, "1")
    return _metrics(values)


def _norms(values: np.ndarray) -> np.ndarray:
    return np.linalg.norm(values.reshape(len(values), -1), axis=1)


def rank_correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Return Spearman's rank correlation of two columns [n]; NaN for fewer than three rows or a constant column.

    Example:
        >>> round(rank_correlation(np.array([1.0, 2.0, 3.0]), np.array([1.0, 8.0, 27.0])), 6)
        1.0
    """
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan
    return float(np.corrcoef(_ranks(x), _ranks(y))[0, 1])


def _ranks(x: np.ndarray) -> np.ndarray:
    """Ranks from 1 on, equal values sharing the mean of theirs."""
    _, place, counts = np.unique(x, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]


def write_metrics(path: str | Path, metrics: Mapping[str, Any]) -> None:
    """Write metrics as JSON, all at once: a reader never sees half a file.

    Raises:
        ValueError: if a number is NaN or infinite, which JSON does not have.
    """
    text = json.dumps(metrics, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")


def format_metric(metric: Mapping[str, Any] | None) -> str:
    """Return a metric with three digits or so and its unit, or a dash where there is none.

    Example:
        >>> format_metric({"value": 11.684, "unit": "meV/Å"}), format_metric({"value": 0.01234, "unit": ""})
        ('11.7 meV/Å', '0.012')
    """
    if metric is None:
        return "–"
    unit = str(metric["unit"])
    return f"{format_number(float(metric['value']))} {'' if unit == '1' else unit}".strip()


def format_number(value: float) -> str:
    """Return a number to two decimals or, where it is small, two digits; whole numbers from 100 on.

    Example:
        >>> [format_number(x) for x in (1234.5, 12.345, 1.2345, 0.0012345, 0.0)]
        ['1234', '12.3', '1.23', '0.0012', '0']
    """
    size = abs(value)
    if size == 0:
        return "0"
    if size < 1:
        return f"{value:.2g}"
    return f"{value:.{0 if size >= 100 else 1 if size >= 10 else 2}f}"


def target_names(sets: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the targets that any of the sets has errors of, in order."""
    names = {name.removesuffix("_mae"): None for metrics in sets for name in metrics if name.endswith("_mae")}
    return list(names)


def committee_columns(sets: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the further columns of a table where any of the sets was predicted by a committee."""
    committee = any(name.endswith("_spread") for metrics in sets for name in metrics)
    return {"committee std": "spread", "rank corr.": "spread_correlation"} if committee else {}


def error_table(sets: Mapping[str, Mapping[str, Any]], title: str = "") -> "Table":
    """Return the errors of one or several sets beside the spread of the labels, as a table for the terminal.

    Args:
        sets: what `errors` returned, by the name of the set.
        title: written above the table.
    """
    try:
        from rich.table import Table
    except ImportError as error:
        raise ImportError('the table of errors needs rich: pip install "pyg_equiformer[train]"') from error
    columns = {**ERROR_COLUMNS, **committee_columns(sets.values())}
    del columns["largest"]  # a terminal has few columns
    table = Table(title=title or None, title_justify="left")
    table.add_column("set", overflow="fold")  # names that differ in their ends only are not cut off
    table.add_column("")
    for header in columns:
        table.add_column(header, justify="right")
    for label, metrics in sets.items():
        for name in target_names([metrics]):
            table.add_row(label, name, *(format_metric(metrics.get(f"{name}_{key}")) for key in columns.values()))
            if f"{name}_mae_per_atom" in metrics:
                per_atom = [format_metric(metrics.get(f"{name}_{key}_per_atom")) for key in ("mae", "rmse")]
                table.add_row(label, f"{name}/atom", *per_atom)
    return table
