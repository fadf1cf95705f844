"""What this machine has for simfl, and what of it is broken: the findings of `simfl doctor`."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Final

import torch

from simfl import registry, resources
from simfl.cost.preset import load_preset, preset_names
from simfl.datafolder import data_folder
from simfl.datasets.base import DataSpec
from simfl.devices import device_names, load_group
from simfl.errors import SimflError, StoreError, UnseenStoreError
from simfl.hosting import cores
from simfl.memo import Disk, Shared
from simfl.memo.shared import is_url
from simfl.units import show_bytes

# a store's values take up to 2 GiB by default, a long trace some hundred MB
_LITTLE_BYTES: Final = 2 * 2**30


class State(StrEnum):
    """How a finding is."""

    good = "ok"
    lacking = "-"
    broken = "broken"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        mend: what to do, where something is to be done.
    """

    about: str
    state: State = State.good
    found: str
    mend: str = ""


def examine(data_dir: Path | None, store: str | Path) -> Iterator[Finding]:
    """Look at everything that a run needs or could use.

    Args:
        data_dir: where data sets lie; left out, as a run would look.
        store: the folder of what was computed before, or a URL.
    """
    yield Finding(about="simfl", found=f"{version('simfl')}, {Path(__file__).parent}")
    yield Finding(
        about="Python",
        found=f"{platform.python_version()}, {sys.executable}; {platform.platform()}",
    )
    yield from _packages()
    yield _torch()
    yield _gpu()
    yield Finding(about="processor", found=_processor())
    yield from _files()
    yield from _data(data_dir)
    yield _shared(store) if isinstance(store, str) and is_url(store) else _store(Path(store))
    yield _disk(Path())


def _packages() -> Iterator[Finding]:
    """What simfl needs, in one line where all is there; and its extras."""
    needed, extras = _requirements()
    versions = {name: _version(name) for name in needed}
    missing = [name for name, found in versions.items() if found is None]
    if missing:
        yield Finding(
            about="packages",
            state=State.broken,
            found=f"missing: {', '.join(missing)}",
            mend=f"pip install {' '.join(missing)}",
        )
    yield Finding(
        about="packages", found=", ".join(f"{n} {v}" for n, v in versions.items() if v is not None)
    )
    for extra, names in extras.items():
        lacking = [name for name in names if _version(name) is None]
        if lacking:
            yield Finding(
                about=f"extra {extra}",
                state=State.lacking,
                found=f"not installed: {', '.join(lacking)}",
                mend=f"pip install 'simfl[{extra}]'",
            )
        else:
            yield Finding(about=f"extra {extra}", found="installed")


def _requirements() -> tuple[list[str], dict[str, list[str]]]:
    """Names of the packages that simfl needs, and of those of each extra."""
    needed: list[str] = []
    extras: dict[str, list[str]] = {}
    for line in requires("simfl") or ():
        match = re.match(r"[A-Za-z0-9_.-]+", line)
        extra = re.search(r"extra\s*==\s*['\"](.+?)['\"]", line)
        if match:
            (extras.setdefault(extra[1], []) if extra else needed).append(match[0])
    return needed, extras


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _torch() -> Finding:
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU only"
    capability = torch.backends.cpu.get_cpu_capability()
    try:
        total = float((torch.ones(8, 8) @ torch.ones(8, 8)).sum())
    except RuntimeError as error:
        return Finding(about="torch", state=State.broken, found=str(error), mend="install it anew")
    if total != 512:
        return Finding(
            about="torch", state=State.broken, found=f"8 x 8 x 8 is {total}", mend="install it anew"
        )
    return Finding(about="torch", found=f"{torch.__version__}, {build}; computes with {capability}")


def _gpu() -> Finding:
    """Training needs none."""
    if torch.cuda.is_available():
        names = []
        for index in range(torch.cuda.device_count()):
            card = torch.cuda.get_device_properties(index)
            names.append(f"{card.name}, {show_bytes(card.total_memory)}")
        return Finding(about="GPU", found="; ".join(names))
    if torch.version.cuda:
        return Finding(
            about="GPU",
            state=State.lacking,
            found="torch is built for CUDA and sees none; runs use the CPU",
            mend="look at nvidia-smi",
        )
    return Finding(about="GPU", state=State.lacking, found="none used: torch is built for the CPU")


def _processor() -> str:
    try:
        memory = f", {show_bytes(os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE'))}"
    except (AttributeError, ValueError, OSError):
        # not on this system
        memory = ""
    return f"{platform.machine()}, {cores()} cores for training{memory}"


def _files() -> Iterator[Finding]:
    """The files that travel with simfl, each read."""
    wrong, devices, links = [], device_names(), preset_names()
    for read, names in ((load_group, devices), (load_preset, links)):
        for name in names:
            try:
                read(name)
            except SimflError as error:
                wrong.append(str(error))
    scenarios = resources.names("scenarios")
    found = f"{len(scenarios)} scenarios, {len(devices)} devices, {len(links)} links"
    if wrong or not (scenarios and devices and links):
        yield Finding(
            about="files", state=State.broken, found="; ".join(wrong) or found, mend="install anew"
        )
    else:
        yield Finding(about="files", found=found)


def _data(data_dir: Path | None) -> Iterator[Finding]:
    """Each data set, and where a run would find it."""
    origin, folder = data_folder(data_dir)
    if origin and not folder.is_dir():
        yield Finding(
            about="data folder",
            state=State.broken,
            found=f"{origin}: no folder {folder}",
            mend=f"make it, or leave {origin} out",
        )
    for name in registry.DATASETS.names():
        plugin = registry.DATASETS.get(name)
        if plugin.needs_options:
            # a person's own: it has no place of its own
            continue
        spec: DataSpec = plugin.build(plugin.options())
        missing = spec.missing_in(folder)
        if not spec.files:
            yield Finding(about=f"data {name}", found="comes with scikit-learn")
        elif not missing:
            yield Finding(about=f"data {name}", found=str(folder))
        else:
            yield Finding(
                about=f"data {name}",
                state=State.lacking,
                found="not here",
                mend=f"put it into {folder}, as {missing[0]}",
            )


def _store(folder: Path) -> Finding:
    if not (folder / "index.sqlite").is_file():
        return Finding(about="store", state=State.lacking, found=f"none yet in {folder}")
    try:
        held = Disk(folder).info()
    except SimflError as error:
        return Finding(
            about="store", state=State.broken, found=str(error), mend="traces do not need it"
        )
    size = show_bytes(held.value_bytes + held.index_bytes)
    limit = show_bytes(held.limit_bytes)
    return Finding(about="store", found=f"{folder}: {size}, values up to {limit}")


def _shared(url: str) -> Finding:
    try:
        Shared.seek(url)
    except UnseenStoreError:
        return Finding(about="store", state=State.lacking, found=f"none yet at {url}")
    except StoreError as error:
        return Finding(about="store", state=State.broken, found=str(error))
    return Finding(about="store", found=f"{url}: it can be reached")


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    where = folder.resolve()
    if not os.access(folder, os.W_OK):
        return Finding(
            about="disk",
            state=State.broken,
            found=f"{where} cannot be written; traces go to runs/ in it",
            mend="run simfl in another folder",
        )
    found = f"{show_bytes(free)} free in {where}"
    if free < _LITTLE_BYTES:
        return Finding(about="disk", state=State.lacking, found=found, mend="simfl store gc")
    return Finding(about="disk", found=found)
