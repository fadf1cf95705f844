"""`simfl profile`: measure in a process of its own, fit, write the device file."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from simfl.cost.device import Device
from simfl.errors import CostError
from simfl.profile.bench import Bench, read
from simfl.profile.check import anchors_of
from simfl.profile.export import script
from simfl.profile.fit import Fit, fit
from simfl.profile.networks import Subject
from simfl.profile.write import device_yaml
from simfl.strict import parse_yaml

Progress = Callable[[float, str], None]

_ANCHOR_BATCHES = (2, 64)
_LINE = re.compile(r"\s*([0-9.]+)%\s+(.*)")


def measure_here(
    path: Path, *, device: str, threads: int, budget_s: float, progress: Progress
) -> dict[str, Any]:
    """Run the exported script, so that nothing of simfl is in its memory or its way.

    Args:
        path: of the JSON; what is there is kept.
        device: ``cpu`` or ``cuda``.
        threads: of PyTorch.
        budget_s: about how long.
        progress: told the share done and what is measured.

    Raises:
        CostError: the script failed; its last line says why.
        KeyboardInterrupt: what was measured is in the file.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "bench.py"
        copy.write_text(script(), encoding="utf-8")
        command = [sys.executable, str(copy), "--out", str(path.resolve()), "--device", device]
        command += ["--threads", str(threads), "--budget", str(budget_s)]
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as process:
            last = ""
            try:
                for line in process.stderr or ():
                    match = _LINE.match(line)
                    if match:
                        progress(float(match[1]) / 100, match[2].strip())
                    else:
                        last = line.strip() or last
            except KeyboardInterrupt:
                process.send_signal(signal.SIGINT)
                raise
    if process.returncode:
        raise CostError(f"measuring failed: {last or f'exit code {process.returncode}'}")
    return load_profile(path)


def load_profile(path: Path) -> dict[str, Any]:
    """What a board measured.

    Raises:
        CostError: no such file, or not what the exported script writes.
    """
    if not path.is_file():
        raise CostError(f"{path}: no such file; give the JSON that the exported script wrote")
    try:
        found = read(path)
        for entry in found["cases"]:
            for sort in ("train", "inference"):
                for one in entry[sort]:
                    float(one["s"]), float(one["faults"]), float(one["jitter"])
        for key in ("name", "torch", "device", "threads", "ram_bytes", "processor", "system"):
            found["host"][key]
        float(found["runtime_bytes"]), float(found["copy_bytes_per_s"]), found["modules"]
    except ValueError as error:
        raise CostError(f"{error}; measure anew, into another file") from error
    except TypeError as error:
        raise CostError(f"{path}: {error}; measure anew, into another file") from error
    except KeyError as error:
        raise CostError(f"{path}: {error} is missing; measure anew, into another file") from error
    return found


def measure_anchors(
    path: Path, subjects: Sequence[Subject], *, device: str, threads: int, progress: Progress
) -> dict[str, Any]:
    """Whole networks at two batches, each kept in the JSON; those that are there are not repeated.

    Raises:
        CostError: the file is of another machine.
    """
    try:
        bench = Bench(path, device=device, threads=threads, progress=progress)
    except ValueError as error:
        raise CostError(str(error)) from error
    known = {(entry["module"], entry["batch"]) for entry in bench.found["modules"]}
    for subject in subjects:
        for batch in _ANCHOR_BATCHES:
            if (subject.name, batch) not in known:
                bench.measure_module(subject.name, subject.build(), list(subject.shape), batch)
    return bench.found


def describe(
    found: dict[str, Any], name: str, subjects: Sequence[Subject], like: Path | None = None
) -> tuple[str, Fit]:
    """The device file's text, and the fit of its training steps.

    Args:
        found: what was measured.
        name: of the device.
        subjects: networks that were measured too.
        like: a device file, for what is not measured.

    Raises:
        CostError: too little was measured.
    """
    train = fit(found, "train")
    fits = {"train": train, "inference": fit(found, "inference", train.kernels)}
    data = parse_yaml(like.read_text(encoding="utf-8"), str(like))[0] if like else None
    text = device_yaml(found, fits, name=name, like=data)
    if subjects:
        device = Device.model_validate(parse_yaml(text, "the fit")[0])
        anchors = anchors_of(device, subjects, found)
        text = device_yaml(found, fits, name=name, anchors=anchors, like=data)
    return text, train
