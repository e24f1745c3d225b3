"""The command `pyg-equiformer`. What is heavy is imported inside the commands, so that `--help` is fast."""

from typing import Annotated

from .console import app, seconds  # isort: skip  (says what is missing before anything else is imported)

import typer

from . import train, predict, share, export, relax, md, sample, denoise, bench, fold, fold_train, fold_use, fold_relax  # isort: skip  # noqa: F401  (registers the commands, in this order)

__all__ = ["app", "main", "seconds"]


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"pyg_equiformer {version('pyg_equiformer')}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        context.get_help()  # shows it


def main() -> None:
    """Run the command line."""
    app()
