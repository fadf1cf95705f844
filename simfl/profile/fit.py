"""Figures of the compact model from measured pieces of training.

Seconds are linear in the figures (`simfl.cost.demand`), so the fit is of their logarithms: errors
count as shares, and no figure is negative. Outliers count little (soft L1), and a weak prior holds
what the cases cannot tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple, get_args

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
        "unfold_element": 0.6e-9,
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
_HOT: Final = 0.9  # of a layer's time in a network: what it takes in a loop of its own
_HOT_SD: Final = 0.3
_VAGUE_SD: Final = 0.7  # a factor of two either way
_NORMAL_P90: Final = 1.645  # of a normal distribution's absolute value, in standard deviations
_PARTS: Final = ("floor", "optimiser", "loss")  # of a step's floor
_NEEDED: Final = (*_PARTS, "dense_rate", "coo_weight", "csr_weight", "conv_rate")
_FEWEST: Final = 40  # cases
_BLOCKS: Final = (1, 8, 16)  # channels: one, those of a register of AVX2, of AVX-512


class Convolving(NamedTuple):
    """How a framework computes convolutions: `plain` and `block` of `simfl.cost.demand`."""

    plain: Plain
    block: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Figures of one sort of pass.

    Attributes:
        units_s: seconds of one count, by figure; ``step`` among them.
        log_sd: of their natural logarithms.
        hot: how much less a layer takes in a loop of its own than in a network.
        cache_bytes: beyond which numbers are cold.
        kernels: what convolutions are computed by.
        median: of the errors, as shares of what was measured.
        p90: of the errors.
        spread: robust standard deviation of the errors' logarithms.
        cases: how many were used.
    """

    units_s: Mapping[str, float]
    log_sd: Mapping[str, float]
    hot: float
    cache_bytes: float
    kernels: Convolving
    median: float
    p90: float
    spread: float
    cases: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Data:
    """Measured cases as a table.

    Attributes:
        names: figures, and the parts of ``step``.
        counts: by case and figure.
        seconds: measured.
        networks: which cases are networks, and no loops of one layer.
    """

    names: tuple[str, ...]
    counts: Array
    seconds: Array
    networks: NDArray[np.bool_]

    def without(self, name: str) -> _Data:
        """As if that figure were free."""
        k = self.names.index(name)
        rest = (*self.names[:k], *self.names[k + 1 :])
        return replace(self, names=rest, counts=np.delete(self.counts, k, axis=1))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Solved:
    """Logarithms of the figures, and of ``hot``; their covariance; the sum of squares."""

    x: Array
    covariance: Array
    squares: float


def fit(found: Mapping[str, Any], sort: str, kernels: Convolving | None = None) -> Fit:
    """The figures that explain what was measured.

    A figure that the cases do not tell within a factor of two is left out, and the rest fitted
    anew: what little it had goes to them.

    Args:
        found: of `simfl.profile.bench`.
        sort: ``train`` or ``inference``.
        kernels: what convolutions are computed by; else what explains the times best.

    Raises:
        CostError: too few cases were measured.
    """
    entries = [entry for entry in found["cases"] if entry.get(sort)]
    if len(entries) < _FEWEST:
        raise CostError(
            f"the profile has {len(entries)} cases, and {_FEWEST} are needed; go on measuring with "
            "the same command, and a larger --budget"
        )
    cache_bytes = float(found["host"].get("cache_bytes", 0))
    choices = [kernels] if kernels else _choices(found["host"]["device"])
    tables = {choice: _table(entries, sort, choice, cache_bytes) for choice in choices}
    first = {choice: _solve(data, sort) for choice, data in tables.items()}
    best = min(choices, key=lambda choice: first[choice].squares)
    data, solved = tables[best], first[best]
    while (vague := _vaguest(data, solved)) is not None:
        data = data.without(vague)
        solved = _solve(data, sort)
    units_s, log_sd = _figures(data, solved)
    errors = _errors(data, solved.x)
    shares = np.abs(np.expm1(errors))
    return Fit(
        units_s=units_s,
        log_sd=log_sd,
        hot=float(np.exp(solved.x[-1])),
        cache_bytes=cache_bytes,
        kernels=best,
        median=float(np.median(shares)),
        p90=float(np.percentile(shares, 90)),
        spread=float(np.percentile(np.abs(errors), 90) / _NORMAL_P90),
        cases=len(entries),
    )


