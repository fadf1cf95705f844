"""What a network takes to answer."""

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import simfl
from simfl.cost.device import Device
from simfl.cost.memory import peak_bytes
from simfl.devices import load_device
from simfl.errors import CostError, ScenarioError, SimflError, TraceError
from simfl.inference import answered, answered_sparse, final_of, network_of, original_of
from simfl.inference_listing import rows_of, write_rows
from simfl.models.count import operations
from simfl.record import Trace, TraceWriter
from simfl.work import Manifest, Storage, TensorInfo

GREY = (1, 28, 28)
LENET = ((300, 784), (100, 300), (10, 100))


def figure(value: str, log_sd: float = 0.1, kind: str = "measured") -> dict[str, object]:
    return {"value": value, "kind": kind, "source": "a test", "log_sd": log_sd}


def board(ram: str = "1 GiB", **inference: str) -> Device:
    figures = inference or {"step": "1 ms", "dense_rate": "1 Gflop/s", "csr_weight": "1 ns"}
    return Device.model_validate(
        {
            "name": "board",
            "description": "of a test",
            "stack": "none",
            "ram": figure(ram),
            "cost": {
                "kind": "compact",
                "inference": {name: figure(value) for name, value in figures.items()},
            },
            "memory_rate": figure("1 GB/s"),
        }
    )


def small(width: int = 8) -> nn.Module:
    layers = (nn.Conv2d(1, width, 3), nn.ReLU(), nn.Flatten(), nn.Linear(width * 36, 4))
    return nn.Sequential(*layers)


def test_latency_is_the_floor_and_the_flop_over_the_rate() -> None:
    found = simfl.inference_time(small(), board(), sample_shape=(1, 8, 8), batch=4)
    macs = 8 * 9 * 36 + 8 * 36 * 4
    assert found.macs == macs
    assert found.latency_s == pytest.approx(1e-3 + 4 * 2 * macs / 1e9)
    assert found.throughput_per_s == pytest.approx(4 / found.latency_s)
    assert found.parameters == sum(p.numel() for p in small().parameters())
    assert (found.device, found.model, found.batch) == ("board", "Sequential", 4)
    assert found.fits
    assert found.note == ""


def test_memory_is_that_of_a_forward_pass() -> None:
    module = small()
    found = simfl.inference_time(module, board(), sample_shape=(1, 8, 8), batch=2)
    work = simfl.workload(module, (1, 8, 8), batch=2)
    assert found.memory_bytes > 4 * found.parameters
    assert found.memory_bytes < peak_bytes(work), "a training keeps more"


def test_fewer_filters_are_sooner_and_smaller() -> None:
    dense, pruned = (
        simfl.inference_time(small(width), "galaxy_a9", sample_shape=(1, 8, 8)) for width in (8, 4)
    )
    assert pruned.latency_s < dense.latency_s
    assert pruned.memory_bytes < dense.memory_bytes


def test_a_named_model_with_its_classes() -> None:
    found = simfl.inference_time("lenet5", "i7_4790", sample_shape=GREY, classes=62)
    assert found.parameters == 61_706 + 52 * 85
    assert found.model == "lenet5"


def test_what_does_not_fit_is_said() -> None:
    assert not simfl.inference_time("lenet5", board("1 MiB"), sample_shape=(1, 280, 280)).fits
    # what the Pi 3 was seen to fail at was training
    assert simfl.inference_time("lenet_300_100", "pi3", sample_shape=GREY).fits


def test_dropout_is_none_when_a_network_answers() -> None:
    def build() -> nn.Module:
        return nn.Sequential(nn.Dropout(), nn.Linear(4, 4))

    assert [o.name for o in operations(build, (4,), training=False)] == ["1.weight"]
    assert len(operations(build, (4,))) > 1


