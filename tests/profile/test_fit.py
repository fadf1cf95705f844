from typing import Any

import numpy as np
import pytest

from simfl.cost.compact import Kernels
from simfl.cost.demand import demand
from simfl.errors import CostError
from simfl.profile.counted import count
from simfl.profile.fit import Convolving, Fit, fit

# a call and a tensor of parameters come together: only their sum is told
TOLD = ("conv_call", "dense_rate", "weight_rate", "conv_rate", "conv_weight_rate")
ALSO = (
    "unfold_element",
    "depthwise_element",
    "norm_element",
    "pool_element",
    "mean_element",
    "page",
    "coo_back",
)


@pytest.fixture(scope="module")
def fitted(found: dict[str, Any]) -> Fit:
    return fit(found, "train")


@pytest.mark.parametrize("name", TOLD + ALSO)
def test_known_figures_come_back(fitted: Fit, figures: dict[str, float], name: str) -> None:
    assert fitted.units_s[name] == pytest.approx(figures[name], rel=0.2)
    # and what is said of their uncertainty is no less than what they are off by, by far
    off = abs(np.log(fitted.units_s[name] / figures[name]))
    assert off < 5 * fitted.log_sd[name]


def test_errors_are_those_of_the_noise(fitted: Fit) -> None:
    # the median of two times with a noise of 3 %: some 2 %, of which a half is below 1.5 %
    assert fitted.median < 0.03
    assert fitted.p90 < 0.08
    assert fitted.spread < 0.05
    assert fitted.hot == pytest.approx(0.85, rel=0.05)


def test_the_kernels_that_the_framework_takes_are_told(fitted: Fit) -> None:
    assert fitted.kernels == ("lone", 16)


def test_a_forward_pass_is_computed_by_the_same_kernels(found: dict[str, Any]) -> None:
    given = Convolving("none", 8)
    assert fit(found, "inference", given).kernels == given


def test_a_gpus_kernels_are_not_guessed(found: dict[str, Any]) -> None:
    gpu = found | {"host": found["host"] | {"device": "cuda"}}
    assert fit(gpu, "train").kernels == ("none", 1)


def test_predictions_of_all_cases_are_right(fitted: Fit, found: dict[str, Any]) -> None:
    wrong = []
    for entry in found["cases"]:
        if "loss" not in entry["case"]:
            continue
        asked = demand(
            count(entry["case"]),
            samples=entry["case"]["batch"],
            steps=1,
            training=True,
            known=tuple(Kernels.model_fields),
            cache_bytes=found["host"]["cache_bytes"],
            plain=fitted.kernels.plain,
            block=fitted.kernels.block,
        )
        seconds = sum(n * fitted.units_s.get(name, 0.0) for name, n in asked.items())
        wrong.append(abs(seconds / entry["train"][0]["s"] - 1))
    assert len(wrong) > 20
    assert max(wrong) < 0.2


def test_what_no_case_tells_is_left_out(found: dict[str, Any]) -> None:
    dense = [e for e in found["cases"] if e["case"]["layers"][0][0] not in ("coo", "csr")]
    fitted = fit(found | {"cases": dense}, "train")
    assert not {name for name in fitted.units_s if name.startswith(("coo", "csr", "sparse"))}


def test_a_spoilt_case_does_not_spoil_the_fit(
    found: dict[str, Any], figures: dict[str, float]
) -> None:
    spoilt = [
        entry | {"train": [one | {"s": 20 * one["s"]} for one in entry["train"]]}
        if number % 40 == 3
        else entry
        for number, entry in enumerate(found["cases"])
    ]
    fitted = fit(found | {"cases": spoilt}, "train")
    assert fitted.units_s["dense_rate"] == pytest.approx(figures["dense_rate"], rel=0.25)
    assert fitted.median < 0.06


def test_a_slower_machine_has_slower_figures(fitted: Fit, found: dict[str, Any]) -> None:
    slow = [
        entry | {"train": [one | {"s": 50 * one["s"]} for one in entry["train"]]}
        for entry in found["cases"]
    ]
    slower = fit(found | {"cases": slow}, "train")
    for name in TOLD:
        assert slower.units_s[name] == pytest.approx(50 * fitted.units_s[name], rel=0.05)


def test_too_few_cases_are_refused(found: dict[str, Any]) -> None:
    with pytest.raises(CostError, match="the profile has 7 cases, and 40 are needed; go on"):
        fit(found | {"cases": found["cases"][:7]}, "train")
