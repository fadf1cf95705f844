"""Figures of the compact model from measured pieces of training.

Seconds are linear in the figures (`simfl.cost.demand`), so the fit is of their logarithms: errors
count as shares, and no figure is negative. Outliers count little (soft L1), and a weak prior holds
what the cases cannot tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from simfl.cost.compact import Kernels
from simfl.cost.demand import Plain, demand
from simfl.errors import CostError
from simfl.profile.counted import count

Array = NDArray[np.float64]

# seconds of one count on one core of an x86 with AVX-512 and PyTorch 2.13; where the fit starts,
# after scaling to the machine, and what it is drawn to, weakly
_PRIOR: Final = {
    "train": {
        "floor": 40e-6,
        "optimiser": 20e-6,
        "loss": 40e-6,
        "tensor": 4e-6,
        "call": 20e-6,
        "conv_call": 100e-6,
        "dense_rate": 1 / 120e9,
        "weight_rate": 1 / 25e9,
        "conv_rate": 1 / 180e9,
        "conv_weight_rate": 1 / 10e9,
        "conv_inputs": 4 / 180e9,
        "conv_outputs": 4 / 180e9,
        "conv_positions": 1 / 180e9,
        "conv_element": 1e-9,
        "depthwise_element": 1.7e-9,
        "element": 0.5e-9,
        "norm_element": 2.5e-9,
        "pool_element": 24e-9,
        "mean_element": 14e-9,
        "move_element": 0.3e-9,
        "cold_element": 0.2e-9,
        "mask_element": 1e-9,
        "page": 1.3e-6,
        "coo_call": 200e-6,
        "coo_entry": 30e-9,
        "coo_back": 30e-9,
        "coo_weight": 0.6e-9,
        "csr_call": 200e-6,
        "csr_entry": 10e-9,
        "csr_back": 50e-9,
        "csr_weight": 0.2e-9,
        "sparse_element": 2e-9,
    }
}
_PRIOR["inference"] = _PRIOR["train"] | {
    "floor": 8e-6,
    "call": 5e-6,
    "conv_call": 20e-6,
    "element": 0.2e-9,
    "norm_element": 0.3e-9,
    "pool_element": 19e-9,
    "mean_element": 7e-9,
    "coo_call": 30e-6,
    "csr_call": 10e-6,
}
_FIELDS: Final = tuple(Kernels.model_fields)
_PRIOR_SD: Final = 2.0  # of a figure's logarithm: a factor of seven either way
_SCALE: Final = 0.1  # errors beyond this count little
_NETWORK_WEIGHT: Final = 2.0  # small networks are nearer to what is to be predicted than loops
_HOT: Final = ("hot", 0.9, 0.3)  # name, prior, its sd
_FEWEST: Final = 40  # cases


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Figures of one sort of pass.

    Attributes:
        units_s: seconds of one count, by figure; ``step`` among them.
        log_sd: of their natural logarithms.
        hot: how much less a layer takes in a loop of its own than in a network.
        cache_bytes: beyond which numbers are cold.
        plain: which convolutions are plain matrix products.
        median: of the errors, as shares of what was measured.
        p90: of the errors.
        spread: robust standard deviation of the errors' logarithms.
        cases: how many were used.
    """

    units_s: Mapping[str, float]
    log_sd: Mapping[str, float]
    hot: float
    cache_bytes: float
    plain: Plain
    median: float
    p90: float
    spread: float
    cases: int


def fit(found: Mapping[str, Any], sort: str) -> Fit:
    """The figures that explain what was measured.

    Args:
        found: of `simfl.profile.bench`.
        sort: ``train`` or ``inference``.

    Raises:
        CostError: too few cases were measured.
    """
    entries = [entry for entry in found["cases"] if entry.get(sort)]
    if len(entries) < _FEWEST:
        raise CostError(
            f"the profile has {len(entries)} cases, and {_FEWEST} are needed; go on measuring with "
            "the same command, and a larger --budget"
        )
    on_cpu = found["host"]["device"] == "cpu"
    choices: tuple[Plain, ...] = get_args(Plain) if on_cpu else ("none",)
    tried = [
        _fit(entries, sort, plain, float(found["host"].get("cache_bytes", 0))) for plain in choices
    ]
    return min(tried, key=lambda one: one[0])[1]