def test_a_mask_is_multiplied_in_before_and_saves_nothing_held_dense() -> None:
    module = nn.Sequential(nn.Linear(64, 64, bias=False))
    plain = simfl.inference_time(module, board(), sample_shape=(64,))
    prune.random_unstructured(module[0], "weight", 0.75)
    masked = simfl.inference_time(module, board(), sample_shape=(64,))
    assert masked.latency_s == plain.latency_s
    assert masked.memory_bytes == plain.memory_bytes
    assert (plain.parameters, masked.parameters) == (4096, 1024)
    held = simfl.inference_time(module, board(), sample_shape=(64,), storage="csr")
    assert held.latency_s == pytest.approx(1e-3 + 1024 * 1e-9)
    assert held.macs == 1024


def test_convolutions_are_never_held_sparse() -> None:
    module = nn.Conv2d(4, 4, 3)
    with torch.no_grad():
        module.weight[0] = 0
    network = network_of(module, sample_shape=(4, 8, 8))
    assert network.parameters == 3 * 36 + 4
    assert not network.sparse
    assert answered_sparse(network, board()) is None


def test_the_sooner_sparse_form_counts() -> None:
    layer = nn.Linear(64, 64)
    with torch.no_grad():
        layer.weight[:32] = 0
    network = network_of(layer, sample_shape=(64,))
    both = board(dense_rate="1 Gflop/s", csr_weight="3 ns", coo_weight="2 ns")
    found = answered_sparse(network, both)
    assert found is not None
    assert found.storage is Storage.COO
    assert answered_sparse(network, board(dense_rate="1 Gflop/s")) is None
    assert answered(network, both).storage is Storage.DENSE


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pi4", "a third of a training step"),
        ("pixel3", "rough (derived)"),
        ("i7_4790", ""),
        ("pi4_ncnn_4t", ""),
    ],
)
def test_a_note_says_what_is_weak(name: str, words: str) -> None:
    note = simfl.inference_time("lenet5", name, sample_shape=GREY).note
    assert note.startswith(words)
    assert bool(note) == bool(words)


WRONG: list[tuple[Callable[[], object], type[SimflError], str]] = [
    (lambda: simfl.inference_time("lenet6", "pi4", sample_shape=GREY), ScenarioError, "'lenet5'"),
    (lambda: simfl.inference_time("lenet5", "pie", sample_shape=GREY), CostError, "unknown device"),
    (lambda: simfl.inference_time("lenet5", "pi4"), ScenarioError, "the shape of one sample"),
    (
        lambda: simfl.inference_time("lenet5", "pi4", sample_shape=(1, 4, 4)),
        ScenarioError,
        "needs images of at least",
    ),
    (
        lambda: simfl.inference_time("lenet5", "pi4", sample_shape=GREY, batch=0),
        ScenarioError,
        "give 1 or more",
    ),
    (
        lambda: simfl.inference_time("lenet5", "pi4", sample_shape=GREY, storage="masked"),
        ScenarioError,
        "storage masked",
    ),
    (
        lambda: simfl.inference_time("lenet5", "pi4_prunefl", sample_shape=GREY),
        CostError,
        "figures for training only",
    ),
    (lambda: simfl.inference_time("none.h5", "pi4"), TraceError, "no such file"),
]


@pytest.mark.parametrize(("ask", "kind", "words"), WRONG)
def test_what_cannot_be_answered_is_one_line(
    ask: Callable[[], object], kind: type[SimflError], words: str
) -> None:
    with pytest.raises(kind) as error:
        ask()
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def manifest(*nonzero: int, shapes: tuple[tuple[int, ...], ...] = LENET) -> Manifest:
    tensors = (
        TensorInfo(name=f"fc{n}.weight", shape=shape, dtype="float32", nonzero=count)
        for n, (shape, count) in enumerate(zip(shapes, nonzero, strict=True), 1)
    )
    return Manifest(tensors=tuple(tensors))


@pytest.fixture
def write_trace(tmp_path: Path, scenario_text: str) -> Callable[..., Trace]:
    """Writes a trace whose server made these models, one a round."""

    def write(*models: Manifest) -> Trace:
        return written(tmp_path / "run.h5", scenario_text, *models)

    return write


