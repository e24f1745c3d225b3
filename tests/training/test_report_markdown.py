from dataclasses import dataclass

import pytest

from pyg_equiformer.data.structure_sets import ENERGY, FORCES
from pyg_equiformer.training.report import errors
from pyg_equiformer.training.report_markdown import RunReport, write_report

from .predicted import made_up

MOLECULES = [[8, 1, 1], [6, 1, 1, 1, 1]]


@dataclass(frozen=True)
class Published:
    model: str
    values: dict
    protocol: str
    source: str


def metric(value, unit):
    return {"value": value, "unit": unit}


def own(energy, forces):
    return {"energy_mae": metric(energy, "meV"), "forces_mae": metric(forces, "meV/Å")}


def report(**changes):
    return RunReport(**{"title": "Aspirin", "sizes": {"train": 950}, "metrics": {}, "command": "train x", **changes})


def lines(tmp_path, facts):
    write_report(tmp_path / "report.md", facts)
    return (tmp_path / "report.md").read_text(encoding="utf-8").splitlines()


def test_a_whole_report_tells_all_that_was_handed_in(tmp_path):
    facts = report(
        sizes={"train": 110_000, "valid": 50, "test_300K": 1000},
        metrics={"test_300K": errors(made_up([ENERGY, FORCES], MOLECULES, committee=True))},
        notes=["3 frames left out:\n  7, 8, 9"],
        figures={"Predictions": tmp_path / "figures" / "parity plot.png"},
        network={"preset": "md17", "parameters": 3_500_000},
        settings={"learning_rate": 5e-4, "weight": {"forces": 100.0}, "loggers": []},
        run={
            "wall_time": metric(1234.5, "s"),
            "seed": 0,
            "hardware": {"processor": "A|B", "gpus": ["X", "Y"]},
            "gpu": None,
        },
    )
    found = lines(tmp_path, facts)
    assert found[0] == "# Aspirin"
    headings = ["Data", "Errors", "Errors by element", "Figures", "Network", "Training", "The run", "Do it again"]
    assert [line for line in found if line.startswith("#")] == ["# Aspirin", *(f"## {h}" for h in headings)]
    for expected in (
        "| train | 110,000 |",
        "- 3 frames left out: 7, 8, 9",
        "![Predictions](figures/parity%20plot.png)",
        "| parameters | 3500000 |",
        "| learning_rate | 0.0005 |",
        "| weight.forces | 100 |",
        "| loggers | – |",
        "| wall_time | 1234 s |",
        "| seed | 0 |",
        "| hardware.processor | A\\|B |",
        "| hardware.gpus | X, Y |",
        "| gpu | – |",
    ):
        assert expected in found, expected
    code = found.index("```bash")
    assert found[code + 1 : code + 3] == ["train x", "```"]
    elements = [line for line in found if line.startswith("| test_300K | ")]
    assert [line.split(" | ")[1] for line in elements][-3:] == ["H", "C", "O"]
    assert any("committee std" in line for line in found)


def test_every_table_has_as_many_cells_in_each_row(tmp_path):
    metrics = errors(made_up([ENERGY, FORCES], MOLECULES, committee=True))
    published = [Published("MACE", {"energy_mae": (2.2, "meV")}, "950 | 50", "paper")]
    facts = report(
        metrics={"test": metrics, "valid": own(1.0, 2.0)}, published=published, members={"member-0": metrics}
    )
    table = None
    for line in lines(tmp_path, facts):
        cells = line.replace("\\|", "").count("|") if line.startswith("|") else None
        assert table is None or cells in (table, None), line
        table = cells


def test_published_results_stand_beside_those_of_the_run_with_all_their_digits(tmp_path):
    published = [
        Published("MACE", {"energy_mae": (2.2, "meV"), "forces_mae": (6.6, "meV/Å")}, "950 + 50", "arXiv 2206.07697"),
        # More than number and unit may be known of a value.
        Published("NequIP", {"forces_rmse": (10.85, "meV/Å", "RMSE")}, "", "a paper"),
    ]
    found = lines(tmp_path, report(metrics={"test": own(1.96, 5.678)}, published=published))
    assert "| model | energy MAE | forces MAE | forces RMSE | protocol | source |" in found
    assert "| **this run** | **1.96 meV** | **5.68 meV/Å** | – | 950 training structures |  |" in found
    assert "| MACE | 2.2 meV | 6.6 meV/Å | – | 950 + 50 | arXiv 2206.07697 |" in found
    assert "| NequIP | – | – | 10.85 meV/Å |  | a paper |" in found


def test_members_of_a_committee_stand_below_their_mean(tmp_path):
    members = {"member-0": own(2.0, 20.0), "member-1": own(3.0, 30.0)}
    found = lines(tmp_path, report(metrics={"test": own(1.0, 10.0)}, members=members))
    table = found[found.index("## Members of the committee, on test") + 2 :]
    assert [row.split(" | ")[:3] for row in table[2:8:2]] == [
        ["| committee", "energy", "1.00 meV"],
        ["| member-0", "energy", "2.00 meV"],
        ["| member-1", "energy", "3.00 meV"],
    ]


def test_what_is_not_known_is_not_told(tmp_path):
    found = lines(tmp_path, report())
    assert [line for line in found if line.startswith("#")] == ["# Aspirin", "## Data", "## Do it again"]


def test_nothing_to_compare_with_is_an_error(tmp_path):
    published = [Published("MACE", {"energy_mae": (2.2, "meV")}, "", "")]
    with pytest.raises(ValueError, match="errors of the set 'test' to compare on, got \\['test_300K'\\]"):
        write_report(tmp_path / "r.md", report(metrics={"test_300K": own(1.0, 2.0)}, published=published))
    assert not list(tmp_path.iterdir())
