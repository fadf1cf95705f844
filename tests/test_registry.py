import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from simfl.algorithms.fedavg import FedAvg, FedAvgOptions
from simfl.errors import RegistryError, ScenarioError
from simfl.learning.problem import Problem
from simfl.options import Options
from simfl.registry import (
    ALGORITHMS,
    CODECS,
    DATASETS,
    MODELS,
    NETWORKS,
    PARTITIONS,
    PROTOCOLS,
    TOPOLOGIES,
    Registry,
)

ALL = [ALGORITHMS, CODECS, DATASETS, MODELS, NETWORKS, PARTITIONS, PROTOCOLS, TOPOLOGIES]


class NoOptions(Options):
    """Nothing to choose."""


@pytest.fixture
def codecs() -> Registry[Any]:
    """A registry of its own over simfl's codecs."""
    helpers = ("base", "counted", "matrices", "reading", "values")
    return Registry("codec", "simfl.codecs", helpers)


def test_names_are_files_without_the_helpers(codecs: Registry[Any]) -> None:
    assert codecs.names() == [
        *("bitmap", "coo", "csr", "delta_index", "dense", "scipy_csr", "values_only")
    ]
    assert {"base", "count"}.isdisjoint(MODELS.names())
    assert {"base", "idx"}.isdisjoint(DATASETS.names())


def test_listing_names_imports_nothing() -> None:
    code = (
        "import sys; from simfl import registry as r; "
        "names = [r.ALGORITHMS.names(), r.MODELS.names(), r.CODECS.names()]; "
        "assert all(names); "
        "print(*[m for m in sys.modules if m.startswith('simfl.')])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(found.stdout.split()) == {"simfl.registry", "simfl.errors"}


@pytest.mark.parametrize("registry", ALL, ids=lambda r: r.kind)
def test_every_file_registers_its_own_name(registry: Registry[Any]) -> None:
    assert registry.names()
    for name in registry.names():
        plugin = registry.get(name)
        assert plugin.name == name
        assert callable(plugin.build)
        assert issubclass(plugin.options, Options)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("prunefll", "unknown algorithm 'prunefll'; did you mean 'prunefl'?"),
        ("FedAvg", "unknown algorithm 'FedAvg'; did you mean 'fedavg'?"),
        ("zzz", "unknown algorithm 'zzz'; valid: "),
        ("base", "unknown algorithm 'base'; "),
    ],
)
def test_an_unknown_name_tells_the_nearest(name: str, message: str) -> None:
    with pytest.raises(RegistryError) as error:
        ALGORITHMS.get(name)
    assert str(error.value).startswith(message)


def test_two_plug_ins_of_one_name_clash(codecs: Registry[Any]) -> None:
    @codecs.register("mine", options=NoOptions)
    def first() -> None: ...

    def second() -> None: ...

    with pytest.raises(RegistryError, match=r"codec 'mine' is registered by .*; give one of them"):
        codecs.register("mine", options=NoOptions)(second)
    assert codecs.get("mine").build is first


def test_a_module_read_anew_does_not_clash_with_itself(codecs: Registry[Any]) -> None:
    def build() -> None: ...

    codecs.register("mine", options=NoOptions)(build)
    assert codecs.register("mine", options=NoOptions)(build) is build


def test_a_plug_in_of_a_user_is_a_name_like_any_other(
    monkeypatch: pytest.MonkeyPatch, make_problem: Callable[..., Problem], scenario_text: str
) -> None:
    from simfl.scenario import loads

    monkeypatch.setattr(ALGORITHMS, "_plugins", dict(ALGORITHMS._plugins))

    class Options(FedAvgOptions):
        patience: int

    @ALGORITHMS.register("mine", options=Options)
    class Mine(FedAvg):
        pass

    scenario = loads(scenario_text, overrides=["learning.algorithm={name: mine, patience: 3}"])
    choice = scenario.learning.algorithm
    assert choice.options == Options(patience=3)
    algorithm = choice.plugin().build(choice.options, make_problem())
    assert isinstance(algorithm, Mine)
    assert "patience=3" in algorithm.name
    with pytest.raises(ScenarioError, match=r"learning\.algorithm\.patience: missing; add this"):
        loads(scenario_text, overrides=["learning.algorithm={name: mine}"])
