"""Times small pieces of training on the machine it runs on, and writes them as JSON.

Python and PyTorch only: `simfl profile --export FILE.py` joins it with `cases.py` and `timing.py`
into one file for a board; `simfl profile --from profile.json` makes a device file of what that
wrote. It reads the host's clock, and may: it measures this machine, not a simulated one.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import nn

from simfl.profile.cases import Case, build, cases
from simfl.profile.timing import Result, Steps, measure

FORMAT = "simfl bench 1"

_PASSES = 2  # through all cases: a slow patch of the machine spoils one of them
_WIDEST = 0.01  # of the budget: one step may not take longer
_SHARE = 0.5  # of the memory that is free, for one case


def read(path: Path) -> dict[str, Any]:
    """What was measured before; empty where nothing was.

    Raises:
        ValueError: the file is not one of this script's.
    """
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not JSON, or not all of it: {error}") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ValueError(f"{path} is not a profile of this script ({FORMAT!r})")
    return found


def host(device: str, threads: int) -> dict[str, Any]:
    """What the figures belong to: machine, framework, threads."""
    gpu = torch.cuda.get_device_properties(0) if device == "cuda" else None
    return {
        "name": platform.node(),
        "machine": platform.machine(),
        "processor": gpu.name if gpu else _processor(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": device,
        "threads": threads,
        "ram_bytes": gpu.total_memory if gpu else _memory("MemTotal"),
        "cache_bytes": 0 if gpu else _cache(),
    }


def _cache() -> int:
    """Bytes of a core's second-level cache; 0 where the system does not say."""
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            if (index / "level").read_text(encoding="ascii").strip() == "2":
                size = (index / "size").read_text(encoding="ascii").strip()
                return int(size.removesuffix("K")) * 1024
        except (OSError, ValueError):
            continue
    return 0


def _processor() -> str:
    for path in ("/proc/device-tree/model", "/proc/cpuinfo"):
        try:
            text = Path(path).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        if path.endswith("model"):
            return text.strip("\0\n ")
        for line in text.splitlines():
            if line.lower().startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


def _memory(word: str) -> int:
    """Bytes of `MemTotal` or `MemAvailable`; 0 where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        total = word == "MemTotal" and hasattr(os, "sysconf")
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if total else 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(word)), 0)


def _resident() -> int:
    """Bytes of this process in memory; 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def needs(case: Case) -> int:
    """About how many bytes a case's training step takes: weights twice, outputs twice."""
    words = {"masked_linear": "linear", "masked_conv": "conv", "coo": "linear", "csr": "linear"}
    dense = [
        [words[word], *args[:-1]] if word in words else [word, *args]
        for word, *args in case["layers"]
    ]
    made: list[int] = []
    with torch.device("meta"):
        module = build({"layers": dense})
        for layer in module.children():
            layer.register_forward_hook(lambda _layer, _given, out: made.append(out.numel()))
        module(torch.empty(2, *case["input"]))
    weights = sum(p.numel() for p in module.parameters())
    return int(4 * (2 * weights + case["batch"] * (sum(made) + made[0])))


def copy_rate(device: str, mebibytes: int = 64) -> float:
    """Bytes per second of copying a large block, the best of some."""
    source = torch.ones(mebibytes * 2**18, device=device)
    target = torch.empty_like(source)
    best = float("inf")
    for _ in range(7):
        if device == "cuda":
            torch.cuda.synchronize()
        begin = time.perf_counter()
        target.copy_(source)
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - begin)
    return mebibytes * 2**20 / best


