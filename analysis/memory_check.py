"""Peak memory of training steps: as counted, as PyTorch allocates it, and as the system sees it.

    python analysis/memory_check.py [--out memory.csv] [--only NAME]
    python analysis/memory_check.py --sum memory.csv

Each case runs twice in a fresh process (Linux), on one thread: three steps of SGD, once measured by
the peak of the resident set, once by PyTorch's own record of what its allocator gave out. Before
that, the same model has made a step of two samples and is gone, so that libraries are loaded and
kernels made, and free heap is given back to the system. What is said is above that.
"""

from __future__ import annotations

import argparse
import csv
import ctypes
import gc
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import prune

from simfl.cost.memory import allocated_bytes, held_bytes, peak_bytes
from simfl.models.base import ModelOptions
from simfl.models.count import workload
from simfl.models.resnet18 import ResNet18Options
from simfl.registry import MODELS
from simfl.work import Passes, Storage, Workload

GREY, COLOUR = (1, 28, 28), (3, 32, 32)
Case = dict[str, Any]
_STEPS = 3
_MARK = "steps"
_PAIRS = (("counted", "allocated"), ("predicted", "resident"))


class SparseLinear(nn.Module):
    """A linear layer whose weight is a coordinate list, as torch.sparse multiplies it."""

    def __init__(self, dense: nn.Linear, layout: str) -> None:
        super().__init__()
        weight = dense.weight.detach()
        held = weight.to_sparse_csr() if layout == "csr" else weight.to_sparse_coo().coalesce()
        self.weight = nn.Parameter(held)
        self.bias = nn.Parameter(dense.bias.detach())

    def forward(self, x: Tensor) -> Tensor:
        """As a linear layer's."""
        return torch.sparse.mm(self.weight, x.t()).t() + self.bias


def vgg11() -> nn.Module:
    """VGG11's convolutions on 32 x 32, one small linear layer. Simonyan and Zisserman 2015."""
    layers: list[nn.Module] = []
    channels = 3
    for width in (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"):
        if width == "M":
            layers.append(nn.MaxPool2d(2))
        else:
            assert isinstance(width, int)
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
            channels = width
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))


def conv_femnist() -> nn.Module:
    """Two convolutions of 5 x 5 and two linear layers, as for FEMNIST in LEAF."""
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(3136, 2048), nn.ReLU(), nn.Linear(2048, 62)),
    )


def _ours(name: str, options: ModelOptions, shape: tuple[int, int, int]) -> Callable[[], nn.Module]:
    return lambda: MODELS.get(name).build(options, classes=10, sample_shape=shape).build()


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, int, int]]] = {
    "lenet_300_100": (_ours("lenet_300_100", ModelOptions(), GREY), GREY),
    "lenet5": (_ours("lenet5", ModelOptions(), GREY), GREY),
    "simple_cnn": (_ours("simple_cnn", ModelOptions(), GREY), GREY),
    "conv_femnist": (conv_femnist, GREY),
    "vgg11": (vgg11, COLOUR),
    "resnet18": (_ours("resnet18", ResNet18Options(), COLOUR), COLOUR),
    "resnet18_tv": (_ours("resnet18", ResNet18Options(stem="torchvision"), COLOUR), COLOUR),
}


