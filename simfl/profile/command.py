"""The `simfl profile` command: what was asked, done and shown."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn as Bar
from rich.progress import Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from simfl import resources
from simfl.devices import load_device
from simfl.errors import CostError
from simfl.profile import session
from simfl.profile.check import PASSES, Point, check
from simfl.profile.export import script
from simfl.profile.networks import Subject, shape_of, subject
from simfl.units import show_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The command's options, as written."""

    models: tuple[str, ...]
    out: Path
    name: str
    device: str
    threads: int
    budget_s: float
    anchors: tuple[str, ...]
    shape: str
    batches: str
    check: Path | None
    export: Path | None
    found: Path | None
    like: str | None


def run_profile(request: Request, out: Console, err: Console, *, quiet: bool) -> None:
    """Do it.

    Raises:
        SimflError: what was asked cannot be done; the message says what can.
        KeyboardInterrupt: what was measured is kept.
    """
    if request.device not in ("cpu", "cuda"):
        raise CostError(f"--device {request.device}: give cpu or cuda")
    if request.models and request.check is None:
        raise CostError(f"{request.models[0]}: networks are named with --check or --anchor")
    if request.export is not None:
        _write(request.export, script())
        out.print(
            f"{request.export}: on the board, python {request.export.name} --out profile.json; "
            "back here, simfl profile --from profile.json",
            markup=False,
        )
    elif request.check is not None:
        _check(request, request.check, out, err, quiet)
    else:
        _profile(request, out, err, quiet)


def _profile(request: Request, out: Console, err: Console, quiet: bool) -> None:
    # all that can be wrong, before minutes are spent
    subjects, sibling = _subjects(request.anchors, request.shape), _sibling(request.like)
    _refuse_folder(request.out)
    path = request.found or request.out.with_suffix(".profile.json")
    where = {"device": request.device, "threads": request.threads}
    if request.found is None:
        with _progress(err, quiet) as show:
            session.measure_here(path, budget_s=request.budget_s, progress=show, **where)  # type: ignore[arg-type]
        if subjects:
            with _progress(err, quiet) as show:
                session.measure_anchors(path, subjects, progress=show, **where)  # type: ignore[arg-type]
    found = session.load_profile(path)
    text, fit = session.describe(found, request.name, subjects, sibling)
    _write(request.out, text)
    load_device(str(request.out))
    if quiet:
        return
    out.print(
        f"{request.out}: {fit.cases} cases, explained within {fit.median:.1%} (median) and "
        f"{fit.p90:.1%} (nine of ten); measured in {path}",
        markup=False,
    )
    for entry in found["cases"]:
        if "skipped" in entry:
            first = entry["case"]["layers"][0]
            out.print(
                f"  left out: {first}, batch {entry['case']['batch']}: {entry['skipped']}",
                markup=False,
            )


def _check(request: Request, path: Path, out: Console, err: Console, quiet: bool) -> None:
    import torch

    device = load_device(str(path))
    if not request.models:
        raise CostError(f"--check {path}: name the networks to measure, e.g. lenet5")
    torch.set_num_threads(device.threads or request.threads)
    batches = _batches(request.batches)
    with _progress(err, quiet) as show:
        points = check(
            device,
            _subjects(request.models, request.shape),
            batches,
            where=request.device,
            progress=show,
        )
    show_points(out, points)


def _sibling(name: str | None) -> Path | None:
    if name is None:
        return None
    load_device(name)
    return resources.find("device_models", name)


def _subjects(names: Sequence[str], shape: str) -> list[Subject]:
    return [subject(name, shape_of(shape)) for name in names]


def _batches(text: str) -> list[int]:
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError:
        found = [0]
    if min(found) < 1:
        raise CostError(f"--batches {text}: give numbers of samples, e.g. 2,8,32")
    return found


def _refuse_folder(path: Path) -> None:
    if path.is_dir():
        raise CostError(f"{path}: is a folder; give the name of a file")
    if not path.parent.is_dir():
        raise CostError(f"{path}: there is no folder {path.parent}; make it, or give another name")


def _write(path: Path, text: str) -> None:
    """Whole or not at all."""
    _refuse_folder(path)
    beside = path.with_name(path.name + ".part")
    try:
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, path)
    except OSError as error:
        raise CostError(f"{path}: {error.strerror}; give another name") from error


@contextmanager
def _progress(console: Console, quiet: bool) -> Iterator[Callable[[float, str], None]]:
    hidden = quiet or not console.is_terminal
    columns = (Bar(), TextColumn("{task.percentage:3.0f}%"), TimeElapsedColumn())
    with Progress(
        *columns,
        TextColumn("{task.description}", markup=False),
        console=console,
        transient=True,
        disable=hidden,
    ) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda share, text: bar.update(task, completed=share, description=text)


def show_points(console: Console, points: Sequence[Point]) -> None:
    """Predicted against measured, and the errors' median and ninetieth percentile."""
    table = Table(box=None)
    for head in ("network", "batch", "step", "measured", "predicted", "error", "noise"):
        table.add_column(head, justify="left" if head in ("network", "step") else "right")
    for point in points:
        table.add_row(
            Text(point.network),
            str(point.batch),
            point.sort,
            show_seconds(point.measured_s),
            show_seconds(point.predicted_s),
            f"{point.error:+.1%}",
            f"{point.noise:.1%}",
        )
    console.print(table)
    for sort in PASSES:
        errors = [abs(point.error) for point in points if point.sort == sort]
        if errors:
            console.print(
                f"{sort}: error {np.median(errors):.1%} (median), "
                f"{np.percentile(errors, 90):.1%} (nine of ten), {len(errors)} points"
            )
