"""`pyg-equiformer bench`."""

from pathlib import Path
from typing import Annotated

import typer

from .console import command, console


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


@command
def bench(
    preset: Annotated[str, typer.Option(metavar="NAME", help="Network: qm9, md17, small, and others.")] = "qm9",
    peers: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="Who takes part beside this package, or none: e3nn, equiformer-pytorch, cuequivariance, "
            "openequivariance. \\[default: all]",
            show_default=False,
        ),
    ] = None,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", metavar="FILE", help="Write every timing, settings, machine and versions; figures too."),
    ] = None,
    figures: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for the figures. \\[default: that of the JSON file]")
    ] = None,
    scaling: Annotated[
        str,
        typer.Option(
            metavar="A,B",
            help="Also follow atoms, degree, lmax or channels, or all; takes minutes each. \\[default: none]",
        ),
    ] = "",
    molecules: Annotated[
        int | None, typer.Option(min=1, help="In a batch. \\[default: as many as the preset was published with]")
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Timings of each; the median counts.")] = 5,
    threads: Annotated[int | None, typer.Option(min=1, help="Of the processor. \\[default: one for each core]")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    memory: Annotated[
        bool, typer.Option("--memory/--no-memory", help="Measure peak memory, in a process of its own each time.")
    ] = True,
    engine: Annotated[str, typer.Option(metavar="A,B", help="Time this package with these engines as well.")] = "",
    compile: Annotated[bool, typer.Option("--compile", help="Time this package compiled as well.")] = False,
    precision: Annotated[str, typer.Option(metavar="A,B", help="… with these precisions of products as well.")] = "",
    checkpoint: Annotated[
        str, typer.Option(metavar="A,B", help="… storing less: none, tensor_product, block. Choices are combined.")
    ] = "",
) -> None:
    """Time forward, training step and peak memory on made-up molecules, beside every peer that is installed.

    All take turns in one process, with the same threads and the same allocator: with glibc, the command starts itself
    anew so that freed memory stays with the process.
    """
    from ..bench import allocator

    missing = allocator.unset()
    if missing:
        told = ", ".join(f"{name}={value}" for name, value in missing.items())
        console().print(f"starting anew with {told}", highlight=False, soft_wrap=True)
        allocator.restart(missing)
    import json

    from ..bench import BenchSettings, draw_figures, notes, run, table
    from ..bench.figures import check_matplotlib
    from ..bench.variants import variants_of

    settings = BenchSettings(
        preset=preset,
        peers=None if peers is None else () if peers == "none" else _words(peers),
        variants=variants_of(_words(engine), compile, _words(precision), _words(checkpoint)),
        molecules=molecules,
        repeats=repeats,
        threads=threads,
        device=device,
        scaling=_words(scaling),
        memory=memory,
    )
    if json_file is not None:
        if json_file.is_dir():
            raise ValueError(f"--json {json_file}: expected a file, this is a folder")
        figures = json_file.parent if figures is None else figures
        json_file.parent.mkdir(parents=True, exist_ok=True)
    if figures is not None:
        check_matplotlib()
        figures.mkdir(parents=True, exist_ok=True)
    with console(stderr=True).status("starting") as status:
        result = run(settings, progress=lambda text: status.update(text))
    console().print(table(result))
    for line in notes(result):
        console().print(line, highlight=False, soft_wrap=True, markup=False)
    written = []
    if json_file is not None:
        json_file.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        written.append(json_file)
    if figures is not None:
        written += draw_figures(result, figures, json_file.stem if json_file is not None else "bench")
    for path in written:
        console().print(f"→ {path}", highlight=False, soft_wrap=True, markup=False)
