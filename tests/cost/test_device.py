from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from simfl.cost.compact import Compact
from simfl.cost.device import Device
from simfl.cost.memory import HEAP
from simfl.devices import load_device
from simfl.errors import CostError, DeviceMemoryError
from simfl.resources import names
from simfl.work import Kind, LayerWork, Passes, Storage, Workload

SOURCE = {"kind": "measured", "source": "the bench in the corner", "log_sd": 0.1}
BENCH: dict[str, Any] = {
    "name": "bench",
    "description": "a board of round numbers",
    "stack": "none",
    "ram": {"value": "1 GiB", **SOURCE},
    "memory_rate": {"value": "1 GB/s", **SOURCE},
}
TRAIN: dict[str, Any] = {
    "step": {"value": "10 ms", **SOURCE},
    "coo_weight": {"value": "100 ns", **SOURCE},
    "dense_rate": {"value": "6 Gflop/s", **SOURCE},
}
SESSION = {"value": "2 s", **SOURCE}
ENTRY: dict[str, Any] = {"model": "lenet", "batch": 20, "step": {"value": "5 ms", **SOURCE}}
FIXED: dict[str, Any] = {"kind": "fixed", "table": [ENTRY]}
NNZ: dict[str, Any] = {
    "batch": 20,
    "weights": [800, 100],
    "constant": {"value": "1 s", **SOURCE},
    "coefficients": {"values": ["1 us", "2 us"], **SOURCE},
}


def described(session: Any = SESSION, **changes: Any) -> dict[str, Any]:
    """The board, with other figures of its kernels, or with other keys; None leaves one out."""
    kernels = TRAIN | {k: v for k, v in changes.items() if k in TRAIN or k not in KEYS}
    cost = {"kind": "compact", "train": some(kernels)} | some({"session": session})
    return some(BENCH | {"cost": cost} | {k: v for k, v in changes.items() if k in KEYS})


KEYS = set(Device.model_fields)


def some(data: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in data.items() if v is not None}


def bench(session: Any = SESSION, **changes: Any) -> Device:
    return Device.model_validate(described(session, **changes))


def layer(storage: Storage, *, macs: int = 1000, nonzero: int = 300) -> LayerWork:
    return LayerWork(
        name="fc.weight",
        kind=Kind.LINEAR,
        macs=macs,
        weights=1000,
        nonzero=nonzero,
        storage=storage,
    )


SPARSE, MASKED, DENSE = (layer(s) for s in (Storage.COO, Storage.MASKED, Storage.DENSE))


@pytest.mark.parametrize(
    ("work", "seconds"),
    [
        (Workload(), 0.0),
        (Workload(steps=5), 0.05),
        (Workload(sessions=3), 6.0),
        (Workload(moved_bytes=500_000_000), 0.5),
        # 100 ns a stored weight and sample, forward and backward
        (Workload(layers=(SPARSE,), samples=100), 300 * 100 * 100e-9),
        # 6 FLOP a multiply-accumulate and sample, whatever the mask keeps
        (Workload(layers=(DENSE,), samples=100), 1000 * 100 * 6 / 6e9),
        (Workload(layers=(MASKED,), samples=100), 1000 * 100 * 6 / 6e9),
        # a forward pass alone: 2 of the 6
        (Workload(layers=(DENSE,), samples=90, passes=Passes.FORWARD), 1000 * 90 * 2 / 6e9),
        (Workload(layers=(SPARSE,), samples=90, passes=Passes.FORWARD), 300 * 30 * 100e-9),
        (
            Workload(
                layers=(SPARSE, DENSE), samples=100, steps=5, sessions=1, moved_bytes=1_000_000
            ),
            0.003 + 0.0001 + 0.05 + 2 + 0.001,
        ),
    ],
)
def test_closed_forms(work: Workload, seconds: float) -> None:
    assert bench().seconds(work) == pytest.approx(seconds, rel=1e-12)


def test_what_is_tested_goes_forward_beside_the_steps() -> None:
    work = Workload(layers=(DENSE,), samples=90, steps=9, batch=10)
    # 25 samples in 3 batches: 2 of the 6 operations, and 3 steps' floors of 10 ms
    more = bench().seconds(replace(work, tested=25)) - bench().seconds(work)
    assert more == pytest.approx(1000 * 25 * 2 / 6e9 + 0.03, rel=1e-9)


