"""simfl store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simfl.errors import ScenarioError

if TYPE_CHECKING:
    from simfl.memo import Disk

from simfl.commands.shared import app, out

store_app = typer.Typer(
    name="store", help="What was computed before: look, and make room.", no_args_is_help=True
)
app.add_typer(store_app)
StoreFolder = Annotated[
    Path,
    typer.Argument(metavar="[FOLDER]", envvar="SIMFL_STORE", help="The store.", show_default=True),
]


@store_app.command()
def info(folder: StoreFolder = Path("runs/.simfl")) -> None:
    """Say what a store holds."""
    from simfl import terminal

    terminal.show_store(out, folder, _open_store(folder).info())


@store_app.command()
def gc(
    folder: StoreFolder = Path("runs/.simfl"),
    limit: Annotated[
        str | None,
        typer.Option(
            show_default=False, help="What values may take from now on, e.g. '500 MB' or 0 B."
        ),
    ] = None,
) -> None:
    """Make room: let the least recently used values go, remove what killed runs left."""
    from simfl.units import show_bytes

    limit_bytes = None if limit is None else _size(limit)
    disk = _open_store(folder)
    freed = disk.evict(limit_bytes) + disk.tidy()
    out.print(f"{folder}: {show_bytes(freed)} freed; counts and scores are kept", markup=False)


def _open_store(folder: Path) -> Disk:
    from simfl.errors import StoreError
    from simfl.memo import Disk

    if not (folder / "index.sqlite").is_file():
        raise StoreError(f"{folder}: no store; give its folder, .simfl beside the traces")
    return Disk(folder)


def _size(text: str) -> int:
    from simfl.units import parse

    try:
        nbytes = int(parse(text, "size"))
    except ValueError as error:
        raise ScenarioError(f"--limit {text}: {error}") from error
    if nbytes < 0:
        raise ScenarioError(f"--limit {text}: give 0 B or more")
    return nbytes