def written(path: Path, text: str, *models: Manifest) -> Trace:
    facts = {"name": "toy", "asked": "toy", "classes": 10, "sample_shape": GREY}
    attributes = {"scenario": text, "folder": str(path.parent), "dataset": facts}
    nodes = [("server", -1, "server", "g3s_xlarge", 0)]
    writer = TraceWriter(path, nodes, attributes)
    for number, model in enumerate(models):
        numbered = writer.manifest(model)
        key = f"{number:032x}"
        row = (float(number), number + 1.0, "server", "aggregate", number, key, numbered, 0)
        writer.append("activities", row)
    writer.close("complete: 1 round")
    return Trace(path)


def test_a_trace_gives_the_model_that_it_ended_with(
    tmp_path: Path, write_trace: Callable[..., Trace]
) -> None:
    trace = write_trace(manifest(9, 9, 9), manifest(1000, 200, 30))
    final, original = final_of(trace), original_of(trace)
    assert original.parameters == 266_610
    assert final.parameters == 1000 + 200 + 30 + 410
    assert original.name == final.name == "lenet_300_100"
    assert not original.sparse
    assert final.sparse
    by_path = simfl.inference_time(tmp_path / "run.h5", "pi4", storage="coo")
    assert by_path == simfl.inference_time(trace, "pi4", storage="coo")
    assert by_path == simfl.inference_time(str(tmp_path / "run.h5"), "pi4", storage="coo")
    assert by_path.latency_s < simfl.inference_time(trace, "pi4").latency_s


def test_a_trace_whose_channels_were_cut_is_a_smaller_network(
    write_trace: Callable[..., Trace],
) -> None:
    left = ((30, 784), (10, 30), (10, 10))
    # biases are cut with their units, and are no matrices
    biases = tuple(
        TensorInfo(name=f"fc{n}.bias", shape=(size,), dtype="float32", nonzero=size)
        for n, (size, _) in enumerate(left, 1)
    )
    kept = manifest(*(n * m for n, m in left), shapes=left)
    trace = write_trace(replace(kept, tensors=kept.tensors + biases))
    final, original = final_of(trace), original_of(trace)
    assert final.parameters == 785 * 30 + 31 * 10 + 11 * 10
    assert not final.sparse
    found, whole = (answered(network, board()) for network in (final, original))
    assert found.macs == 784 * 30 + 300 + 100
    assert found.latency_s - 1e-3 == pytest.approx(2 * found.macs / 1e9)
    assert found.memory_bytes < whole.memory_bytes / 5


def test_a_trace_without_a_model_is_refused(write_trace: Callable[..., Trace]) -> None:
    trace = write_trace()
    with pytest.raises(TraceError, match="no model is recorded in it"):
        simfl.inference_time(trace, "pi4")


def test_rows_say_why_there_are_no_times(tmp_path: Path, write_trace: Callable[..., Trace]) -> None:
    trace = write_trace(manifest(1000, 200, 30))
    devices = [load_device(name) for name in ("pi4", "pi4_prunefl")] + [board("1 KiB")]
    original = original_of(trace)
    known, lacks, tight = rows_of(final_of(trace), devices, batch=2, original=original)
    assert known.before is not None
    assert known.after is not None
    assert known.sparse is not None
    assert known.before.latency_s == known.after.latency_s > known.sparse.latency_s
    assert lacks.note == "has figures for training only"
    assert tight.note == "does not fit"
    write_rows(tmp_path / "rows.csv", [known, lacks])
    with (tmp_path / "rows.csv").open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [line["which"] for line in lines] == ["original", "network", "sparse"]
    assert [line["storage"] for line in lines] == ["dense", "dense", "coo"]
    assert float(lines[0]["latency_s"]) == known.before.latency_s
    assert {line["batch"] for line in lines} == {"2"}
