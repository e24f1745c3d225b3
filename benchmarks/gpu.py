"""Do all the work that needs a GPU, on whatever card is present, and keep the results as JSON.

    python benchmarks/gpu.py                          # everything; the same command goes on with what is left
    python benchmarks/gpu.py --only speed             # correctness comes first where it is not known
    python benchmarks/gpu.py --only training:acac --train-time recipe
    python benchmarks/gpu.py --list

First every engine is checked against the default one in float64 on the CPU; then the network is timed beside its
peers; then it is trained on benchmark data, a few minutes of each run in a call. Each piece is done in a process of
its own within its minutes and writes one file, with hardware, versions, date and settings. What has a file for this
card and this version of the package is not done again, without --again. An engine that fails is told and left out of
what follows.

The script ends with 0 if everything selected is done, 1 if something failed, 2 if it could not begin (no CUDA device,
a wrong option), 3 if nothing failed and the same command goes on with what is left, 130 after Ctrl-C.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from gpu_parts.isolation import CODES, perform_apart
from gpu_parts.listing import all_pieces, select
from gpu_parts.pieces import DONE, FAILED, LEFT_OUT, UNFINISHED, Piece, Session, perform
from tasks import SHARED

HERE = Path(__file__).parent
CODE_OF = {state: code for code, state in CODES.items()}
NO_DEVICE = "there is no CUDA device here: run this on a machine with one, or give --device cpu (and --tiny to try it)"


def main(arguments: Sequence[str] | None = None) -> int:
    """Do the pieces that are asked for and return the code to end with."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        print(NO_DEVICE, file=sys.stderr)
        return 2
    pieces = all_pieces()
    try:
        session = _session(options)
        wanted = select(pieces, options.alone or options.only)
    except ValueError as error:
        parser.error(str(error))
    if options.list:
        _show(pieces, session)
        return 0
    try:
        if options.alone:
            return CODE_OF[perform(wanted[0], session)]
        return _work_through(_with_checks(wanted, pieces, session), session, options, arguments)
    except KeyboardInterrupt:
        print("stopped; the same command goes on", flush=True)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder for the results")
    parser.add_argument("--only", metavar="A,B", help="names of pieces, or of groups: correctness, speed, training")
    parser.add_argument("--minutes", type=float, default=9.0, help="longest time of a piece (default: %(default)g)")
    parser.add_argument("--data", type=Path, help="folder of the benchmark data, with its read.py")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder for the training runs")
    parser.add_argument(
        "--train-time",
        default="20m",
        metavar="TIME",
        help="of each training run, over as many calls as it takes: 20m, 1.5h, or recipe for that of the recipe; the "
        "learning rate falls to its end within it (default: %(default)s)",
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="(default: %(default)s)")
    parser.add_argument("--tiny", action="store_true", help="as little work as possible, to try the script")
    parser.add_argument("--again", action="store_true", help="do again what is done already")
    parser.add_argument("--list", action="store_true", help="show all pieces and how far they are here")
    parser.add_argument("--in-process", action="store_true", help="no processes of their own for pieces, to debug them")
    parser.add_argument("--alone", help=argparse.SUPPRESS)  # how the processes of their own are started
    return parser


def _session(options: argparse.Namespace) -> Session:
    from pyg_equiformer.cli import seconds

    if not options.minutes > 0:
        raise ValueError(f"--minutes: expected more than 0, got {options.minutes:g}")
    try:
        train_time = None if options.train_time == "recipe" else seconds(options.train_time)
    except ValueError:
        raise ValueError(f"--train-time: expected 20m, 1.5h or recipe, got {options.train_time!r}") from None
    if options.data is not None and not options.data.is_dir():
        raise ValueError(f"--data {options.data}: there is no such folder")
    data = options.data or (SHARED if SHARED.is_dir() else None)
    device = torch.device(options.device)
    paths = {"out": options.out, "runs": options.runs, "data": data}
    limits = {"minutes": options.minutes, "train_time": train_time}
    return Session(device, **paths, **limits, tiny=options.tiny, again=options.again)


def _with_checks(wanted: list[Piece], pieces: list[Piece], session: Session) -> list[Piece]:
    """Put the checks that have no result yet before what needs them."""
    names = {piece.name for piece in wanted}
    if all(name.startswith("correctness:") for name in names):
        return wanted
    needed = [p for p in pieces if p.name.startswith("correctness:") and session.state(p.name) is None]
    names |= {piece.name for piece in needed}
    return [piece for piece in pieces if piece.name in names]


def _work_through(pieces: list[Piece], session: Session, options: argparse.Namespace, arguments: list[str]) -> int:
    print(f"{session.card}: {len(pieces)} pieces, results go to {session.out}/", flush=True)
    states = []
    for number, piece in enumerate(pieces, 1):
        where = f"[{number}/{len(pieces)}] {piece.name}"
        before = session.state(piece.name)
        if before in (DONE, FAILED) and not session.again:
            states.append(before)
            _tell(where, piece.name, f"{before} before", session)
            continue
        print(f"{where}: {piece.about} …", flush=True)
        began = time.monotonic()
        if options.in_process:
            state = perform(piece, session)
        else:
            state = perform_apart(piece, session, Path(__file__), arguments)
        states.append(state)
        if state != LEFT_OUT:  # the piece has said why
            _tell(where, piece.name, f"{state}, {time.monotonic() - began:.0f} s", session)
    if FAILED in states:
        print("something failed, as told above; --again repeats it", flush=True)
        return 1
    if UNFINISHED in states:
        print("the same command goes on with what is unfinished", flush=True)
        return 3
    return 0


def _tell(where: str, name: str, how: str, session: Session) -> None:
    """Print how a piece ended and its file, and what is wrong."""
    result = session.result(name)
    refused = f" (cannot serve: {result['refused']})" if "refused" in result else ""
    print(f"{where}: {how}{refused} → {session.path(name).name}", flush=True)
    error = [result["error"]] if "error" in result else []
    for line in (*result.get("failures", ()), *error, *result.get("notes", ())):
        print(f"    {line}", flush=True)


def _show(pieces: list[Piece], session: Session) -> None:
    print(f"{session.card}: results in {session.out}/")
    width = max(len(piece.name) for piece in pieces)
    for piece in pieces:
        print(f"{piece.name:{width}}  {session.state(piece.name) or 'not begun':10}  {piece.about}")


if __name__ == "__main__":
    sys.exit(main())