def _fit(entries: list[Any], sort: str, plain: Plain, cache_bytes: float) -> tuple[float, Fit]:
    """The sum of squares, and the fit."""
    names, counts, networks = _table(entries, sort, plain, cache_bytes)
    seconds = np.array([np.median([one["s"] for one in entry[sort]]) for entry in entries])
    prior = np.array([_PRIOR[sort][name] for name in names])
    # a machine that is ten times slower is so in all, to begin with
    prior *= np.median(seconds / (counts @ prior))
    start = np.append(np.log(prior), np.log(_HOT[1]))
    sds = np.append(np.full(len(names), _PRIOR_SD), _HOT[2])
    weights = np.where(networks, _NETWORK_WEIGHT, 1.0)

    def errors(x: Array) -> Array:
        predicted = counts @ np.exp(x[:-1]) * np.where(networks, 1.0, np.exp(x[-1]))
        out: Array = np.log(predicted / seconds)
        return out

    def residuals(x: Array) -> Array:
        z = (weights * errors(x) / _SCALE) ** 2
        data = np.sign(errors(x)) * np.sqrt(2 * (np.sqrt(1 + z) - 1))
        return np.concatenate([data, (x - start) / sds])

    solved = least_squares(residuals, start)
    log_sd = _log_sd(solved.jac, solved.fun, len(entries), len(start))
    units_s = dict(zip(names, map(float, np.exp(solved.x[:-1])), strict=True))
    shares = np.abs(np.expm1(errors(solved.x)))
    return 2 * float(solved.cost), Fit(
        units_s=_with_step(units_s),
        log_sd=_with_step_sd(dict(zip(names, log_sd, strict=False)), units_s),
        hot=float(np.exp(solved.x[-1])),
        cache_bytes=cache_bytes,
        plain=plain,
        median=float(np.median(shares)),
        p90=float(np.percentile(shares, 90)),
        spread=float(np.percentile(np.abs(errors(solved.x)), 90) / 1.645),
        cases=len(entries),
    )


def _table(
    entries: list[Any], sort: str, plain: Plain, cache_bytes: float
) -> tuple[list[str], Array, NDArray[np.bool_]]:
    """Figures that anything asks for, their counts by case, and which cases are networks."""
    rows = []
    for entry in entries:
        case, training = entry["case"], sort == "train"
        layers = count(case)
        asked = demand(
            layers,
            samples=case["batch"],
            steps=1,
            training=training,
            known=_FIELDS,
            cache_bytes=cache_bytes,
            plain=plain,
        )
        # a step's floor by its parts: kernels alone have no loss, and some nothing to optimise
        asked |= {"floor": asked.pop("step")}
        asked["loss"] = float(training and "loss" in case)
        asked["optimiser"] = float(training and any(layer.tensors for layer in layers))
        # seen, not foretold: what a step asks of the system depends on the steps before
        asked["page"] = float(np.median([one["faults"] for one in entry[sort]]))
        rows.append(asked)
    names = [name for name in _PRIOR[sort] if any(row.get(name) for row in rows)]
    counts = np.array([[row.get(name, 0.0) for name in names] for row in rows])
    return names, counts, np.array(["loss" in entry["case"] for entry in entries])


def _log_sd(jacobian: Array, residuals: Array, cases: int, figures: int) -> Array:
    """Standard deviations of the logarithms, from the fit's curvature and its own errors."""
    variance = float(np.sum(residuals**2)) / max(cases - figures, 1)
    covariance = np.linalg.pinv(jacobian.T @ jacobian) * variance
    out: Array = np.sqrt(np.diag(covariance))
    return out


def _with_step(units_s: dict[str, float]) -> dict[str, float]:
    parts = ("floor", "optimiser", "loss")
    step = sum(units_s.get(part, 0.0) for part in parts)
    return {"step": step} | {name: s for name, s in units_s.items() if name not in parts}


def _with_step_sd(log_sd: dict[str, float], units_s: dict[str, float]) -> dict[str, float]:
    parts = [part for part in ("floor", "optimiser", "loss") if part in units_s]
    step = sum(units_s[part] for part in parts)
    sd = float(np.sqrt(sum((log_sd[part] * units_s[part]) ** 2 for part in parts))) / step
    return {"step": sd} | {name: float(s) for name, s in log_sd.items() if name not in parts}