def test_without_figures_for_a_forward_pass_a_third_of_a_step_is_taken() -> None:
    board = bench(cost=FIXED)
    work = Workload(model="lenet", layers=(DENSE,), samples=40, steps=2, batch=20)
    assert board.seconds(work) == pytest.approx(2 * 5e-3)
    assert board.seconds(replace(work, tested=30)) == pytest.approx(2 * 5e-3 + 2 * 5e-3 / 3)
    # of what was not measured at all nothing is guessed
    with pytest.raises(CostError, match="device 'bench' has"):
        board.seconds(replace(work, model="vgg", tested=30))


def test_a_board_without_sessions_begins_at_once() -> None:
    assert bench(session=None).seconds(Workload(sessions=3)) == 0


@pytest.mark.parametrize(
    ("figure", "work", "message"),
    [
        ("coo_weight", SPARSE, r"device 'bench' has no figure for sparse layers \(fc\.weight\)"),
        ("dense_rate", DENSE, r"device 'bench' has no figure for dense layers \(fc\.weight\)"),
        ("dense_rate", MASKED, r"device 'bench' has no figure for dense layers \(fc\.weight\)"),
    ],
)
def test_a_missing_figure_is_never_taken_for_zero(
    figure: str, work: LayerWork, message: str
) -> None:
    with pytest.raises(CostError, match=message + f"; add {figure} to its file"):
        bench(**{figure: None}).seconds(Workload(layers=(work,), samples=1))


def test_what_was_seen_to_fail_is_refused() -> None:
    known = {"model": "lenet", "storage": "dense", "reason": "it dies", "source": "page 4"}
    device = bench(infeasible=[known])
    device.check(Workload(model="lenet", layers=(SPARSE, MASKED)))
    device.check(Workload(model="vgg", layers=(DENSE,)))
    with pytest.raises(DeviceMemoryError) as error:
        device.check(Workload(model="lenet", layers=(SPARSE, DENSE)))
    assert str(error.value) == (
        "out of memory: device 'bench' cannot train lenet held dense (it dies; page 4)"
    )


def test_the_pi_3_does_not_hold_the_dense_lenet() -> None:
    # PruneFL, section 5.1.1: the system dies during the first mini-batch
    dense = Workload(model="lenet_300_100", layers=(DENSE,))
    with pytest.raises(DeviceMemoryError, match="pi3"):
        load_device("pi3").check(dense)
    load_device("pi4").check(dense)


@pytest.mark.parametrize("name", names("device_models"))
def test_every_device_file_is_right(name: str) -> None:
    device = load_device(name)
    assert device.name == name
    assert len(device.description) > 10


@st.composite
def grown(draw: st.DrawFn) -> tuple[Workload, Workload, str]:
    """A workload, one with more of one thing, and of what."""
    few = st.integers(1, 10**6)
    storage = draw(st.sampled_from(Storage))
    work = Workload(
        layers=(layer(storage, macs=draw(few), nonzero=draw(few)),),
        samples=draw(few),
        steps=draw(few),
        sessions=draw(few),
        moved_bytes=draw(few),
        passes=draw(st.sampled_from(Passes)),
    )
    what = draw(st.sampled_from(["samples", "steps", "sessions", "moved_bytes", "layer", "count"]))
    if what == "count":
        return work, replace(work, layers=work.layers * 2), what
    if what == "layer":
        part = "nonzero" if storage.sparse else "macs"
        bigger = replace(work.layers[0], **{part: getattr(work.layers[0], part) * 2})
        return work, replace(work, layers=(bigger,)), what
    return work, replace(work, **{what: getattr(work, what) * 2}), what


@pytest.mark.parametrize("name", names("device_models"))
@given(pair=grown())
def test_more_work_takes_longer(name: str, pair: tuple[Workload, Workload, str]) -> None:
    device = load_device(name)
    less, more, what = pair
    if not isinstance(device.cost, Compact):
        return
    training, storage = less.passes is Passes.TRAIN, less.layers[0].storage
    kernels = device.cost.train if training else device.cost.inference or device.cost.train
    if kernels is None or (storage.sparse and getattr(kernels, f"{storage.value}_weight") is None):
        with pytest.raises(CostError, match="has no figure"):
            device.seconds(less)
        return
    before = device.seconds(less)
    unknown = {
        "sessions": device.cost.session is None,
        "steps": kernels.step is None and kernels.call is None,
    }
    if unknown.get(what):
        assert device.seconds(more) == before
    else:
        assert device.seconds(more) > before > 0


def written(path: Path, **changes: Any) -> Path:
    path.write_text(yaml.safe_dump(described(**changes), sort_keys=False))
    return path


def throttled(share: float, speed: float) -> dict[str, Any]:
    return {"share": {"value": share, **SOURCE}, "speed": {"value": speed, **SOURCE}}


