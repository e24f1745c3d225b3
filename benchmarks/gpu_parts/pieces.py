"""Pieces of work: what they are told, how long they may take, and their results as files."""

import json
import math
import platform
import re
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from pyg_equiformer.bench.machine import PACKAGES
from pyg_equiformer.training.hardware import hardware, processor_name
from pyg_equiformer.training.whole_files import whole_file

#: States of a piece: as it should be; not as it should be; goes on in the next call; could not begin.
DONE, FAILED, UNFINISHED, LEFT_OUT = "done", "failed", "unfinished", "left out"


class OutOfTime(Exception):
    """The minutes of a piece are over."""


class LeftOut(Exception):
    """A piece cannot be done here, for a reason that is told."""


@dataclass(frozen=True)
class Session:
    """What all pieces are told.

    Attributes:
        device: to run on.
        out: folder for the results.
        runs: folder for the training runs.
        data: folder of the benchmark data; None: there is none.
        minutes: longest time of a piece.
        train_time: of a whole training run in s, over as many calls as it takes; None: as long as the recipe says.
        tiny: whether all is done with as little work as possible, to try the script.
        again: whether what is done already is done once more.
    """

    device: torch.device
    out: Path
    runs: Path
    data: Path | None
    minutes: float
    train_time: float | None
    tiny: bool = False
    again: bool = False

    @cached_property
    def card(self) -> str:
        """Name of the card, or of the processor."""
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else processor_name()

    @cached_property
    def stem(self) -> str:
        """What the names of files begin with: card and version of the package."""
        kind = ("tiny_" if self.tiny else "") + ("gpu" if self.device.type == "cuda" else "cpu")
        return f"{kind}_{re.sub(r'[^a-z0-9]+', '-', self.card.lower()).strip('-')}_v{version('pyg_equiformer')}"

    def path(self, name: str) -> Path:
        """File of the result of a piece."""
        return self.out / f"{self.stem}_{name.replace(':', '-')}.json"

    def result(self, name: str) -> dict[str, Any]:
        """Contents of that file; {} where there is none."""
        path = self.path(name)
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}

    def state(self, name: str) -> str | None:
        """State of a piece; None: not begun."""
        return self.result(name).get("state")


@dataclass
class Clock:
    """Time of a piece, in s."""

    limit: float
    began: float = field(default_factory=time.monotonic)

    @property
    def spent(self) -> float:
        return time.monotonic() - self.began

    @property
    def left(self) -> float:
        return self.limit - self.spent

    def check(self, what: str = "") -> None:
        """Raise `OutOfTime`, saying what would have been next, when the time is over."""
        if self.left < 0:
            raise OutOfTime(f"not done within {self.limit / 60:g} minutes, next was: {what}; give more --minutes")


@dataclass(frozen=True)
class Work:
    """A piece under way."""

    session: Session
    name: str
    clock: Clock

    def keep(self, facts: dict[str, Any]) -> None:
        """Write what there is so far, lest it be lost."""
        write(self.session, self.name, {"state": UNFINISHED, **facts}, self.clock.spent)


@dataclass(frozen=True)
class Piece:
    """A piece of work.

    Attributes:
        name: "group:what".
        about: what is done, in words.
        do: does it and returns the facts, "state" among them if it is not `DONE`.
        goes_on: whether it goes on where it was ended.
    """

    name: str
    about: str
    do: Callable[[Work], dict[str, Any]]
    goes_on: bool = False


def perform(piece: Piece, session: Session) -> str:
    """Do a piece in this process, write its result whatever comes, and return its state."""
    clock = Clock(60 * session.minutes)
    try:
        facts = {"state": DONE, **piece.do(Work(session, piece.name, clock))}
    except LeftOut as reason:
        print(f"{piece.name} is left out: {reason}", flush=True)
        return LEFT_OUT
    except Exception as error:
        if not isinstance(error, OutOfTime):
            traceback.print_exc()
        facts = {"state": FAILED, "error": f"{type(error).__name__}: {error}"}
    write(session, piece.name, facts, clock.spent)
    return str(facts["state"])


def write(session: Session, name: str, facts: dict[str, Any], seconds: float) -> None:
    """Write the result of a piece, whole or not at all."""
    head = {
        "piece": name,
        "state": facts["state"],
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "device": session.device.type,
        "card": session.card,
        "version": version("pyg_equiformer"),
        "session": {"minutes": session.minutes, "train_time": session.train_time, "tiny": session.tiny},
        "hardware": {**hardware(), "versions": versions()},
    }
    text = json.dumps(_plain({**head, **facts}), indent=1, ensure_ascii=False, allow_nan=False)
    with whole_file(session.path(name)) as part:
        part.write_text(text + "\n", encoding="utf-8")


def versions() -> dict[str, str]:
    """Versions of the packages that matter and are installed."""
    found = {"python": platform.python_version()}
    for name in (*PACKAGES, "lightning"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _plain(value: Any) -> Any:
    """JSON has no infinity: such numbers become texts."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, Path):
        return str(value)
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
