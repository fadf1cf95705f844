import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import nn
from typer.testing import CliRunner

from simfl.cli import app
from simfl.cost.device import Device
from simfl.devices import load_device
from simfl.errors import CostError, RegistryError
from simfl.models.count import workload
from simfl.profile import bench, session
from simfl.profile.cases import cases
from simfl.profile.check import check
from simfl.profile.command import show_points
from simfl.profile.fit import fit
from simfl.profile.networks import shape_of, subject
from simfl.work import Passes

RUNNER = CliRunner()


@pytest.fixture(autouse=True)
def _threads() -> Any:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def profile(found: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("board") / "profile.json"
    path.write_text(json.dumps(found))
    return path


@pytest.fixture(scope="module")
def board(profile: Path) -> Path:
    path = profile.with_name("board.yaml")
    done = RUNNER.invoke(app, ["profile", "--from", str(profile), "--out", str(path)])
    assert done.exit_code == 0, done.output
    assert "177 cases, explained within" in done.output
    return path


def lenet() -> nn.Module:
    return subject("lenet5", (1, 28, 28)).build()


def test_the_file_says_what_the_fit_does(board: Path, found: dict[str, Any]) -> None:
    device, fitted = load_device(str(board)), fit(found, "train")
    assert (device.name, device.threads) == ("board", 1)
    assert device.ram.value == pytest.approx(2**30, rel=0.01)
    assert device.memory_rate.value == 2e9
    assert device.runtime is not None
    assert device.runtime.value == 300 * 2**20
    kernels = device.cost.train  # type: ignore[union-attr]
    assert kernels is not None
    # three digits of each
    for name, seconds in kernels.units_s.items():
        assert seconds == pytest.approx(fitted.units_s[name], rel=0.01)
        figure = getattr(kernels, name)
        assert (figure.kind, figure.source) == ("measured", "simfl profile on bench, PyTorch 2.4.0")
    assert device.cost.errors.median == pytest.approx(fitted.median, rel=0.01)  # type: ignore[union-attr]
    assert device.variation.model is not None
    assert device.variation.model.value == pytest.approx(fitted.spread, rel=0.01)
    assert device.power is None
    assert device.radio is None


@pytest.mark.parametrize("batch", [1, 4, 50])
def test_it_predicts_a_network_that_was_not_measured(
    board: Path, figures: dict[str, float], batch: int
) -> None:
    from simfl.cost.compact import Kernels
    from simfl.cost.demand import demand

    work = workload(lenet(), (1, 28, 28), batch=batch)
    asked = demand(
        work.layers,
        samples=batch,
        steps=1,
        training=True,
        known=tuple(Kernels.model_fields),
        cache_bytes=2**20,
        plain="lone",
        block=16,
    )
    true_s = sum(count * figures.get(name, 0.0) for name, count in asked.items())
    assert load_device(str(board)).seconds(work) == pytest.approx(true_s, rel=0.05)


def test_what_a_profile_cannot_measure_comes_from_a_sibling(profile: Path, tmp_path: Path) -> None:
    path = tmp_path / "like.yaml"
    request = ["profile", "--from", str(profile), "--out", str(path), "--like", "pi3"]
    assert RUNNER.invoke(app, request).exit_code == 0
    mine, theirs = load_device(str(path)), load_device("pi3")
    assert mine.radio == theirs.radio is not None
    assert mine.power == theirs.power
    assert mine.variation.unit == theirs.variation.unit
    assert mine.variation.model != theirs.variation.model
    assert mine.cost != theirs.cost


def test_anchors_move_the_prediction_to_what_was_measured(
    found: dict[str, Any], board: Path, tmp_path: Path
) -> None:
    plain = load_device(str(board))
    net = subject("lenet5", (1, 28, 28))
    modules = []
    for batch, ratio in [(2, 1.5), (64, 0.8)]:
        train_s = ratio * plain.seconds(net.workload(batch))
        inference_s = ratio * plain.seconds(net.workload(batch, Passes.FORWARD))
        entry = {"module": "lenet5", "input": [1, 28, 28], "batch": batch}
        modules.append(entry | {"train": [{"s": train_s}], "inference": [{"s": inference_s}]})
    path = tmp_path / "p.json"
    path.write_text(json.dumps(found | {"modules": modules}))
    out = tmp_path / "anchored.yaml"
    request = ["profile", "--from", str(path), "--out", str(out), "--anchor", "lenet5"]
    done = RUNNER.invoke(app, request)
    assert done.exit_code == 0, done.output
    anchored = load_device(str(out))

    def ratio_at(batch: int, name: str = "lenet5", passes: Passes = Passes.TRAIN) -> float:
        work = subject(name, (1, 28, 28)).workload(batch, passes)
        return anchored.seconds(work) / plain.seconds(work)

    assert ratio_at(2) == pytest.approx(1.5, rel=0.01)
    assert ratio_at(64, passes=Passes.FORWARD) == pytest.approx(0.8, rel=0.01)
    # between them by the logarithm of the batch, outside as at the nearest
    assert ratio_at(11) == pytest.approx((1.5 * 0.8) ** 0.5, rel=0.02)
    assert ratio_at(1) == pytest.approx(1.5, rel=0.01)
    assert ratio_at(128) == pytest.approx(0.8, rel=0.01)
    assert ratio_at(11, name="lenet_300_100") == pytest.approx(1.0)


def test_an_anchor_that_was_not_measured_is_said(profile: Path, tmp_path: Path) -> None:
    request = ["profile", "--from", str(profile), "--anchor", "lenet5"]
    done = RUNNER.invoke(app, [*request, "--out", str(tmp_path / "x.yaml")])
    assert isinstance(done.exception, CostError)
    assert "lenet5 was not measured; on the board: --module" in str(done.exception)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--device", "tpu"], "--device tpu: give cpu or cuda"),
        (["lenet5"], "lenet5: networks are named with --check or --anchor"),
        (["--anchor", "lenet5", "--input", "28by28"], "--input 28by28: give the shape of one"),
        (["--anchor", "lenet5", "--input", "1x4x4"], "images of at least 12x12, and these are"),
        (["--anchor", "nets.py:lenet"], "nets.py:lenet: no such Python file; give FILE.py:NAME"),
        (["--check", "pi4"], "--check pi4: name the networks to measure, e.g. lenet5"),
        (["--check", "pi4", "lenet5", "--batches", "2,x"], "--batches 2,x: give numbers of"),
        (["--from", "nowhere.json"], "nowhere.json: no such file; give the JSON that the"),
    ],
)
def test_a_wrong_request_is_told_in_one_line(words: list[str], message: str) -> None:
    done = RUNNER.invoke(app, ["profile", *words])
    assert isinstance(done.exception, CostError)
    assert message in str(done.exception)
    assert "\n" not in str(done.exception)