@pytest.mark.parametrize(
    ("changes", "line", "message"),
    [
        (
            {"step": {"value": 10, **SOURCE}},
            18,
            "cost.train.step.value: 10 has no unit; write a time with its unit, e.g. '5 ms'",
        ),
        (
            {"step": {"value": "10 MB", **SOURCE}},
            18,
            "cost.train.step.value: 'MB' is no unit of time; use one of ns, us, ms, s, min, h, d",
        ),
        (
            {"step": {"value": "-10 ms", **SOURCE}},
            18,
            "cost.train.step.value: '-10 ms' is out of range; give a time above 0",
        ),
        (
            {"step": {"value": "0 ms", **SOURCE}},
            18,
            "cost.train.step.value: '0 ms' is out of range; give a time above 0",
        ),
        (
            {"step": {"value": "10 ms", "kind": "spec", "log_sd": 0}},
            17,
            "cost.train.step.source: missing; add this key",
        ),
        (
            {"step": {"value": "10 ms", **SOURCE, "kind": "guess"}},
            19,
            "cost.train.step.kind: 'guess' is not known here; "
            "use 'measured', 'derived', 'spec' or 'assumed'",
        ),
        (
            {"step": {"value": "10 ms", **SOURCE, "sauce": "x"}},
            22,
            "cost.train.step.sauce: unknown key; did you mean 'source'?",
        ),
        (
            {"step": "10 ms"},
            17,
            "cost.train.step: '10 ms' is not a mapping; write its keys below it",
        ),
        ({"memory_rate": None}, 1, "memory_rate: missing; add this key"),
        ({"stepp": "10 ms"}, 32, "cost.train.stepp: unknown key; did you mean 'step'?"),
        ({"ram": {"value": "1 Gbit", **SOURCE}}, 5, "ram.value: 'Gbit' is no unit of size; "),
        (
            {"variation": {"unit": {"value": -0.1, "kind": "spec", "source": "the maker"}}},
            39,
            "variation.unit.value: -0.1 is out of range; give a value at least 0",
        ),
        (
            {"variation": {"throttling": [throttled(0.5, 0.0)]}},
            44,
            "variation.throttling.0.speed: a board that stands still; give a speed above 0",
        ),
        (
            {"variation": {"throttling": [throttled(0.7, 0.5), throttled(0.5, 0.9)]}},
            38,
            "variation.throttling: shares of 1.2 in all; give at most 1",
        ),
        (
            {"dense_rate": {"value": "-6 Gflop/s", **SOURCE}},
            28,
            "cost.train.dense_rate.value: '-6 Gflop/s' is out of range; give a computing",
        ),
        (
            {"dense_rate": {"value": "6", **SOURCE}},
            28,
            "cost.train.dense_rate.value: '6' has no unit; write a computing rate with its unit, "
            "e.g. '1.02 Gflop/s'",
        ),
        (
            {"memory_rate": {"value": "-1 GB/s", **SOURCE}},
            10,
            "memory_rate.value: '-1 GB/s' is out of range; give a throughput above 0",
        ),
        (
            {"step": {"value": "10 ms", "kind": "spec", "source": "?", "log_sd": 0}},
            20,
            "cost.train.step.source: ",
        ),
        (
            {"step": {"value": "10 ms", **SOURCE, "log_sd": -1}},
            21,
            "cost.train.step.log_sd: -1 is out of range; give a value at least 0",
        ),
        (
            {"cost": {"kind": "guess"}},
            14,
            "cost: unknown kind 'guess'; valid: compact, fixed, linear_nnz, per_sample, trace",
        ),
        ({"cost": {"train": TRAIN}}, 14, "cost: no kind; add this key"),
        ({"cost": FIXED | {"tabel": []}}, 24, "cost.tabel: unknown key; did you mean 'table'?"),
        (
            {"cost": {"kind": "fixed", "table": [ENTRY, ENTRY | {"batch": 0}]}},
            25,
            "cost.table.1.batch: 0 is out of range; give a value at least 1",
        ),
        (
            {
                "cost": {
                    "kind": "fixed",
                    "table": [ENTRY | {"step": {"value": "5 s", "source": "a bench", "log_sd": 0}}],
                }
            },
            19,
            "cost.table.0.step.kind: missing; add this key",
        ),
        ({"cost": {"kind": "fixed", "table": []}}, 16, "cost.table: "),
        (
            {"cost": {"kind": "linear_nnz", "models": {"lenet": NNZ | {"weights": [7]}}}},
            17,
            "cost.models.lenet: 2 coefficients for 1 weights; give one for each layer",
        ),
        (
            {"cost": {"kind": "linear_nnz", "models": {"lenet": NNZ | {"weights": [7, 0]}}}},
            21,
            "cost.models.lenet.weights.1: 0 is out of range; give a value at least 1",
        ),
        (
            {
                "cost": {
                    "kind": "linear_nnz",
                    "models": {
                        "lenet": NNZ | {"coefficients": {"values": ["1 ns", "2"], **SOURCE}}
                    },
                }
            },
            30,
            "cost.models.lenet.coefficients.values.1: '2' has no unit; write a time",
        ),
        ({"cost": {"kind": "compact"}}, 14, "cost: no figures; give it some"),
        (
            {"cost": {"kind": "compact", "train": {}}},
            14,
            "cost: no figures; give it some",
        ),
    ],
)
def test_a_wrong_device_file_is_told_in_one_line(
    tmp_path: Path, changes: dict[str, Any], line: int, message: str
) -> None:
    path = written(tmp_path / "bad.yaml", **changes)
    with pytest.raises(CostError) as error:
        load_device(str(path))
    assert str(error.value).startswith(f"{path}:{line}: {message}")
    assert "\n" not in str(error.value)


