"""simfl optimize."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simfl.commands.shared import (
    DataDir,
    Executor,
    Quiet,
    ScenarioName,
    StoreDir,
    Workers,
    app,
    err,
    fail,
    out,
)

if TYPE_CHECKING:
    from pandas import DataFrame


@app.command()
def optimize(
    scenario: ScenarioName,
    space: Annotated[
        list[str],
        typer.Argument(
            metavar="KEY.PATH=LOW..HIGH...",
            help="What to try: 'platform.network.rate=1 Mbit/s..20 Mbit/s', "
            "'learning.local.learning_rate=0.01..1 log', level=1..30 (whole numbers), or "
            "choices a,b,c; one value alone is fixed.",
        ),
    ],
    minimize: Annotated[
        str | None,
        typer.Option(
            metavar="FIGURE",
            show_default=False,
            help="time_to_accuracy, bytes_to_accuracy, joules_to_accuracy, time, bytes or joules.",
        ),
    ] = None,
    maximize: Annotated[
        str | None, typer.Option(metavar="FIGURE", show_default=False, help="E.g. accuracy.")
    ] = None,
    at_least: Annotated[
        list[str] | None,
        typer.Option(metavar="FIGURE=LIMIT", show_default=False, help="E.g. accuracy=0.9."),
    ] = None,
    at_most: Annotated[
        list[str] | None,
        typer.Option(metavar="FIGURE=LIMIT", show_default=False, help="E.g. 'time=2 h'."),
    ] = None,
    trials: Annotated[
        int, typer.Option(help="How many points to try, those of earlier calls included.")
    ] = 50,
    seed: Annotated[int, typer.Option(help="Of what is tried, not of the scenario.")] = 0,
    folder: Annotated[
        Path, typer.Option("--out", help="Folder for the traces, their store and the study.")
    ] = Path("runs/optimize"),
    data_dir: DataDir = None,
    store: StoreDir = None,
    executor: Executor = "auto",
    workers: Workers = None,
    quiet: Quiet = False,
) -> None:
    """Search the best point of a scenario with Optuna; the same seed tries the same points.

    Resumable: the same call goes on, with more --trials further.
    """
    from simfl import api
    from simfl.points import Points

    found = api.optimize(
        scenario,
        *space,
        folder=folder,
        minimize=minimize,
        maximize=maximize,
        at_least=at_least or [],
        at_most=at_most or [],
        trials=trials,
        seed=seed,
        data_dir=data_dir,
        store=store or True,
        executor=executor,
        workers=workers,
        on_point=Points(err, quiet=quiet).show,
    )
    found.to_csv(folder / "optimize.csv", index=False)
    if not quiet:
        _show(found)
    if not found["best"].any():
        fail(
            f"none of {len(found)} trials gets there and holds all bounds; see "
            f"{folder / 'optimize.csv'}"
        )


def _show(found: DataFrame) -> None:
    """The best trial and its figures; failures apart."""
    from simfl import spreads
    from simfl.points import show_failed, show_points

    best = found[found["best"]]
    if len(best):
        trial = best.index[0] + 1
        out.print(f"best of {len(found)} trials, number {trial}: {best['trace'].iloc[0]}")
        shown = spreads.folded(best.drop(columns=["trace", "best"]))
        show_points(out, shown, trained=False)
    show_failed(err, found[found["status"].str.startswith("failed")])
