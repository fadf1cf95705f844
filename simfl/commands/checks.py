"""simfl validate, verify-network and schema."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    pass

from simfl.commands.shared import Overrides, Quiet, ScenarioName, app, err, load, out


@app.command()
def validate(scenario: ScenarioName, overrides: Overrides = None) -> None:
    """Check a scenario, its devices, network and topology; open no data."""
    loaded = load(scenario, overrides, None)
    from simfl.assembly import check

    platform = check(loaded)
    for note in platform.notes:
        out.print(f"device: {note}", markup=False)
    for note in platform.wiring.notes:
        out.print(f"network: {note}", markup=False)
    out.print(f"{scenario}: valid", markup=False)


@app.command(name="verify-network")
def verify_network(
    file: Annotated[Path, typer.Argument(help="Measured transfers, one JSON case a line.")],
    out_file: Annotated[
        Path | None,
        typer.Option("--out", help="Where predictions go, a line a case.", show_default=False),
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Seeds per case; the median is told.")] = 31,
    seed: Annotated[int, typer.Option(help="The first seed.")] = 1,
    fair: Annotated[
        bool, typer.Option("--fair", help="Fair shares instead of congestion windows.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Hold the network model against measured TCP transfers."""
    from rich.progress import track

    from simfl import terminal
    from simfl.verification import predict, read_cases, table_of, write_predictions

    cases = read_cases(file)
    hidden = quiet or not err.is_terminal
    playing = track(cases, "playing", console=err, transient=True, disable=hidden)
    predicted = [predict(case, repeats=repeats, seed=seed, windows=not fair) for case in playing]
    if out_file is not None:
        write_predictions(out_file, cases, predicted)
    if not quiet:
        terminal.show_verification(out, table_of(cases, predicted))


@app.command()
def schema() -> None:
    """Print the scenario's JSON Schema, for editors."""
    from simfl.scenario import json_schema

    sys.stdout.write(json.dumps(json_schema(), indent=2) + "\n")
