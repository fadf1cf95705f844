"""A device file from a fit: every figure with its unit, source and uncertainty."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any, Final

import yaml

from simfl.cost.compact import RATES, SLOWED, Kernels
from simfl.profile.fit import Fit

_MOST_SD: Final = 3.0  # what a device file may say
_NEGLIGIBLE_S: Final = 1e-13  # less than any kernel takes for one number
_BORROWED: Final = ("radio", "access", "power", "battery")
_OF_BOARDS: Final = ("unit", "throttling")
_TIMES: Final = (("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9))
_HEAD: Final = (
    "# Written by {source}.\n"
    "# The steps that it was fitted to are told within {median:.1%} (median) and {p90:.1%} (nine\n"
    "# of ten). docs/cost_models.md says what each figure means.\n"
)


def device_yaml(
    found: Mapping[str, Any],
    fits: Mapping[str, Fit],
    *,
    name: str,
    anchors: Sequence[Mapping[str, Any]] = (),
    like: Mapping[str, Any] | None = None,
) -> str:
    """The text of a device file.

    Args:
        found: what `simfl.profile.bench` measured.
        fits: of ``train`` and ``inference``.
        name: of the device.
        anchors: ``model``, ``passes``, ``batch``, ``ratio``.
        like: a device file's data, for what a profile cannot measure: radio, watts, battery, and
            how boards of a kind differ.
    """
    host, train = found["host"], fits["train"]
    source = f"simfl profile on {host['name']}, PyTorch {host['torch']}"

    def figure(value: str | float, log_sd: float, kind: str = "measured") -> dict[str, Any]:
        return {"value": value, "kind": kind, "source": source, "log_sd": _rounded(log_sd)}

    cost: dict[str, Any] = {"kind": "compact"}
    cost |= {sort: _kernels(one, figure) for sort, one in fits.items()}
    if train.cache_bytes:
        cost["cache"] = figure(f"{train.cache_bytes / 1024:.0f} KiB", 0, "spec")
    cost |= {"plain": train.kernels.plain, "block": train.kernels.block}
    if anchors:
        cost["anchors"] = [
            {**anchor, "ratio": figure(_rounded(anchor["ratio"]), 0.05)} for anchor in anchors
        ]
    for key, one in (("errors", train), ("inference_errors", fits["inference"])):
        errors = {"median": _rounded(one.median), "p90": _rounded(one.p90)}
        cost[key] = {"cases": one.cases, **errors}
    device = {
        "name": name,
        "description": f"{host['processor']}, {host['system']}",
        "stack": f"PyTorch {host['torch']}, {host['device']}",
        "threads": host["threads"],
        "ram": figure(f"{_rounded(host['ram_bytes'] / 1e9)} GB", 0),
        "cost": cost,
        "memory_rate": figure(f"{found['copy_bytes_per_s'] / 1e6:.0f} MB/s", 0.1),
        "runtime": figure(f"{found['runtime_bytes'] / 2**20:.0f} MiB", 0.1),
        "variation": _variation(found, train, source),
    }
    if like is not None:
        device |= {key: like[key] for key in _BORROWED if key in like}
        theirs = like.get("variation", {})
        device["variation"] |= {key: theirs[key] for key in _OF_BOARDS if key in theirs}
    head = _HEAD.format(source=source, median=train.median, p90=train.p90)
    return head + "".join(_lines(device, ""))


def _kernels(one: Fit, figure: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """By figure, in the order of the model's."""
    found = {}
    for name in Kernels.model_fields:
        seconds = one.units_s.get(name, 0.0)
        if name in SLOWED and name in one.units_s:
            value: Any = _rounded(seconds / one.units_s["conv_rate"])
        elif (seconds < _NEGLIGIBLE_S and name not in RATES) or not seconds:
            continue
        elif name in RATES:
            value = f"{_rounded(1e-9 / seconds)} {'GB/s' if 'weight' in name else 'Gflop/s'}"
        else:
            value = _time(seconds)
        found[name] = figure(value, min(one.log_sd[name], _MOST_SD))
    return found


def _variation(found: Mapping[str, Any], train: Fit, source: str) -> dict[str, Any]:
    jitters = [one["jitter"] for entry in found["cases"] for one in entry.get("train", ())]
    return {
        "model": {
            "value": _rounded(train.spread),
            "kind": "measured",
            "source": f"{source}: errors of the fit",
        },
        "step": {
            "value": _rounded(median(jitters)),
            "kind": "measured",
            "source": f"{source}: spread of a step's wall time, median of the cases",
        },
    }


def _rounded(value: float) -> float:
    """To three digits."""
    return float(f"{value:.3g}")


def _time(seconds: float) -> str:
    unit, size = next((pair for pair in _TIMES if seconds >= pair[1]), _TIMES[-1])
    return f"{_rounded(seconds / size)} {unit}"


def _lines(data: Mapping[str, Any], indent: str) -> Iterator[str]:
    """YAML, a figure to a line."""
    for key, value in data.items():
        if isinstance(value, Mapping) and any(isinstance(v, Mapping) for v in value.values()):
            yield f"{indent}{key}:\n"
            yield from _lines(value, indent + "  ")
        elif isinstance(value, list):
            yield f"{indent}{key}:\n"
            yield from (f"{indent}  - {_flow(item)}\n" for item in value)
        else:
            yield f"{indent}{key}: {_flow(value)}\n"


def _flow(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6, sort_keys=False)
    return text.removesuffix("...\n").strip()
