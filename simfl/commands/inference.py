"""simfl inference."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simfl.commands import completion
from simfl.commands.shared import app, out
from simfl.errors import ScenarioError

if TYPE_CHECKING:
    from simfl.inference import Network


@app.command()
def inference(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="The trace of a run (RUN.h5), a name of `simfl list models`, or FILE.py:NAME.",
        ),
    ],
    against: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            show_default=False,
            help="What it was pruned from; else, of a trace, its scenario's model.",
        ),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Samples that are answered at once.")] = 1,
    device: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DEVICE",
            show_default=False,
            help="A name or file, and more of them; else all.",
            autocompletion=completion.devices,
        ),
    ] = None,
    images: Annotated[
        str,
        typer.Option("--input", metavar="CxHxW", help="Shape of one input; a trace knows its own."),
    ] = "1x28x28",
    classes: Annotated[int, typer.Option(min=1, help="Of a named model.")] = 10,
    csv: Annotated[
        Path | None, typer.Option(show_default=False, help="Write the figures to this file.")
    ] = None,
) -> None:
    """Latency, throughput and memory of a network that answers, on every device."""
    if csv is not None and not csv.parent.is_dir():
        raise ScenarioError(f"--csv {csv}: there is no folder {csv.parent}; make it")
    from simfl import resources
    from simfl.devices import load_device
    from simfl.inference_listing import rows_of, show_networks, show_rows, write_rows

    devices = [load_device(name) for name in device or resources.names("device_models")]
    network, original = _networks(model, against, images, classes)
    rows = rows_of(network, devices, batch=batch, original=original)
    show_networks(out, network, original, batch)
    show_rows(out, rows)
    if csv is not None:
        write_rows(csv, rows)


def _networks(
    model: str, against: str | None, images: str, classes: int
) -> tuple[Network, Network | None]:
    """The network, and the one that it was pruned from."""
    from simfl.inference import original_of
    from simfl.record import Trace

    network = _network(model, images, classes)
    if against is not None:
        return network, _network(against, images, classes)
    return network, original_of(Trace(model)) if model.endswith(".h5") else None


def _network(model: str, images: str, classes: int) -> Network:
    from simfl.fitting import parse_images
    from simfl.inference import network_of

    shape = parse_images(images)
    if ":" not in model:
        return network_of(model, sample_shape=shape, classes=classes)
    from simfl.profile.bench import load_module

    try:
        module = load_module(model)
    except ValueError as error:
        raise ScenarioError(str(error)) from error
    return network_of(module, sample_shape=shape)