def cases() -> list[Case]:
    """Models, batches, momentum, masks, sparse layers, and forward passes alone."""
    batches = {
        "lenet_300_100": (1, 20, 64, 256),
        "lenet5": (1, 20, 64, 256),
        "simple_cnn": (1, 20, 64, 256),
        "conv_femnist": (1, 20, 64, 256),
        "vgg11": (1, 16, 64, 256),
        "resnet18": (2, 16, 64),
        "resnet18_tv": (2, 16, 64, 256),
    }
    found: list[Case] = [
        {"model": name, "batch": batch} for name, those in batches.items() for batch in those
    ]
    found += [
        {"model": name, "batch": batch, "momentum": 0.9}
        for name, batch in (("lenet_300_100", 20), ("conv_femnist", 64), ("vgg11", 16))
    ]
    found += [{"model": "resnet18", "batch": 16, "momentum": 0.9}]
    found += [
        {"model": name, "batch": batch, "storage": "masked", "density": 0.1}
        for name, batch in (("lenet_300_100", 20), ("conv_femnist", 20), ("vgg11", 16))
    ]
    found += [{"model": "resnet18", "batch": 16, "storage": "masked", "density": 0.1}]
    found += [
        {"model": name, "batch": batch, "storage": layout, "density": density}
        for name, batch in (("lenet_300_100", 20), ("conv_femnist", 20))
        for layout in ("coo", "csr")
        for density in (0.01, 0.1, 0.5)
    ]
    found += [
        {"model": name, "batch": batch, "passes": "forward"}
        for name, batch in (("conv_femnist", 256), ("vgg11", 256), ("resnet18", 64))
    ]
    return found


