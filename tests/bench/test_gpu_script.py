"""The script for GPUs, tried on the CPU with as little work as possible."""

import importlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.slow  # whole comparisons, half a minute each

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PIECES = "correctness:torch,correctness:openequivariance,speed:qm9,speed:degree,speed:md"


@pytest.fixture(scope="module")
def gpu() -> ModuleType:
    """The script as a module; what it imports lies beside it."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return importlib.import_module("gpu")
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def parts(gpu: ModuleType) -> ModuleType:
    """Its modules for pieces, correctness and training as attributes."""
    for name in ("correctness", "pieces", "training"):
        importlib.import_module(f"gpu_parts.{name}")
    return sys.modules["gpu_parts"]


def options(out: Path, *more: str) -> list[str]:
    return ["--device", "cpu", "--tiny", "--in-process", "--out", str(out), *more]


def results(out: Path) -> dict[str, dict[str, Any]]:
    found = [json.loads(p.read_text(encoding="utf-8")) for p in sorted(out.iterdir())]
    return {result["piece"]: result for result in found}


def forge(parts: ModuleType, out: Path, name: str, **facts: Any) -> None:
    """Leave the result of a piece as if it had been done."""
    parts.pieces.write(session_of(parts, out), name, {"state": "done", **facts}, 0.0)


def session_of(parts: ModuleType, out: Path, **changes: Any) -> Any:
    settings = {"minutes": 1.0, "train_time": None, "tiny": True, **changes}
    return parts.pieces.Session(torch.device("cpu"), out, out / "runs", None, **settings)


def forge_checks(gpu: ModuleType, parts: ModuleType, out: Path, **states: str) -> None:
    for piece in gpu.all_pieces():
        group, name = piece.name.split(":", 1)
        if group == "correctness":
            forge(parts, out, piece.name, state=states.get(name, "done"), failures=["product: off by 1.0e-01"])


@pytest.fixture(scope="module")
def out(gpu: ModuleType, parts: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of two checks and three pieces about speed; the other engines are taken for failing."""
    folder = tmp_path_factory.mktemp("results")
    names = [p.name.split(":")[1] for p in gpu.all_pieces() if p.name.startswith("correctness:")]
    gone = {name: "failed" for name in names if name not in ("torch", "openequivariance")}
    forge_checks(gpu, parts, folder, **gone)
    for name in ("torch", "openequivariance"):
        session_of(parts, folder).path(f"correctness:{name}").unlink()
    session = session_of(parts, folder)
    wanted = gpu.select(gpu.all_pieces(), PIECES)
    states = {piece.name: parts.pieces.perform(piece, session) for piece in wanted}
    assert set(states.values()) == {"done"}, states
    return folder


def test_products_and_networks_are_compared_in_both_precisions(out: Path) -> None:
    result = results(out)["correctness:torch"]
    assert {(row["what"], row["dtype"]) for row in result["checks"]} == {
        (what, dtype) for what in ("product", "network") for dtype in ("float64", "float32")
    }
    assert result["failures"] == []
    for row in result["checks"]:
        assert len(row["errors"]) == 3
        assert all(error <= row["bound"] for error in row["errors"].values())


def test_an_engine_that_cannot_serve_is_no_failure_and_says_why(out: Path) -> None:
    result = results(out)["correctness:openequivariance"]
    assert result["state"] == "done"
    assert "GPU" in result["refused"]


def test_every_result_tells_of_hardware_versions_date_and_settings(out: Path) -> None:
    for name in PIECES.split(","):
        result = results(out)[name]
        assert result["hardware"]["versions"]["torch"] == torch.__version__
        assert result["hardware"]["processor"]
        assert result["date"].endswith("+00:00")
        assert result["session"]["tiny"] is True


def test_speed_is_measured_without_those_that_failed(out: Path) -> None:
    found = results(out)
    bench = found["speed:qm9"]["bench"]
    assert [row["peer"] for row in bench["results"]] == ["pyg_equiformer", "e3nn"]
    assert all(row["step"]["molecules_per_second"] > 0 for row in bench["results"])
    (row,) = found["speed:degree"]["rows"]
    assert set(row["peers"]) == {"pyg_equiformer", "e3nn"}
    (row,) = found["speed:md"]["rows"]
    assert row["atoms"] == 21
    assert row["results"]["pyg_equiformer"]["step"]["per_second"] > 0
    for name in ("speed:qm9", "speed:degree", "speed:md"):
        assert any("aligned is not correct here: product: off by" in note for note in found[name]["notes"])


