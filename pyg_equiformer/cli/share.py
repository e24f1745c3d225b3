"""`pyg-equiformer share`."""

from pathlib import Path
from typing import Annotated

import typer

from .console import command, console


@command
def share(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="Folder of a run, its model.pt, or a folder that share wrote (with --push)."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FOLDER", help="New or empty folder for the model, or one to replace."),
    ] = None,
    push: Annotated[
        str | None,
        typer.Option("--push", metavar="OWNER/NAME", help="Repository of the Hugging Face Hub to put it into."),
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    title: Annotated[str | None, typer.Option(help="Title of the card. \\[default: the kind of model]")] = None,
    licence: Annotated[
        str | None, typer.Option(help="Licence of the weights: mit, cc-by-4.0, … \\[default: not told]")
    ] = None,
    about: Annotated[str, typer.Option(help="What else the card should tell.", show_default=False)] = "",
) -> None:
    """Write a trained model to a folder to pass on, with a card that tells units, data, errors, cutoff and elements.

    Weights go to model.safetensors, everything else to config.json: nothing in them could run. Anyone loads it with
    from_pretrained, or gives the folder to predict and eval. With --push it goes to a repository of the Hugging Face
    Hub, after hf auth login.
    """
    from ..hub import push_to_hub, save_pretrained

    if out is None and push is None:
        raise ValueError("expected a folder for the model (--out FOLDER) or a repository (--push OWNER/NAME)")
    card = {"title": title, "licence": licence, "about": about}
    if out is not None:
        save_pretrained(run, out, title=title, licence=licence, about=about)
        console().print(f"model and card → {out}/", highlight=False, soft_wrap=True)
    if push is not None:
        source = run if out is None else out
        given = {k: v for k, v in card.items() if v} if out is None else {}
        address = push_to_hub(source, push, private=True if private else None, **given)
        console().print(f"model and card → {address}", highlight=False, soft_wrap=True)
