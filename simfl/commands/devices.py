"""simfl list, show and profile."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simfl.errors import ScenarioError

if TYPE_CHECKING:
    pass

from simfl.commands import completion
from simfl.commands.shared import DataDir, Quiet, app, err, out


class Kind(StrEnum):
    """What can be listed."""

    models = "models"
    algorithms = "algorithms"
    devices = "devices"
    codecs = "codecs"
    datasets = "datasets"
    partitions = "partitions"
    objectives = "objectives"
    topologies = "topologies"
    protocols = "protocols"
    selection = "selection"
    availability = "availability"
    networks = "networks"
    links = "links"
    scenarios = "scenarios"


class Held(StrEnum):
    """How weights are held."""

    dense = "dense"
    masked = "masked"
    coo = "coo"
    csr = "csr"


@app.command("list")
def list_(
    kind: Annotated[Kind, typer.Argument(metavar="KIND", help=f"One of {', '.join(Kind)}.")],
    fits: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            show_default=False,
            help="Of devices: can they train this model?",
            autocompletion=completion.models,
        ),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="With --fits: samples of a step.")] = 20,
    dataset: Annotated[
        str | None,
        typer.Option(show_default=False, help="With --fits: whose images; else --input."),
    ] = None,
    images: Annotated[
        str | None,
        typer.Option(
            "--input", metavar="CxHxW", show_default=False, help="With --fits, e.g. 3x32x32."
        ),
    ] = None,
    classes: Annotated[int, typer.Option(min=1, help="With --input.")] = 10,
    storage: Annotated[
        Held, typer.Option(help="With --fits: how weights are held while training.")
    ] = Held.dense,
    density: Annotated[
        float, typer.Option(min=0, max=1, help="Of weights that are not held dense.")
    ] = 1.0,
    data_dir: DataDir = None,
) -> None:
    """List what a scenario can name."""
    if fits is None:
        from simfl.listing import show_list

        show_list(out, kind.value)
        return
    if kind is not Kind.devices:
        raise ScenarioError(f"--fits: is a question to devices; simfl list devices --fits {fits}")
    if (dataset is None) == (images is None):
        raise ScenarioError("--fits: give --dataset NAME, or --input 3x32x32 --classes 10")
    if density < 1 and storage is Held.dense:
        raise ScenarioError("--density: of weights held dense all are stored; give --storage too")
    from simfl import fitting
    from simfl.device_listing import show_fits
    from simfl.work import Storage

    if dataset is not None:
        shape, classes = fitting.images_of(dataset, data_dir)
    else:
        shape = fitting.parse_images(images or "")
    work = fitting.training_of(
        fits,
        batch=batch,
        sample_shape=shape,
        classes=classes,
        storage=Storage(storage.value),
        density=density,
    )
    show_fits(out, fitting.every_device(work))


@app.command()
def show(
    device: Annotated[
        str,
        typer.Argument(
            metavar="DEVICE",
            help="A YAML file, or a name of `simfl list devices`.",
            autocompletion=completion.devices,
        ),
    ],
) -> None:
    """Show a device's figures, each with how it is known, and from where it pays to be sparse."""
    from simfl.device_listing import show_device

    show_device(out, device)


@app.command()
def profile(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL]...",
            help="With --check: what to measure, a name of `simfl list models` or FILE.py:NAME.",
        ),
    ] = None,
    out_file: Annotated[Path, typer.Option("--out", help="The device file.")] = Path(
        "my_device.yaml"
    ),
    name: Annotated[
        str | None, typer.Option(show_default=False, help="Of the device; else the file's.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int, typer.Option(min=1, help="Of PyTorch.")] = 1,
    budget: Annotated[
        float, typer.Option(min=1, help="Seconds to measure, about; more for a slow board.")
    ] = 120,
    anchor: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL", show_default=False, help="Measure this network too, at two batches."
        ),
    ] = None,
    input_: Annotated[
        str, typer.Option("--input", help="Shape of one input of --anchor and --check.")
    ] = "1x28x28",
    batches: Annotated[str, typer.Option(help="Batches of --check.")] = "2,8,32",
    check: Annotated[
        Path | None,
        typer.Option(
            metavar="DEVICE.yaml", show_default=False, help="Hold this file against measurements."
        ),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.py", show_default=False, help="Write the script that measures a board."
        ),
    ] = None,
    from_: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="JSON", show_default=False, help="What that script wrote on a board."
        ),
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(
            metavar="DEVICE",
            show_default=False,
            help="Take radio, watts and battery, which are not measured, from this device.",
            autocompletion=completion.devices,
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Measure this machine, or a board, and write a device file; or check one."""
    from simfl.profile.command import Request, run_profile

    request = Request(
        models=tuple(models or ()),
        out=out_file,
        name=name or out_file.stem,
        device=device,
        threads=threads,
        budget_s=budget,
        anchors=tuple(anchor or ()),
        shape=input_,
        batches=batches,
        check=check,
        export=export,
        found=from_,
        like=like,
    )
    try:
        run_profile(request, out, err, quiet=quiet)
    except KeyboardInterrupt:
        err.print("stopped; what was measured is kept: go on with the same command", markup=False)
        sys.exit(130)
