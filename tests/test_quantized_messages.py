"""A scenario's `learning.quantize`, by counting and in a run."""

from pathlib import Path

import pytest

import simfl

# LeNet-300-100: 266,200 weights in three matrices, each with a scale; 410 biases
MESSAGES = {
    "null": 4 * 266_610,
    "float16": 2 * 266_200 + 4 * 410,
    "int8": 266_200 + 3 * 4 + 4 * 410,
}


def asked(quantize: str) -> simfl.Scenario:
    changes = [f"learning.quantize={quantize}", "codec={name: dense}", "protocol.rounds=2"]
    return simfl.load("smoke/fedavg_access_links", changes)


@pytest.mark.parametrize(("quantize", "nbytes"), MESSAGES.items())
def test_the_dry_run_counts_what_travels(quantize: str, nbytes: int) -> None:
    _, tape = simfl.plan(asked(quantize))
    assert {sent.nbytes for sent in tape.transfers} == {nbytes}


@pytest.mark.parametrize("quantize", ["float16", "int8"])
def test_a_run_sends_as_much_and_learns(tmp_path: Path, quantize: str) -> None:
    trace = simfl.run(asked(quantize), out=tmp_path / "run.h5", store=False, executor="inline")
    assert set(trace.transfers["nbytes"]) == {MESSAGES[quantize]}
    assert trace.curve["accuracy"].iloc[-1] > 0.3


def test_what_a_scenario_learns_has_its_type_in_its_name() -> None:
    names = {simfl.plan(asked(quantize))[0].algorithm.name for quantize in MESSAGES}
    assert len(names) == 3