def test_an_unknown_network_is_told_with_the_nearest() -> None:
    with pytest.raises(RegistryError, match="unknown model 'lenet6'; did you mean 'lenet5'"):
        subject("lenet6", (1, 28, 28))
    assert shape_of("3x32x32") == (3, 32, 32)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda text: text[: len(text) // 2], "is not JSON, or not all of it"),
        (lambda text: text.replace("simfl bench 1", "other"), "is not a profile of this script"),
        (lambda text: text.replace('"faults"', '"fault"'), "'faults' is missing; measure anew"),
        (lambda text: text.replace('"torch"', '"jax"'), "'torch' is missing; measure anew"),
        (lambda text: text.replace('"cases"', '"case_s"'), "'cases' is missing; measure anew"),
        (lambda _: '{"format": "simfl bench 1", "cases": 4}', "not iterable; measure anew"),
    ],
)
def test_a_spoilt_profile_is_refused(
    profile: Path, tmp_path: Path, spoil: Any, message: str
) -> None:
    path = tmp_path / "p.json"
    path.write_text(spoil(profile.read_text()))
    with pytest.raises(CostError, match=message) as error:
        session.load_profile(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_the_script_is_written(tmp_path: Path) -> None:
    path = tmp_path / "board.py"
    done = RUNNER.invoke(app, ["profile", "--export", str(path)])
    assert done.exit_code == 0
    text = path.read_text()
    compile(text, str(path), "exec")
    assert "simfl." not in "\n".join(x for x in text.splitlines() if x.startswith(("from", "imp")))
    assert "python board.py --out profile.json" in done.output


def test_a_check_measures_and_predicts(board: Path) -> None:
    device = load_device(str(board))
    torch.set_num_threads(1)
    nets = [subject("lenet_300_100", (1, 28, 28))]
    said: list[float] = []
    points = check(device, nets, [2, 4], progress=lambda share, _: said.append(share))
    assert [(p.network, p.batch, p.sort) for p in points] == [
        ("lenet_300_100", batch, sort) for sort in ("train", "inference") for batch in (2, 4)
    ]
    for point in points:
        assert point.error == point.predicted_s / point.measured_s - 1
        assert point.noise >= 0
        passes = Passes.TRAIN if point.sort == "train" else Passes.FORWARD
        assert point.predicted_s == device.seconds(nets[0].workload(point.batch, passes))
    # a forward pass is less than a training step
    assert points[2].measured_s < points[0].measured_s
    assert said[-1] == 1.0
    console = Console(width=120, record=True, file=StringIO())
    show_points(console, points)
    text = console.export_text()
    assert "lenet_300_100" in text
    assert "train: error" in text


def test_a_batch_that_does_not_train_is_said(board: Path) -> None:
    nets = [subject("resnet18", (3, 32, 32))]
    device = load_device(str(board))
    alone = [subject("resnet18", (1, 1, 1))]
    with pytest.raises(CostError, match="resnet18 does not train with batch 1: Expected more"):
        check(device, alone, [1])
    assert nets[0].model == "resnet18"


@pytest.mark.slow
def test_a_real_measurement_becomes_a_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """End to end, on this machine: the smallest cases, a short time each."""
    few = [c for c in cases() if bench.needs(c) < 2**20]
    assert len(few) >= 40
    path = tmp_path / "p.json"
    monkeypatch.setattr(bench, "cases", lambda: few)
    bench.Bench(path, budget_s=5.0).run()
    text, fitted = session.describe(session.load_profile(path), "here", [])
    out = tmp_path / "here.yaml"
    out.write_text(text)
    device = load_device(str(out))
    assert fitted.median < 0.5
    assert isinstance(device, Device)
    work = subject("lenet5", (1, 28, 28)).workload(8)
    # some machine of this century
    assert 1e-5 < device.seconds(work) < 10


@pytest.mark.slow
def test_the_command_measures_in_a_process_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "script", lambda: _FEW)
    path, said = tmp_path / "p.json", list[str]()
    found = session.measure_here(
        path, device="cpu", threads=1, budget_s=1, progress=lambda _, text: said.append(text)
    )
    assert len(found["cases"]) == 1
    assert said[0] == "linear-8-4, batch 1"
    path.write_text("[]")
    with pytest.raises(CostError, match=r"measuring failed: .* is not a profile of this script"):
        session.measure_here(path, device="cpu", threads=1, budget_s=1, progress=lambda *_: None)


_FEW = session.script().replace(
    'if __name__ == "__main__":',
    'cases = lambda: [{"layers": [["linear", 8, 4]], "input": [8], "batch": 1}]\n'
    'if __name__ == "__main__":',
)
