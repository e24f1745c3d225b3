"""The card of a model: what it is, for what, how good, and how to use it, in Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..elements import symbol

CARD = "README.md"
_SHOWN = ("_mae", "_rmse", "_mae_per_atom", "_spread")


def model_card(
    content: Mapping[str, Any], *, title: str | None = None, licence: str | None = None, about: str = ""
) -> str:
    """Return the card of a model.

    Args:
        content: what describes the model, see `checkpoints.model_content`.
        title: None: its kind of model.
        licence: as the Hub spells it; None: not told.
        about: what else to tell.

    Example:
        >>> from pyg_equiformer import EnergyForces, Equiformer
        >>> from pyg_equiformer.checkpoints import model_content
        >>> content = model_content(EnergyForces(Equiformer.from_preset("small")), {"elements": [1, 8]})
        >>> [line for line in model_card(content).splitlines() if line.startswith("| elements")]
        ['| elements | H, O: trained on these and on no others |']
    """
    kind = content.get("class", "EquiFold")
    front = ["---", "library_name: pyg_equiformer", *([f"license: {licence}"] if licence else []), "tags:"]
    tags = ["chemistry", "biology" if kind == "EquiFold" else "materials science", "equivariance"]
    facts = _fold_facts(content) if kind == "EquiFold" else _facts(content)
    table = ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in facts)]
    parts = [
        "\n".join([*front, *(f"- {tag}" for tag in tags), "---"]),
        f"# {title or f'{kind} of pyg_equiformer'}",
        *([about.strip()] if about.strip() else []),
        "\n".join(table),
        *_errors(content.get("extra", {}).get("errors", {})),
        _use(kind),
    ]
    return "\n\n".join(parts) + "\n"


def _facts(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    first = content["members"][0] if "members" in content else content
    config, extra = first["config"], content.get("extra", {})
    facts = [("model", f"`{first['class']}`, {_size(content)}")]
    if "members" in content:
        facts.append(("committee", f"{len(content['members'])} members: means, and their spread as `<name>_std`"))
    facts.append(("outputs", _outputs(first, extra)))
    facts += [("cutoff", f"{config['cutoff']} Å"), ("elements", _elements(config, extra))]
    references = first.get("settings", {}).get("atomic_energies")
    if references:
        told = ", ".join(f"{symbol(int(z))} {energy:.6f}" for z, energy in references.items())
        facts.append(("reference energies in eV, added to the energy", told))
    if "training" in extra:
        facts.append(("trained on", _data(extra["training"].get("data"), extra.get("run", {}))))
    return [*facts, ("written by", f"pyg_equiformer {content['package']}, format {content['version']}")]


def _data(name: str | None, run: Mapping[str, Any]) -> str:
    """Return what is known of the data: a name, and of a run that ended the number of structures trained on."""
    sample, python = "the ethanol sample that comes with pyg_equiformer", "data handed over in Python"
    told = {True: python, False: sample, None: f"{sample}, or {python}"}[run.get("handed_over")]
    count = run.get("training_structures")
    return f"{name or told}{'' if count is None else f': {count:,} structures'}"


def _fold_facts(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    config = content["config"]
    trained = content.get("extra", {}).get("training", {}).get("structures")
    return [
        ("model", f"`EquiFold` (bioRxiv 2022.10.07.511322), {_size(content)}"),
        ("input", "sequences of proteins"),
        ("output", "coordinates of all heavy atoms in Å, and the lDDT that the model expects"),
        ("cutoff", f"{config['cutoff']} Å"),
        *([("trained on", str(trained))] if trained else []),
        ("written by", f"pyg_equiformer {content['package']}, format {content['version']}"),
    ]


def _size(content: Mapping[str, Any]) -> str:
    states = [m["state_dict"] for m in content["members"]] if "members" in content else [content["state_dict"]]
    tensors = [t for state in states for t in state.values() if t.is_floating_point()]
    return f"{sum(t.numel() for t in tensors):,} numbers in {str(tensors[0].dtype).removeprefix('torch.')}"


def _outputs(first: Mapping[str, Any], extra: Mapping[str, Any]) -> str:
    settings = first.get("settings", {})
    if first["class"] == "EnergyForces":
        stress = ", stress in eV/Å³ (positive under tension)" if settings.get("stress") else ""
        return f"energy in eV, forces in eV/Å{stress}"
    if first["class"] == "PropertyModel":
        units = settings["units"] or [""] * len(settings["names"])
        return ", ".join(f"{n} in {u}" if u else f"{n} (unit not told)" for n, u in zip(settings["names"], units))
    unit = f" in {extra['unit']}" if "unit" in extra else ""
    return f"{first['config']['num_outputs']} × {first['config']['output']}{unit}"


def _elements(config: Mapping[str, Any], extra: Mapping[str, Any]) -> str:
    if config.get("num_tokens") is not None:
        return f"none: {config['num_tokens']} tokens in their place"
    if extra.get("elements"):
        return f"{_symbols(extra['elements'])}: trained on these and on no others"
    return f"{_symbols(config['elements'])}: there are weights for these; which were trained is not told"


def _symbols(elements: Sequence[int]) -> str:
    zs = sorted(elements)
    if len(zs) > 5 and zs == list(range(zs[0], zs[-1] + 1)):
        return f"{symbol(zs[0])} to {symbol(zs[-1])}"
    return ", ".join(map(symbol, zs))


def _errors(errors: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a table of the errors of each set, if any are known."""
    names = [n for n in dict.fromkeys(n for each in errors.values() for n in each) if n.endswith(_SHOWN)]
    if not names:
        return []
    rows = ["## Errors", "", f"| | {' | '.join(errors)} |", f"|---|{'---|' * len(errors)}"]
    for name in names:
        cells = [f"{e[name]['value']:.4g} {e[name]['unit']}" if name in e else "" for e in errors.values()]
        rows.append(f"| {name.replace('_', ' ')} | {' | '.join(cells)} |")
    return ["\n".join(rows)]


def _use(kind: str) -> str:
    code = [
        "from pyg_equiformer import from_pretrained",
        "",
        'model = from_pretrained("…")  # this folder or repository',
    ]
    if kind == "EquiFold":
        told = "`pyg-equiformer fold predict FOLDER sequences.fasta --out folded/` on the command line, and in Python:"
    else:
        told = "`pyg-equiformer predict FOLDER structures.xyz -o predicted.xyz` on the command line, and in Python:"
        code.append(
            "out = model(z, pos)  # atomic numbers [N], positions [N, 3] in Å; or model(data) of PyTorch Geometric"
        )
    install = 'Install with `pip install "pyg_equiformer[train,hub]"`;'
    return "\n".join(["## How to use it", "", install, told, "", "```python", *code, "```"])
