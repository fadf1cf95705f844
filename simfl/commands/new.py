"""simfl new."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from simfl.commands import completion
from simfl.commands.shared import app, err, out
from simfl.errors import SimflError

T = TypeVar("T")


@app.command()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the scenario: NAME.yaml.")],
    learn: Annotated[
        str | None,
        typer.Option(
            metavar="DATASET [MODEL]",
            show_default=False,
            help="What is learnt, e.g. 'mnist lenet5', or a .npz or folder of your own.",
        ),
    ] = None,
    algorithm: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            show_default=False,
            help="How, e.g. fedavg or prunefl.",
            autocompletion=completion.algorithms,
        ),
    ] = None,
    devices: Annotated[
        str | None,
        typer.Option(
            metavar="COUNT DEVICE, ...", show_default=False, help="By whom, e.g. '5 pi3, 5 pi4'."
        ),
    ] = None,
    network: Annotated[
        str | None,
        typer.Option(
            metavar="KIND|LINK|RATE",
            show_default=False,
            help="Over what, e.g. star, lte or '20 Mbit/s'.",
        ),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Ask nothing: what no flag says is the default.")
    ] = False,
) -> None:
    """Write a scenario with a comment at every key: four questions, or their flags."""
    from simfl import answers, drafting

    title, path = answers.read_name(name)
    asks = at_a_terminal() and not yes
    if asks and None in (learn, algorithm, devices, network):
        out.print("Enter takes what stands in brackets; ? lists what there is.", markup=False)
    draft = answers.Draft(
        name=title,
        learnt=_answer(
            learn,
            "What is learnt? A data set, and if you like a model",
            "mnist",
            ("datasets", "models"),
            lambda text: answers.read_learnt(text, path.parent),
            asks=asks,
        ),
        algorithm=_answer(
            algorithm,
            "By which algorithm?",
            "fedavg",
            ("algorithms",),
            answers.read_algorithm,
            asks=asks,
        ),
        groups=_answer(
            devices,
            "On which devices? As 5 pi3, 5 pi4",
            "10 pi4",
            ("devices",),
            answers.read_devices,
            asks=asks,
        ),
        network=_answer(
            network,
            "Over which network? A kind, a link for each device, or its rate",
            "star",
            ("networks", "links"),
            answers.read_network,
            asks=asks,
        ),
    )
    path.write_text(drafting.render(draft), encoding="utf-8")
    try:
        # the first time on a machine, numba compiles for some seconds
        with err.status("counting one round, to see that it runs"):
            _try(path)
    except SimflError:
        # a scenario that cannot run is not left behind
        path.unlink()
        raise
    out.print(f"{path}: {drafting.title(draft)}", markup=False)
    out.print(f"run it: simfl run {path}", markup=False)


def at_a_terminal() -> bool:
    """Whether there is a person to ask."""
    return sys.stdin.isatty()


def _try(path: Path) -> None:
    """Count one round, nothing trained; on digits, so that no large data set is read for it.

    Raises:
        SimflError: the answers do not fit each other.
    """
    from simfl import api

    api.load(path)
    api.plan(api.load(path, ["learning.dataset={name: digits}"]))


def _answer(
    given: str | None,
    question: str,
    default: str,
    kinds: tuple[str, ...],
    read: Callable[[str], T],
    *,
    asks: bool,
) -> T:
    """What a flag says; else what a person says, who is asked again until it can be read."""
    if given is not None or not asks:
        return read(default if given is None else given)
    while True:
        text = typer.prompt(question, default=default)
        try:
            if text.strip() != "?":
                return read(text)
            _list(kinds)
        except SimflError as error:
            out.print(f"  {error}", markup=False)


def _list(kinds: tuple[str, ...]) -> None:
    from simfl.listing import show_list

    for kind in kinds:
        show_list(out, kind)