def test_a_right_file_beside_the_packaged_ones(tmp_path: Path) -> None:
    assert load_device(str(written(tmp_path / "bench.yaml"))) == bench()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pi33", "unknown device 'pi33'; did you mean 'pi3'?"),
        ("none.yaml", "none.yaml: No such file or directory; give a device file or a name of "),
    ],
)
def test_no_such_device(name: str, message: str) -> None:
    with pytest.raises(CostError) as error:
        load_device(name)
    assert str(error.value).startswith(message)


def test_a_device_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "photo.yaml"
    path.write_bytes(b"\xff\xd8\xff")
    with pytest.raises(CostError, match=r"photo\.yaml: not text; give a device file"):
        load_device(str(path))
    path.write_text("")
    with pytest.raises(CostError, match=r"photo\.yaml:1: file: None is not a mapping"):
        load_device(str(path))


def fully(batch: int, passes: Passes = Passes.TRAIN) -> Workload:
    """1,000 weights, and 1,000 numbers of each sample kept."""
    fc = LayerWork(
        name="fc.weight",
        kind=Kind.LINEAR,
        weights=1000,
        parameters=1000,
        nonzero=1000,
        products=1,
        kept_bytes=4000,
        live_bytes=4000,
    )
    return Workload(model="wide", layers=(fc,), steps=1, samples=batch, batch=batch, passes=passes)


@pytest.mark.parametrize(
    ("passes", "gradients", "words"),
    [(Passes.TRAIN, 1, "cannot train"), (Passes.FORWARD, 0, "run")],
)
def test_what_does_not_fit_is_refused(passes: Passes, gradients: int, words: str) -> None:
    # room for the weights, what passes with 100 samples, and no more
    ram_bytes = 4000 + HEAP * (4000 * gradients + 100 * 4000)
    board = bench(ram={"value": f"{ram_bytes:.0f} B", **SOURCE})
    board.check(fully(100, passes))
    assert board.largest_batch(fully(1, passes)) == 100
    with pytest.raises(
        DeviceMemoryError, match=rf"'bench' .*{words}.* wide on batches of 101"
    ) as error:
        board.check(fully(101, passes))
    assert "batches of 100 fit" in str(error.value)
    assert "is not known" in str(error.value)  # what the system takes


def test_system_and_framework_take_their_share() -> None:
    figures = {"ram": {"value": "2 MB", **SOURCE}, "runtime": {"value": "1 MB", **SOURCE}}
    board, work = bench(**figures), fully(100)
    assert board.needed_bytes(work) == 1e6 + 4000 + HEAP * (4000 + 100 * 4000)
    board.check(work)
    with pytest.raises(DeviceMemoryError, match="of it before there is a model"):
        board.check(fully(200))
    with pytest.raises(DeviceMemoryError, match="not one sample fits"):
        bench(**figures | {"ram": {"value": "1 MB", **SOURCE}}).check(work)


def test_what_moves_bytes_only_is_not_refused() -> None:
    bench(ram={"value": "1 B", **SOURCE}).check(Workload(moved_bytes=10**9))


@pytest.mark.parametrize("name", names("device_models"))
def test_watts_that_are_given_make_sense(name: str) -> None:
    power = load_device(name).power
    if power is not None:
        assert power.busy is not None
        assert 0 < (power.idle.value if power.idle else 1e-3) < power.busy.value
