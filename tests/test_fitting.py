"""Which devices can hold a model."""

from pathlib import Path

import pytest

import simfl
from simfl.cost.memory import allocated_bytes, peak_bytes
from simfl.devices import load_device
from simfl.errors import ScenarioError
from simfl.fitting import Fit, every_device, fit_of, images_of, parse_images, planned, training_of
from simfl.resources import names
from simfl.work import Kind, Storage, Workload

COLOUR = (3, 32, 32)


def resnet(batch: int, storage: Storage = Storage.DENSE, density: float = 1.0) -> Workload:
    return training_of(
        "resnet18", batch=batch, sample_shape=COLOUR, classes=10, storage=storage, density=density
    )


def by_name(work: Workload) -> dict[str, Fit]:
    return {fit.device: fit for fit in every_device(work)}


def test_every_device_answers() -> None:
    work = resnet(16)
    found, least_bytes = by_name(work), peak_bytes(work)
    assert set(found) == {load_device(name).name for name in names("device_models")}
    for name, fit in found.items():
        device = load_device(name)
        assert bool(fit.refused) == (fit.needed_bytes > fit.ram_bytes)
        assert fit.whole == (device.runtime is not None)
        assert fit.needed_bytes >= least_bytes


def test_the_largest_batch_is_the_edge() -> None:
    most = by_name(resnet(1))["pi4"].largest_batch
    assert not by_name(resnet(most))["pi4"].refused
    assert f"batches of {most} fit" in by_name(resnet(most + 1))["pi4"].refused


def test_what_was_seen_to_fail_fails_whatever_the_batch() -> None:
    dense = training_of("lenet_300_100", batch=1, sample_shape=(1, 28, 28), classes=10)
    fit = fit_of(load_device("pi3"), dense)
    assert "the system dies" in fit.refused
    assert fit.largest_batch == 0
    assert fit.needed_bytes < fit.ram_bytes


def test_sparse_means_the_linear_layers() -> None:
    work = resnet(16, Storage.COO, 0.1)
    linear = [layer for layer in work.layers if layer.weights and layer.kind is Kind.LINEAR]
    others = [layer for layer in work.layers if layer.weights and layer.kind is not Kind.LINEAR]
    assert [layer.storage for layer in linear] == [Storage.COO]
    assert {layer.storage for layer in others} == {Storage.MASKED}
    assert linear[0].nonzero == 512
    # masks and products cost memory: nothing is gained
    assert allocated_bytes(work) > allocated_bytes(resnet(16))


def test_a_plan_tells_what_the_largest_share_of_data_needs(tmp_path: Path) -> None:
    # 30 clients: some hold 48 samples, some 47, and a batch of 48 only the former
    changes = ["platform.devices.pi4.count=30", "learning.local.batch_size=48"]
    parts, tape = simfl.plan(simfl.load("smoke/fedavg_access_links", changes))
    (fit,) = planned(parts, tape.initial.manifest)
    work = parts.algorithm.training(tape.initial.manifest, steps=1, samples=48)
    assert work.batch == 48
    assert fit.needed_bytes == load_device("pi4").needed_bytes(work)


def test_images_of_a_data_set() -> None:
    assert images_of("digits", None) == ((1, 28, 28), 10)
    assert parse_images("3x224x192") == (3, 224, 192)


@pytest.mark.parametrize("text", ["3x32", "3x32x32x1", "0x3x3", "axbxc", "-3x3x3", ""])
def test_wrong_images(text: str) -> None:
    with pytest.raises(ScenarioError, match="give channels x height x width"):
        parse_images(text)


def test_wrong_names() -> None:
    with pytest.raises(ScenarioError, match="did you mean 'lenet5'"):
        training_of("lenet", batch=1, sample_shape=COLOUR, classes=10)
    with pytest.raises(ScenarioError, match="did you mean 'mnist'"):
        images_of("mnst", None)
    with pytest.raises(ScenarioError, match="lenet5: needs images of at least"):
        training_of("lenet5", batch=1, sample_shape=(1, 2, 2), classes=10)
