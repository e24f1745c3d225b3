"""A piece in a process of its own: an error on the card, or a kernel that never ends, takes nothing else with it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

from pyg_equiformer.bench import allocator

from .pieces import DONE, FAILED, LEFT_OUT, UNFINISHED, Piece, Session, write

#: States by the code that such a process ends with.
CODES = {0: DONE, 1: FAILED, 3: UNFINISHED, 4: LEFT_OUT}
#: Beyond its minutes a piece gets so many s to come to an end by itself.
GRACE = 45.0


def perform_apart(piece: Piece, session: Session, script: Path, options: Sequence[str]) -> str:
    """Do a piece in its own process and return its state; a process that was ended is recorded as failed."""
    name = piece.name
    command = [sys.executable, str(script), *options, "--alone", name]
    began = time.time()
    # Those who are timed on the processor are timed with memory that stays with the process.
    child = subprocess.Popen(command, env={**os.environ, **allocator.unset()})

    def passed_on(number: int, frame: FrameType | None) -> None:
        child.send_signal(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, passed_on)
    ended = ""
    try:
        child.wait(60 * session.minutes + GRACE)
    except subprocess.TimeoutExpired:
        child.kill()
        ended = f"had to be ended after {session.minutes:g} minutes; give more --minutes"
    except KeyboardInterrupt:
        # Ctrl-C has reached the process too: it may save its state.
        with suppress(subprocess.TimeoutExpired):
            child.wait(GRACE)
        child.kill()
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
    code = child.wait()
    if not ended and code in CODES:
        return CODES[code]
    state = UNFINISHED if ended and piece.goes_on else FAILED
    ended = ended or (f"ended by signal {-code}" if code < 0 else f"ended with code {code}")
    path = session.path(name)
    kept = session.result(name) if path.is_file() and path.stat().st_mtime >= began else {}
    write(session, name, {**kept, "state": state, "error": ended}, time.time() - began)
    return state