class Bench:
    """Measures all cases, a few times over, and writes what it has after each.

    Args:
        path: of the JSON; what is in it from the same machine, framework and threads is kept.
        device: ``cpu`` or ``cuda``.
        threads: of PyTorch.
        budget_s: about how long to take; what is too large for it is left out.
        progress: told the share done, from 0 to 1, and what comes next.

    Raises:
        ValueError: the file is of another machine, or no profile.
    """

    def __init__(
        self,
        path: Path,
        *,
        device: str = "cpu",
        threads: int = 1,
        budget_s: float = 120.0,
        progress: Callable[[float, str], None] = lambda _share, _text: None,
    ) -> None:
        if device == "cuda" and not torch.cuda.is_available():
            raise ValueError("PyTorch sees no GPU here; give --device cpu")
        torch.set_num_threads(threads)
        self.path, self.device, self.budget_s, self.progress = path, device, budget_s, progress
        here = host(device, threads)
        self.found = read(path) or {"format": FORMAT, "host": here, "cases": [], "modules": []}
        for key in ("name", "machine", "processor", "torch", "device", "threads"):
            if self.found["host"].get(key) != here[key]:
                was = self.found["host"].get(key)
                raise ValueError(
                    f"{path} was measured with {key} {was}, this is {here[key]}; give another --out"
                )

    def run(self) -> dict[str, Any]:
        """All that is not there yet; what was found, as in the file."""
        self._runtime()
        known = {json.dumps(entry["case"]): entry for entry in self.found["cases"]}
        entries = [
            known.get(json.dumps(case), {"case": case, "train": [], "inference": []})
            for case in sorted(cases(), key=lambda case: case["batch"])
        ]
        self.found["cases"] = entries
        slot_s = 0.6 * self.budget_s / (2 * _PASSES * len(entries))
        for entry in entries:
            # a larger budget, or more free memory, may allow it now
            entry.pop("skipped", None)
        for turn in range(_PASSES):
            order = list(range(len(entries)))
            if turn:
                Random(turn).shuffle(order)
            for i, k in enumerate(order):
                share = (turn + i / len(order)) / _PASSES
                self.progress(share, _title(entries[k]["case"]))
                if len(entries[k]["train"]) <= turn and not entries[k].get("skipped"):
                    self._measure(entries[k], slot_s, self._foretold_s(entries[k]["case"]))
                    self._write()
        self.progress(1.0, "")
        return self.found

    def _foretold_s(self, case: Case) -> float:
        """A step of it, by the largest batch of the same layers that was measured; at most that."""
        known = [
            (entry["case"]["batch"], entry["train"][0]["s"])
            for entry in self.found["cases"]
            if entry["train"] and entry["case"]["layers"] == case["layers"]
        ]
        batch, seconds = max(known, default=(1, 0.0))
        return float(seconds * max(case["batch"] / batch, 1.0))

    def _measure(self, entry: Result, slot_s: float, foretold_s: float) -> None:
        case = entry["case"]
        limit_s = self.budget_s * _WIDEST
        free = _memory("MemAvailable")
        if free and needs(case) > free * _SHARE and self.device == "cpu":
            entry["skipped"] = "too large for the memory that is free"
        elif foretold_s > limit_s:
            entry["skipped"] = f"a step would take more than {limit_s:.2g} s; give a larger budget"
        else:
            try:
                more = {"first": case.get("first", False), "loss": case.get("loss")}
                steps = Steps(build(case), case["input"], case["batch"], self.device, **more)
                both = [measure(steps, sort, slot_s=slot_s) for sort in ("train", "inference")]
            except (RuntimeError, NotImplementedError) as error:
                entry["skipped"] = str(error).splitlines()[0]
                return
            entry["train"].append(both[0])
            entry["inference"].append(both[1])

    def measure_module(self, name: str, module: nn.Module, shape: list[int], batch: int) -> None:
        """A whole network, for an anchor or a check; kept under its name."""
        self.progress(0.0, f"{name}, batch {batch}")
        steps = Steps(module, shape, batch, self.device)
        entry = {"module": name, "input": shape, "batch": batch}
        entry |= {sort: [measure(steps, sort, slot_s=1.0)] for sort in ("train", "inference")}
        self.found["modules"].append(entry)
        self._write()

    def _runtime(self) -> None:
        """Memory before there is a network, and the rate of copying."""
        if "runtime_bytes" in self.found:
            return
        self.found["import_bytes"] = _resident()
        steps = Steps(nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten()), [1, 8, 8], 2, self.device)
        steps.train()
        self.found["runtime_bytes"] = _resident()
        if self.device == "cuda":
            free, total = torch.cuda.mem_get_info()
            self.found["runtime_bytes"] = total - free
        self.found["copy_bytes_per_s"] = copy_rate(self.device)
        self._write()

    def _write(self) -> None:
        beside = self.path.with_name(self.path.name + ".part")
        beside.write_text(json.dumps(self.found), encoding="utf-8")
        os.replace(beside, self.path)


def _title(case: Case) -> str:
    words = "-".join(str(part) for part in case["layers"][0])
    more = f" and {len(case['layers']) - 1} more" if len(case["layers"]) > 1 else ""
    return f"{words}{more}, batch {case['batch']}"


def load_module(place: str) -> nn.Module:
    """The network that ``FILE.py:NAME`` names: a module, or a function or class that makes one.

    Raises:
        ValueError: there is none.
    """
    path, _, name = place.rpartition(":")
    spec = importlib.util.spec_from_file_location("_user_model", path) if path else None
    if spec is None or spec.loader is None or not Path(path).is_file():
        raise ValueError(f"{place}: no such Python file; give FILE.py:NAME")
    holder = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(holder)
        found = getattr(holder, name, None)
        made = found if isinstance(found, nn.Module) else found() if callable(found) else None
    except Exception as error:  # whatever the user's own code raises
        raise ValueError(f"{place}: {type(error).__name__}: {error}") from error
    if not isinstance(made, nn.Module):
        raise ValueError(f"{place}: {name} is not a torch.nn.Module, nor makes one")
    return made


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Times pieces of training, for simfl profile.")
    parser.add_argument("--out", type=Path, default=Path("profile.json"))
    parser.add_argument("--budget", type=float, default=120.0, help="seconds, about")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--module", action="append", default=[], help="FILE.py:NAME to time too")
    parser.add_argument("--input", default="1x28x28", help="shape of one of its inputs")
    parser.add_argument("--batches", default="2,32")
    return parser


def main() -> int:
    """Measure; 2 for what cannot be done."""
    given = _arguments().parse_args()

    def say(share: float, text: str) -> None:
        begin, end = ("\r", "") if sys.stderr.isatty() else ("", "\n")
        print(f"{begin}{share:6.1%}  {text:<60.60}", end=end, file=sys.stderr, flush=True)

    try:
        bench = Bench(
            given.out,
            device=given.device,
            threads=given.threads,
            budget_s=given.budget,
            progress=say,
        )
        found = bench.run()
        for place in given.module:
            module, shape = load_module(place), [int(n) for n in given.input.split("x")]
            for batch in given.batches.split(","):
                bench.measure_module(place, module, shape, int(batch))
    except KeyboardInterrupt:
        print(f"\nstopped; {given.out} has what was measured, go on with the same command")
        return 130
    except ValueError as error:
        print(f"\n{error}", file=sys.stderr)
        return 2
    left = [entry for entry in found["cases"] if "skipped" in entry]
    print(f"\n{len(found['cases']) - len(left)} cases in {given.out}", file=sys.stderr)
    for entry in left:
        print(f"left out: {_title(entry['case'])}: {entry['skipped']}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