def _choices(device: str) -> list[Convolving]:
    """What is tried: a GPU's convolutions are its own affair."""
    if device != "cpu":
        return [Convolving("none", 1)]
    return [Convolving(plain, block) for plain in get_args(Plain) for block in _BLOCKS]


def _errors(data: _Data, x: Array) -> Array:
    """Logarithms of predicted over measured."""
    predicted = data.counts @ np.exp(x[:-1]) * np.where(data.networks, 1.0, np.exp(x[-1]))
    out: Array = np.log(predicted / data.seconds)
    return out


def _solve(data: _Data, sort: str) -> _Solved:
    prior = np.array([_PRIOR[sort][name] for name in data.names])
    # a machine that is ten times slower is so in all, to begin with
    prior *= np.median(data.seconds / (data.counts @ prior))
    start = np.append(np.log(prior), np.log(_HOT))
    sds = np.append(np.full(len(data.names), _PRIOR_SD), _HOT_SD)
    weights = np.where(data.networks, _NETWORK_WEIGHT, 1.0)

    def residuals(x: Array) -> Array:
        errors = _errors(data, x)
        z = (weights * errors / _SCALE) ** 2
        shrunk = np.sign(errors) * np.sqrt(2 * (np.sqrt(1 + z) - 1))
        return np.concatenate([shrunk, (x - start) / sds])

    solved = least_squares(residuals, start)
    variance = 2 * solved.cost / max(len(data.seconds) - len(start), 1)
    covariance = np.linalg.pinv(solved.jac.T @ solved.jac) * variance
    return _Solved(x=solved.x, covariance=covariance, squares=2 * float(solved.cost))


def _vaguest(data: _Data, solved: _Solved) -> str | None:
    """The figure that is known least, if too little, and can be done without."""
    sds = np.sqrt(np.diag(solved.covariance))
    vague = [
        (float(sd), name)
        for name, sd in zip(data.names, sds, strict=False)
        if sd > _VAGUE_SD and name not in _NEEDED
    ]
    return max(vague)[1] if vague else None


def _figures(data: _Data, solved: _Solved) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds of one count and their log_sd, by figure; a step's floor is the sum of its parts."""
    seconds, sds = np.exp(solved.x[:-1]), np.sqrt(np.diag(solved.covariance))
    units_s, log_sd = {"step": 0.0}, {"step": 0.0}
    parts = [k for k, name in enumerate(data.names) if name in _PARTS]
    if parts:
        units_s["step"] = float(seconds[parts].sum())
        share = seconds[parts] / units_s["step"]
        log_sd["step"] = float(np.sqrt(share @ solved.covariance[np.ix_(parts, parts)] @ share))
    for name, s, sd in zip(data.names, seconds, sds, strict=False):
        if name not in _PARTS:
            units_s[name], log_sd[name] = float(s), float(sd)
    return units_s, log_sd


def _table(entries: list[Any], sort: str, kernels: Convolving, cache_bytes: float) -> _Data:
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
            plain=kernels.plain,
            block=kernels.block,
        )
        # a step's floor by its parts: kernels alone have no loss, and some nothing to optimise
        asked["floor"] = asked.pop("step")
        asked["loss"] = float(training and "loss" in case)
        asked["optimiser"] = float(training and any(layer.tensors for layer in layers))
        # seen, not foretold: what a step asks of the system depends on the steps before
        asked["page"] = float(np.median([one["faults"] for one in entry[sort]]))
        rows.append(asked)
    names = tuple(name for name in _PRIOR[sort] if any(row.get(name) for row in rows))
    return _Data(
        names=names,
        counts=np.array([[row.get(name, 0.0) for name in names] for row in rows]),
        seconds=np.array([np.min([one["s"] for one in entry[sort]]) for entry in entries]),
        networks=np.array(["loss" in entry["case"] for entry in entries]),
    )
