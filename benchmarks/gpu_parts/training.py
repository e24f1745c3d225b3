"""Training runs with the package's own trainer, a piece of each in a call, until they are done."""

import os
import re
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch_geometric.data import Data

from pyg_equiformer.bench.timing import seconds_of
from pyg_equiformer.data.structure_sets import Structures

from .correctness import require_default
from .pieces import DONE, UNFINISHED, LeftOut, Session, Work

BENCHMARKS = ("rmd17:aspirin", "rmd17:ethanol", "acac", "3bpa", "qm9:gap")
#: Of a run that the clock ends.
VALIDATIONS = 12
#: In s, of the time of a piece: for the errors of a run that is not done.
RESERVE = 75.0
#: In s: a run that begins late in its piece gets at least this.
FIRST = 5.0
#: Test structures that these errors are of, at most.
TEST_SHARE = 1000
#: As many tell how long the others take.
FEW = 8


def train_on(name: str, work: Work) -> dict[str, Any]:
    """Train until the run or the time is over, as Ctrl-C would end it; errors are told in any case.

    Only a run that is done has the entry "task", which the tables of the accuracy benchmarks look for.
    """
    # Lightning is loaded by those pieces alone that train.
    from rich.console import Console

    from pyg_equiformer.training import Interrupted, resume, train
    from pyg_equiformer.training.finish import read_metrics

    s = work.session
    require_default(s)
    structures = _read(name, s)
    config = _config(name, s)
    folder, state = run_folder(s.runs / s.stem, _run_name(name, s), again=s.again)
    facts: dict[str, Any] = {"benchmark": name, "config": config.to_dict(), "run": folder.as_posix()}
    done = {"task": name, "command": f"python benchmarks/gpu.py --only training:{name}"}
    if state == DONE:  # but its result was lost
        return {**facts, **done, "metrics": read_metrics(folder)}
    with alarm(work.clock.left - _reserve(s)) as bell:
        try:
            console = Console(stderr=True)
            if state == UNFINISHED:
                result = resume(folder, structures=structures, console=console)
            else:
                result = train(structures, config, out=folder, console=console)
            return {**facts, **done, "metrics": result.metrics}
        except (Interrupted, KeyboardInterrupt) as stop:
            told = str(stop) or "stopped before the first step"
    print(told, flush=True)
    facts |= {"state": UNFINISHED, "stopped": told, "metrics": _errors_so_far(folder, structures, work)}
    if not bell.rang:  # somebody has pressed Ctrl-C
        work.keep(facts)
        raise KeyboardInterrupt
    return facts


def run_folder(root: Path, name: str, *, again: bool) -> tuple[Path, str | None]:
    """Return the folder of a run, and how far it is: `DONE`, `UNFINISHED`, or None if it has not begun.

    What was ended before it saved anything is left as it is, and with `again` what is done, too.
    """
    from pyg_equiformer.training.finish import METRICS
    from pyg_equiformer.training.saving import STATE

    for number in count(1):
        folder = root / (name if number == 1 else f"{name}-{number}")
        if not folder.exists() or not any(folder.iterdir()):
            return folder, None
        if (folder / METRICS).is_file():
            if not again:
                return folder, DONE
        elif (folder / STATE).is_file():
            return folder, UNFINISHED
    raise AssertionError("there is always a number that is free")


@dataclass
class _Bell:
    rang: bool = False


@contextmanager
def alarm(seconds: float) -> Iterator[_Bell]:
    """Press Ctrl-C after so many seconds, unless the work inside is done by then."""
    bell = _Bell()

    def ring() -> None:
        bell.rang = True
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(max(FIRST, seconds), ring)
    timer.daemon = True
    timer.start()
    try:
        yield bell
    finally:
        timer.cancel()


def _reserve(s: Session) -> float:
    return min(RESERVE, 60 * s.minutes / 4)


def _read(name: str, s: Session) -> Structures:
    from tasks import TASKS, reader

    if s.data is None or not (s.data / "read.py").is_file():
        raise LeftOut(f"there is no folder with benchmark data at {s.data or 'the usual place'}; give --data DIR")
    try:
        structures = TASKS[name].read(reader(s.data), name)
    except FileNotFoundError as error:
        raise LeftOut(f"its data are missing: {error}") from None
    if s.tiny:
        valid = None if structures.valid is None else structures.valid[:5]
        return replace(structures, train=structures.train[:25], valid=valid, test=_test_set(structures)[:5])
    return structures


def _test_set(structures: Structures) -> Sequence[Data]:
    assert structures.test is not None
    assert not isinstance(structures.test, Mapping)  # all benchmarks have one such set
    return structures.test


def _config(name: str, s: Session) -> Any:
    from tasks import TASKS

    from pyg_equiformer.training.recipes import merge, parse_assignments, resolve

    task = TASKS[name]
    settings = merge(parse_assignments(list(task.settings)), {"compare": task.compare})
    if s.tiny:
        settings = merge(settings, {"valid_fraction": 5, "epochs": 1, "validations": 1})
    elif s.train_time is not None:
        # Recipes validate once or twice an epoch, which would be most of a short run.
        settings |= {"max_time": s.train_time, "validations": VALIDATIONS}
    return resolve(None, preset="small" if s.tiny else task.preset, settings=settings)


def _run_name(name: str, s: Session) -> str:
    """What was asked for: a run of another length is another run."""
    length = "recipe" if s.train_time is None else f"{s.train_time:g}s"
    return f"{re.sub(r'[^a-z0-9]+', '-', name)}_{length}"


def _errors_so_far(folder: Path, structures: Structures, work: Work) -> dict[str, Any]:
    """Errors of the model that the run has reached, on as much of the test set as there is time for."""
    from pyg_equiformer.training import load_run, predict
    from pyg_equiformer.training.report import errors
    from pyg_equiformer.training.saving import MODEL, STATE

    if not (folder / MODEL).is_file():
        return {}
    trained, device = load_run(folder), work.session.device
    test = _test_set(structures)[:TEST_SHARE]
    told = partial(predict, trained.model, targets=trained.targets, device=device)
    few = test[:FEW]
    told(few, batch_size=FEW)  # loads and warms up
    pace = seconds_of(lambda: told(few, batch_size=FEW), device) / len(few)
    test = test[: max(FEW, int(0.7 * work.clock.left / pace))]
    found = errors(told(test, batch_size=4 * trained.config.batch_size))
    run: dict[str, Any] = {"device": str(device), "test_structures": len(test)}
    if (folder / STATE).is_file():
        state = torch.load(folder / STATE, weights_only=True, map_location="cpu")
        run |= {"steps": state["global_step"], "trained": {"value": round(state["elapsed"], 1), "unit": "s"}}
    return {"test": found, "run": run}