def test_what_is_done_for_this_card_and_version_is_not_done_again(
    gpu: ModuleType, parts: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    forge_checks(gpu, parts, tmp_path)
    before = session_of(parts, tmp_path).result("correctness:torch")
    assert gpu.main(options(tmp_path, "--only", "correctness")) == 0
    assert session_of(parts, tmp_path).result("correctness:torch") == before
    assert "correctness:torch: done before" in capsys.readouterr().out
    assert gpu.main(options(tmp_path, "--only", "correctness:torch", "--again")) == 0
    assert len(session_of(parts, tmp_path).result("correctness:torch")["checks"]) == 6


def test_a_wrong_engine_is_recorded_told_and_ends_all_that_needs_it(
    gpu: ModuleType,
    parts: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forge_checks(gpu, parts, tmp_path)
    session_of(parts, tmp_path).path("correctness:torch").unlink()
    module = parts.correctness.engine_module("torch")
    right = module.message_product

    def wrong(*args: Any, **kwargs: Any) -> Any:
        return [[1.01 * (u if isinstance(u, torch.Tensor) else u.dense()) for u in us] for us in right(*args, **kwargs)]

    monkeypatch.setattr(module, "message_product", wrong)
    assert gpu.main(options(tmp_path, "--only", "speed:md")) == 1
    told = capsys.readouterr().out
    assert "correctness:torch: failed" in told
    assert "values off by" in told
    assert "speed:md is left out: torch is not correct here" in told
    assert results(tmp_path)["correctness:torch"]["state"] == "failed"
    assert "speed:md" not in results(tmp_path)
    monkeypatch.undo()
    for more, code in (((), 1), (("--again",), 0)):
        assert gpu.main(options(tmp_path, "--only", "correctness:torch", *more)) == code


def test_training_without_data_is_told_and_left_out(
    gpu: ModuleType, parts: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    forge_checks(gpu, parts, tmp_path / "out")
    more = ("--only", "training:acac", "--data", str(tmp_path / "data"))
    assert gpu.main(options(tmp_path / "out", *more)) == 0
    assert "training:acac is left out: there is no folder with benchmark data at" in capsys.readouterr().out


def test_runs_go_on_where_they_are_and_are_never_written_over(parts: ModuleType, tmp_path: Path) -> None:
    run_folder = parts.training.run_folder
    assert run_folder(tmp_path, "a", again=False) == (tmp_path / "a", None)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "config.yaml").touch()  # ended before anything was saved
    assert run_folder(tmp_path, "a", again=False) == (tmp_path / "a-2", None)
    (tmp_path / "a-2").mkdir()
    (tmp_path / "a-2" / "last.ckpt").touch()
    for again in (False, True):
        assert run_folder(tmp_path, "a", again=again) == (tmp_path / "a-2", "unfinished")
    (tmp_path / "a-2" / "metrics.json").touch()
    assert run_folder(tmp_path, "a", again=False) == (tmp_path / "a-2", "done")
    assert run_folder(tmp_path, "a", again=True) == (tmp_path / "a-3", None)


def test_the_clock_presses_ctrl_c_but_not_after_the_work(parts: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts.training, "FIRST", 0.0)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in background jobs
    try:
        with parts.training.alarm(0.05) as bell, pytest.raises(KeyboardInterrupt):
            time.sleep(10)
    finally:
        signal.signal(signal.SIGINT, before)
    assert bell.rang
    with parts.training.alarm(60.0) as bell:
        pass
    assert not bell.rang


def test_a_piece_that_is_out_of_time_or_raises_is_recorded(parts: ModuleType, tmp_path: Path) -> None:
    pieces = parts.pieces

    def late(work: Any) -> dict[str, Any]:
        work.clock.check("something long")
        return {}

    def wrong(work: Any) -> dict[str, Any]:
        work.keep({"rows": [float("nan")]})
        raise RuntimeError("no such kernel")

    session = session_of(parts, tmp_path, minutes=-1.0)
    assert pieces.perform(pieces.Piece("speed:late", "", late), session) == "failed"
    assert pieces.perform(pieces.Piece("speed:wrong", "", wrong), session) == "failed"
    assert "next was: something long; give more --minutes" in session.result("speed:late")["error"]
    assert session.result("speed:wrong")["error"] == "RuntimeError: no such kernel"


def test_wrong_options_end_with_code_2(
    gpu: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for more in (("--only", "spede"), ("--minutes", "0"), ("--train-time", "long"), ("--data", "nowhere")):
        with pytest.raises(SystemExit) as ended:
            gpu.main(options(tmp_path, *more))
        assert ended.value.code == 2
        assert more[0] in capsys.readouterr().err
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main(["--out", str(tmp_path)]) == 2
    assert "there is no CUDA device here" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_piece_runs_in_a_process_of_its_own(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "gpu.py"), "--device", "cpu", "--tiny", "--out", str(tmp_path)]
    done = subprocess.run([*command, "--only", "correctness:openequivariance"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert " s (cannot serve: openequivariance" in done.stdout
    assert results(tmp_path)["correctness:openequivariance"]["state"] == "done"