def make(case: Case) -> nn.Module:
    """The module of a case."""
    torch.manual_seed(1)
    module = NETWORKS[case["model"]][0]()
    storage = case.get("storage", "dense")
    layers = [(n, m) for n, m in module.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    if storage == "masked":
        for _, layer in layers:
            prune.random_unstructured(layer, "weight", 1 - case["density"])
    elif storage != "dense":
        for name, layer in layers:
            if isinstance(layer, nn.Linear):
                with torch.no_grad():
                    layer.weight *= torch.rand_like(layer.weight) < case["density"]
                module.set_submodule(name, SparseLinear(layer, storage))
    return module


def counted(case: Case) -> Workload:
    """The workload that simfl counts: from the dense module's shapes, and how weights are held."""
    build, shape = NETWORKS[case["model"]]
    passes = Passes(case.get("passes", "train"))
    work = workload(build(), shape, batch=case["batch"], passes=passes)
    storage = Storage(case.get("storage", "dense"))
    layers = tuple(
        replace(
            layer,
            storage=storage,
            nonzero=round(layer.weights * case.get("density", 1)),
        )
        if layer.weights and (not storage.sparse or layer.kind.value == "linear")
        else layer
        for layer in work.layers
    )
    return replace(work, layers=layers, slots=int("momentum" in case))


def step_of(case: Case) -> Callable[[], None]:
    """One step of a case, its model and data made."""
    module, shape = make(case), NETWORKS[case["model"]][1]
    x = torch.randn(case["batch"], *shape)
    labels = torch.randint(10, (case["batch"],))
    if case.get("passes") == "forward":
        module.eval()

        def infer() -> None:
            with torch.no_grad():
                module(x)

        return infer
    dense = [p for p in module.parameters() if p.layout == torch.strided]
    sparse = [p for p in module.parameters() if p.layout != torch.strided]
    optimizer = torch.optim.SGD(dense, lr=1e-6, momentum=case.get("momentum", 0.0))

    def train() -> None:
        optimizer.zero_grad()
        cross_entropy(module(x), labels).backward()
        optimizer.step()
        for held in sparse:
            assert held.grad is not None
            values = held.grad._values() if held.layout == torch.sparse_coo else held.grad.values()
            held.data.values().add_(values, alpha=-1e-6)
            held.grad = None

    return train


def _status(word: str) -> int:
    found = re.search(rf"{word}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return 1024 * int(found[1])


def resident(case: Case) -> dict[str, int]:
    """In this process: bytes of the resident set above what was there before the model."""
    step = step_of({**case, "batch": 2})
    step()
    del step
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    base = _status("VmRSS")
    step = step_of(case)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    # the peak's mark back to what is there: how the model was made does not count
    Path("/proc/self/clear_refs").write_text("5")
    for _ in range(_STEPS):
        step()
    return {"base": base, "resident": _status("VmHWM") - base}


def allocated(case: Case) -> dict[str, int]:
    """In this process: the most that PyTorch's allocator had given out at once."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profiler:
        step = step_of(case)
        gc.collect()
        with torch.profiler.record_function(_MARK):
            for _ in range(_STEPS):
                step()
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/trace.json"
        profiler.export_chrome_trace(path)
        events = json.loads(Path(path).read_text())["traceEvents"]
    begun = min(e["ts"] for e in events if e["name"] == _MARK)
    totals = [
        e["args"]["Total Allocated"] for e in events if e["name"] == "[memory]" and e["ts"] >= begun
    ]
    return {"allocated": max(totals)}


def _child(how: str, case: Case) -> dict[str, int]:
    env = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--child", how, json.dumps(case)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return found


def _label(case: Case) -> str:
    more = [str(case[k]) for k in ("storage", "density", "passes") if k in case]
    return " ".join([case["model"], *more, *(["momentum"] if "momentum" in case else [])])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--child", nargs=2, metavar=("HOW", "CASE"))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", default="", help="a regular expression of cases")
    parser.add_argument("--sum", type=Path, nargs="+", help="tables of --out to sum up together")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.sum:
        rows = [row for path in args.sum for row in _read(path)]
        sum_up(rows)
        return
    if args.child:
        how, case = args.child[0], json.loads(args.child[1])
        print(json.dumps(resident(case) if how == "resident" else allocated(case)))
        return
    rows = []
    print(f"{'MiB':40} batch in use: counted  found          resident: counted  found")
    for case in cases():
        if not re.search(args.only, _label(case)):
            continue
        work = counted(case)
        row: dict[str, Any] = {
            "case": _label(case),
            "batch": case["batch"],
            "held": held_bytes(work),
            "counted": allocated_bytes(work),
            "predicted": peak_bytes(work),
        }
        row |= _child("resident", case) | _child("allocated", case)
        rows.append(row)
        in_use, taken = (_pair(row[m], row[f]) for m, f in _PAIRS)
        print(f"{row['case']:40} {row['batch']:5} {in_use}  {taken}", flush=True)
    if args.out:
        with args.out.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    sum_up(rows)


def _read(path: Path) -> list[dict[str, Any]]:
    with path.open(newline="") as file:
        return [
            {k: v if k == "case" else float(v) for k, v in row.items()}
            for row in csv.DictReader(file)
        ]


def sum_up(rows: list[dict[str, Any]]) -> None:
    """Errors, and those of a heap factor that was taken from the other models."""
    for mine, found in _PAIRS:
        for least in (0, 32):
            those = [row for row in rows if row[found] >= least * 2**20]
            if those:
                _say(f"{found}, at least {least} MiB", [r[mine] / r[found] - 1 for r in those])
    factors = {
        id(r): (r["resident"] - r["held"]) / (r["counted"] - r["held"])
        for r in rows
        if r["counted"] >= 32 * 2**20
    }
    errors = []
    for model in sorted({str(r["case"]).split()[0] for r in rows}):
        ours = [r for r in rows if str(r["case"]).split()[0] == model]
        others = [factors[id(r)] for r in rows if id(r) in factors and r not in ours]
        if others:
            heap = statistics.median(others)
            print(f"  factor of all but {model}: {heap:.2f}")
            errors += [
                (r["held"] + heap * (r["counted"] - r["held"])) / r["resident"] - 1 for r in ours
            ]
    if factors:
        values = factors.values()
        print(
            f"  factor of all: {statistics.median(values):.2f}, from {min(values):.2f} to "
            f"{max(values):.2f}"
        )
    if errors:
        _say("resident, factor of the other models", errors)


def _pair(mine: float, found: float) -> str:
    return f"{mine / 2**20:10.2f} {found / 2**20:8.2f} {mine / found - 1:+7.1%}"


def _say(what: str, errors: list[float]) -> None:
    sizes = sorted(map(abs, errors))
    p90 = sizes[min(len(sizes) - 1, int(0.9 * len(sizes)))]
    print(
        f"{what}: {len(sizes)} cases, error median {statistics.median(sizes):.1%}, p90 {p90:.1%}, "
        f"from {min(errors):+.1%} to {max(errors):+.1%}"
    )


if __name__ == "__main__":
    main()
