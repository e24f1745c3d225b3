"""One small comparison, looked at from all sides: its values, its table, its figures."""

import json
import statistics
import sys
from typing import Any

import pytest
import torch
from rich.console import Console

from pyg_equiformer.bench import BenchSettings, Variant, draw_figures, notes, run, table
from pyg_equiformer.bench.report import format_bytes, format_seconds

pytestmark = pytest.mark.slow  # whole comparisons, half a minute each

TASKS = ("forward", "step")


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    """Ours, and the dense package with fewer molecules where it is installed; who is not is left out."""
    peers = ("equiformer-pytorch", "openequivariance")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pyg_equiformer.bench.comparison.fitting_batch", lambda spec: 2)
        return run(BenchSettings("small", peers=peers, molecules=3, repeats=2, threads=1, device="cpu", memory=False))


@pytest.fixture(scope="module")
def with_memory() -> dict[str, Any]:
    return run(BenchSettings("small", peers=(), molecules=2, repeats=1, threads=1, device="cpu"))


def test_a_result_is_plain_values(result):
    assert json.loads(json.dumps(result)) == result


def test_every_timing_is_kept_and_the_rest_follows_from_them(result):
    ours = {row["molecules"]: row for row in reversed(result["results"]) if row["name"] == "pyg_equiformer"}
    for row in result["results"]:
        for task in TASKS:
            timing = row[task]
            assert len(timing["seconds"]) == 2
            assert timing["median"] == statistics.median(timing["seconds"])
            assert timing["molecules_per_second"] == row["molecules"] / timing["median"]
            assert timing["times_ours"] == timing["median"] / ours[row["molecules"]][task]["median"]


def test_who_gets_fewer_molecules_is_compared_with_ours_on_as_many(result):
    pytest.importorskip("equiformer_pytorch")
    found = [(row["name"], row["molecules"], row["atoms"]) for row in result["results"]]
    assert found[:3] == [("pyg_equiformer", 3, 63), ("pyg_equiformer", 2, 42), ("equiformer-pytorch", 2, 42)]
    assert result["results"][2]["differences"]


def test_everybody_is_timed_or_left_out_with_a_reason(result):
    names = {row["name"] for row in result["results"]} | set(result["left_out"])
    assert names == {"pyg_equiformer", "equiformer-pytorch", "openequivariance"}
    assert all(result["left_out"].values())


def test_shares_follow_from_work_and_machine(result):
    row, machine = result["results"][0], result["machine"]
    for task in TASKS:
        rate = 1e-9 * result["work"][task]["flops"]["value"] / row[task]["median"]
        assert row[task]["shares"]["matrix_product"] == pytest.approx(rate / machine["matrix_product"]["value"])
    assert all("shares" not in other[task] for other in result["results"][1:] for task in TASKS)


def test_machine_and_settings_are_told(result):
    machine = result["machine"]
    assert machine["threads"] == 1
    assert machine["processor"]
    assert machine["versions"]["torch"] == torch.__version__
    assert machine["matrix_product"]["value"] > 0
    assert result["settings"]["preset"] == "small"
    assert result["settings"]["variants"] == [vars(Variant())]


def test_the_number_of_threads_is_put_back_whatever_happens():
    def stop(text):
        raise KeyboardInterrupt

    before = torch.get_num_threads()
    with pytest.raises(KeyboardInterrupt):
        run(BenchSettings("small", peers=(), molecules=1, threads=before + 1), progress=stop)
    assert torch.get_num_threads() == before


def test_peak_memory_is_measured_for_each_task(with_memory):
    forward, step = (with_memory["results"][0][task]["memory"] for task in TASKS)
    assert 0 < forward["bytes"] < 2**30
    assert 0 < step["bytes"] < 2**30
    assert forward["before"] > 0


def shown(result) -> str:
    console = Console(width=160)
    with console.capture() as captured:
        console.print(table(result))
        for line in notes(result):
            console.print(line, soft_wrap=True, markup=False, highlight=False)
    return captured.get()


def test_the_table_and_its_notes_say_everything(result, with_memory):
    text = shown(result)
    for row in result["results"]:
        assert row["peer"] in text
        assert format_seconds(row["step"]["median"]) in text
        assert all(difference in text for difference in row["differences"])
    assert result["machine"]["processor"] in text
    assert "GFLOP/s" in text
    assert "memory" not in table(result).columns[-1].header
    for name, reason in result["left_out"].items():
        assert f"{name} takes no part: {reason}" in text
    assert format_bytes(with_memory["results"][0]["step"]["memory"]["bytes"]) in shown(with_memory)


def test_what_failed_is_told(result):
    failed = json.loads(json.dumps(result))
    failed["results"][-1]["step"] = {"error": "RuntimeError: out of memory"}
    failed["scaling"] = {"atoms": [{"value": 1000, "peers": {"e3nn": {"stopped": "would need more"}}}]}
    text = shown(failed)
    assert "RuntimeError: out of memory" in text
    assert "atoms: e3nn ends before 1,000: would need more" in text
    assert "failed" in text


def test_figures_are_drawn_for_the_comparison_and_each_axis(result, with_memory, tmp_path):
    point = {"radius_graph": 0.001, "peers": {"pyg_equiformer": {"forward": {"median": 0.1}, "peak": 10_000}}}
    followed = {
        "atoms": [{"value": value, **point} for value in (10, 100)],
        "lmax": [{"value": 1, "peers": {"e3nn": {"forward": {"median": 0.1}, "step": {"median": 1.0}, "peak": None}}}],
    }
    files = draw_figures({**result, "scaling": followed}, tmp_path / "new" / "folder", "x")
    assert [f.name for f in files] == ["x_peers.png", "x_scaling_atoms.png", "x_scaling_lmax.png"]
    assert all(f.read_bytes().startswith(b"\x89PNG") for f in files)
    assert draw_figures(with_memory, tmp_path) == [tmp_path / "bench_peers.png"]


def test_figures_name_the_extra_that_they_need(result, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install \"pyg_equiformer\[bench\]\""):
        draw_figures(result, tmp_path)


@pytest.mark.parametrize(
    ("value", "text"), [(123.4, "123 s"), (1.0, "1.00 s"), (0.5, "500 ms"), (0.00999, "9.99 ms"), (2e-5, "20.0 µs")]
)
def test_times_have_three_digits(value, text):
    assert format_seconds(value) == text
