"""Fixtures shared by the whole suite."""

import gzip
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import torch
from hypothesis import settings
from torch import nn

from simfl.datasets.base import Dataset, NoOptions
from simfl.learning.problem import LocalUpdate, Problem
from simfl.models.base import Init, ModelOptions, chain
from simfl.models.count import declare
from simfl.partitions.base import Partition
from simfl.partitions.iid import IidOptions
from simfl.registry import DATASETS, MODELS

settings.register_profile("simfl", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("simfl")
torch.set_num_threads(1)

IID = Partition(name="iid", options=IidOptions())
LOCAL = LocalUpdate(learning_rate=0.1, batch_size=4, steps=3)
SHARED = Path(__file__).parent.parent.parent / "shared" / "data"


class S3:
    """S3 on this machine: moto's server, with what it holds kept while it is down.

    Attributes:
        url: of a store in it, for each test another.
    """

    def __init__(self) -> None:
        self.url, self._port = f"s3://bucket/{uuid4()}", 0
        self.start()

    @property
    def endpoint(self) -> str:
        """The server's address."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Answer from now on, at the same address as before."""
        from moto.server import ThreadedMotoServer

        self._server = ThreadedMotoServer("127.0.0.1", self._port, verbose=False)
        self._server.start()
        _, self._port = self._server.get_host_and_port()

    def stop(self) -> None:
        """Be gone: whoever connects is refused."""
        self._server.stop()


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    """S3, and fsspec told where it is: in this process, and by environment in those it starts."""
    pytest.importorskip("s3fs", reason="needs s3fs: pip install 'simfl[s3]'")
    pytest.importorskip("moto.server", reason="needs moto[server]")
    import fsspec
    from s3fs.core import S3FileSystem

    for name, value in (
        ("AWS_ACCESS_KEY_ID", "testing"),
        ("AWS_SECRET_ACCESS_KEY", "testing"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    served = S3()
    monkeypatch.setenv("FSSPEC_S3_ENDPOINT_URL", served.endpoint)
    monkeypatch.setitem(fsspec.config.conf, "s3", {"endpoint_url": served.endpoint})
    # who is refused need not be asked for a quarter of a minute
    monkeypatch.setattr(S3FileSystem, "retries", 1)
    fsspec.filesystem("s3").makedirs("bucket", exist_ok=True)
    yield served
    served.stop()


@pytest.fixture(scope="session")
def mnist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with MNIST/raw: what SIMFL_DATA names, else unpacked from beside the checkout."""
    named = os.environ.get("SIMFL_DATA")
    if named and (Path(named) / "MNIST" / "raw" / "train-images-idx3-ubyte").is_file():
        return Path(named)
    packed = sorted((SHARED / "MNIST" / "raw").glob("*.gz"))
    if not packed:
        pytest.skip("MNIST is not at hand; set SIMFL_DATA")
    raw = tmp_path_factory.mktemp("data") / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for path in packed:
        with gzip.open(path) as source, (raw / path.stem).open("wb") as target:
            shutil.copyfileobj(source, target)
    return raw.parent.parent


@pytest.fixture(scope="session")
def cifar10() -> Path:
    """The folder that SIMFL_DATA names, if CIFAR-10 is in it."""
    folder = Path(os.environ.get("SIMFL_DATA", "/nonexistent"))
    if DATASETS.get("cifar10").build(NoOptions()).missing_in(folder):
        pytest.skip("CIFAR-10 is not at hand; set SIMFL_DATA")
    return folder


@pytest.fixture(autouse=True)
def _no_data_by_accident(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only tests that ask for a data set get one: neither SIMFL_DATA nor the cache is seen."""
    monkeypatch.delenv("SIMFL_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/nonexistent")


@pytest.fixture(scope="session")
def toy() -> Dataset:
    """60 + 12 images of 4 x 4 in three classes, each class bright in rows of its own."""
    generator = torch.Generator().manual_seed(7)

    def images(labels: torch.Tensor) -> torch.Tensor:
        noise = torch.randint(0, 100, (len(labels), 1, 4, 4), generator=generator)
        noise[torch.arange(len(labels)), 0, labels] += 150
        return noise.to(torch.uint8)

    train, test = torch.arange(60) % 3, torch.arange(12) % 3
    return Dataset(
        name="toy",
        classes=3,
        train_images=images(train),
        train_labels=train,
        test_images=images(test),
        test_labels=test,
    )


def small_cnn() -> nn.Module:
    """Two convolutions, of 6 and 8 filters, on images of 4 x 4."""
    return chain(
        conv1=nn.Conv2d(1, 6, 3, padding=1),
        relu1=nn.ReLU(),
        conv2=nn.Conv2d(6, 8, 3),
        relu2=nn.ReLU(),
        flatten=nn.Flatten(),
        fc=nn.Linear(32, 3),
    )


@pytest.fixture(scope="session")
def make_problem(toy: Dataset) -> Callable[..., Problem]:
    """A problem on the toy data, of LeNet-300-100 or with ``filters`` of a small CNN.

    Changes are of fields of `Problem` or `LocalUpdate`.
    """
    model = MODELS.get("lenet_300_100")

    def make(init: Init = "kaiming_fan_in", filters: bool = False, **changes: Any) -> Problem:
        fields = {"dataset": toy, "clients": 4, "seed": 1, "partition": IID}
        fields |= {"normalization": None, "objective": (), "quantize": None}
        fields |= {name: changes.pop(name) for name in fields if name in changes}
        options = model.options(init=init)
        data = fields["dataset"]
        sizes = {"classes": data.classes, "sample_shape": data.sample_shape}
        if filters:
            architecture = declare("small_cnn", small_cnn, ModelOptions(init=init), **sizes)
        else:
            architecture = model.build(options, **sizes)
        return Problem(architecture=architecture, local=replace(LOCAL, **changes), **fields)

    return make


@pytest.fixture(scope="session")
def scenario_text() -> str:
    """A small valid scenario; line numbers in tests count from its first line."""
    return SCENARIO


SCENARIO = """\
name: small
seed: 1
learning:
  dataset: {name: digits}
  model:
    name: lenet_300_100
  algorithm:
    name: prunefl
    level: 2
    rates: [0.2, 0.2, 0.1]
  local:
    learning_rate: 0.1
    batch_size: 20
    steps: 5
platform:
  devices:
    server: {model: g3s_xlarge}
    pi3: {model: pi3, count: 2}
    pi4: {model: pi4}
  network:
    kind: shared_medium
    rate: 20 Mbit/s
    rates:
      pi4: 30 Mbit/s
    exchange_overhead: 450 ms
topology: {name: star}
protocol:
  name: synchronous
  rounds: 10
  cohort: 2
codec: {name: coo}
stop:
  accuracy: 0.9
  time: 3 h
record: {path: run.h5}
"""
