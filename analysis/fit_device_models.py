"""Rates of devices from published times of whole networks: `call` and `dense_rate`, with errors.

    python analysis/fit_device_models.py            # prints them
    python analysis/fit_device_models.py --write    # and writes them into device_models/

Two figures per device, by least squares of the logarithms over its networks, with the compact model
as it stands (`simfl.cost.compact`) and operations as simfl counts them. Each network is then left
out and predicted from the others: the root mean square of these errors (natural logarithms) is the
figures' `log_sd` and the device's `variation.model`. Latencies are of batch 1, 224 x 224 pixels.
Kernels differ more than two figures can say: 3 x 3 convolutions by Winograd's algorithm do less
than they count, so vgg16 comes out too slow, and mobilenet_v1 without it too fast.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import exp, log, sqrt
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares
from torch import nn

from simfl.cost.compact import Compact
from simfl.models.count import operations
from simfl.strict import parse_yaml
from simfl.vision import torchvision
from simfl.work import LayerWork, Passes, Workload

ROOT = Path(__file__).parents[1] / "device_models"
IMAGE = (3, 224, 224)


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Milliseconds of each network, as printed.

    Attributes:
        times_ms: by network; after an @ the batch, where it is another.
        passes: an inference, or a training step.
        batch: samples of it.
    """

    times_ms: Mapping[str, float]
    passes: Passes = Passes.FORWARD
    batch: int = 1


def _named(
    *times_ms: float, names: str = "mobilenet_v1 resnet18 resnet50 vgg16"
) -> dict[str, float]:
    return dict(zip(names.split(), times_ms, strict=False))


_FP16 = "resnet18 resnet50 squeezenet1_1 densenet121 vgg11 vgg16"
_TRAINED = "resnet18 resnet50 vgg16 mobilenet_v2 squeezenet1_0"
# Tencent/ncnn, benchmark/README.md, commit a4d2ea1d, "min"; NVIDIA-AI-IOT/torch2trt,
# docs/benchmarks, PyTorch fp16; ryujaehun/pytorch-gpu-benchmark, commit 3f47a9e2, medians (TITAN
# RTX, A100-SXM4-40GB), and behind the @ lambdal/deeplearning-benchmark, pytorch/*-fp32.csv (commits
# 0551cb70, 08d77c41: images/s and batch; Quadro RTX 8000, A100 40GB PCIe)
PUBLISHED = {
    "pi3bplus_ncnn_4t": Published(times_ms=_named(107.84, 270.86, 583.57)),
    "pi4_ncnn_4t": Published(times_ms=_named(60.74, 122.27, 261.9, 541.66)),
    "pi5_ncnn_4t": Published(times_ms=_named(9.0, 19.84, 45.94, 127.75)),
    "pi_zero_2w_ncnn_4t": Published(times_ms=_named(162.6, 351.37, 777.44)),
    "jetson_nano_ncnn_4t": Published(times_ms=_named(41.74, 83.1, 203.42, 445.72)),
    "jetson_nano_ncnn_gpu": Published(times_ms=_named(16.03, 43.96, 93.05, 310.32)),
    "jetson_nano_pytorch_fp16": Published(
        times_ms=_named(34.7, 81.7, 14.0, 84.5, 114, 201, names=_FP16)
    ),
    "jetson_tx2_ncnn_gpu": Published(times_ms=_named(6.61, 12.69, 29.96, 62.43)),
    "jetson_agx_xavier_ncnn_gpu": Published(times_ms=_named(5.62, 8.88, 11.62, 18.12)),
    "jetson_orin_nano_ncnn_gpu": Published(times_ms=_named(2.97, 4.67, 9.14, 19.24)),
    "jetson_agx_orin_ncnn_gpu": Published(times_ms=_named(2.03, 3.18, 4.75, 6.82)),
    "galaxy_a9": Published(times_ms=_named(31.59, 75.93, 257.38, 381.3)),
    "i7_7700": Published(times_ms=_named(14.85, 29.34, 74.89, 151.26)),
    "rtx_6000": Published(
        times_ms=_named(24.01, 64.96, 84.58, 39.63, 21.63, names=_TRAINED)
        | {"resnet50@496": 496e3 / 274},
        passes=Passes.TRAIN,
        batch=12,
    ),
    "a100": Published(
        times_ms=_named(16.16, 35.87, 27.64, 27.97, 14.04, names=_TRAINED)
        | {"resnet50@360": 360e3 / 882},
        passes=Passes.TRAIN,
        batch=12,
    ),
}

# images/s and batch of ResNet-50's training, same source and columns; the H200's batch is not in
# it: the H100's. One figure from one number, beside the A100's call
THROUGHPUTS = {
    "v100": (369.0, 128),
    "rtx_3090": (513.0, 224),
    "h100": (1894.0, 640),
    "h200": (2259.0, 640),
}


def mobilenet_v1() -> nn.Module:
    """Howard et al. 2017, Table 1: 3 x 3 depthwise and 1 x 1 convolutions, batch normalisation."""
    layers = _normalised(nn.Conv2d(3, 32, 3, 2, 1, bias=False))
    widths = [(32, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, 512, 2)]
    for inputs, outputs, stride in [*widths, *[(512, 512, 1)] * 5, (512, 1024, 2), (1024, 1024, 1)]:
        deep = nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False)
        layers += _normalised(deep) + _normalised(nn.Conv2d(inputs, outputs, 1, bias=False))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1024, 1000))


def _normalised(layer: nn.Conv2d) -> list[nn.Module]:
    return [layer, nn.BatchNorm2d(layer.out_channels), nn.ReLU()]


@cache
def counted(network: str) -> tuple[LayerWork, ...]:
    """The operations of a network by its name."""
    models = torchvision().models
    build = mobilenet_v1 if network == "mobilenet_v1" else getattr(models, network)
    return operations(build, IMAGE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What was found.

    Attributes:
        errors: by network, predicted over measured, less 1; the network was used.
        held_out: the same, the network not used.
    """

    call_s: float
    rate_flops: float
    errors: dict[str, float]
    held_out: dict[str, float]

    @property
    def log_sd(self) -> float:
        """Root mean square of the held-out errors' logarithms."""
        return sqrt(sum(log(1 + e) ** 2 for e in self.held_out.values()) / len(self.held_out))


def seconds(network: str, of: Published, call_s: float, rate_flops: float) -> float:
    """What the compact model says of one network."""
    evidence = {"kind": "derived", "source": "being fitted", "log_sd": 0}
    kernels = {
        "call": {"value": f"{call_s!r} s", **evidence},
        "dense_rate": {"value": f"{rate_flops!r} flop/s", **evidence},
    }
    part = "train" if of.passes is Passes.TRAIN else "inference"
    model = Compact.model_validate({"kind": "compact", part: kernels})
    name, _, said = network.partition("@")
    batch = int(said or of.batch)
    work = Workload(layers=counted(name), samples=batch, steps=1, batch=batch, passes=of.passes)
    return model.seconds(work)


def fit(of: Published) -> Fit:
    """Both figures from all networks, and each network from the others."""
    found = _solved(of, list(of.times_ms))
    held_out = {
        name: _error(name, of, *_solved(of, [n for n in of.times_ms if n != name]))
        for name in of.times_ms
    }
    errors = {name: _error(name, of, *found) for name in of.times_ms}
    return Fit(call_s=found[0], rate_flops=found[1], errors=errors, held_out=held_out)


def _error(network: str, of: Published, call_s: float, rate_flops: float) -> float:
    return seconds(network, of, call_s, rate_flops) / of.times_ms[network] * 1e3 - 1


def _solved(of: Published, names: list[str]) -> tuple[float, float]:
    def residuals(figures: np.ndarray) -> list[float]:
        return [log(1 + _error(name, of, exp(figures[0]), exp(figures[1]))) for name in names]

    # half of the first network's time in calls, half in its products, to begin with
    first = of.times_ms[names[0]] * 1e-3 / 2
    calls, flops = (seconds(names[0], of, *pair) for pair in ((1.0, 1e30), (1e-30, 1.0)))
    start = [log(first / calls), log(flops / first)]
    best = least_squares(residuals, start, bounds=([-25.0, 10.0], [5.0, 45.0]))
    return exp(best.x[0]), exp(best.x[1])


def rate_beside(call_s: float, images_per_s: float, batch: int) -> float:
    """The dense rate with which ResNet-50 trains as fast as measured."""
    of = Published(
        times_ms={"resnet50": batch / images_per_s * 1e3}, passes=Passes.TRAIN, batch=batch
    )

    def residual(rate: np.ndarray) -> float:
        return log(1 + _error("resnet50", of, call_s, exp(rate[0])))

    return exp(least_squares(residual, [30.0], bounds=([10.0], [45.0])).x[0])


def figures(found: Fit, part: str) -> dict[tuple[str, ...], str]:
    """What a fit says, by the keys of a device's file."""
    return {
        ("cost", part, "call", "value"): f"{found.call_s * 1e6:.4g} us",
        ("cost", part, "call", "log_sd"): f"{found.log_sd:.2f}",
        ("cost", part, "dense_rate", "value"): _rate(found.rate_flops),
        ("cost", part, "dense_rate", "log_sd"): f"{found.log_sd:.2f}",
        ("variation", "model", "value"): f"{found.log_sd:.2f}",
    }


def _rate(flops: float) -> str:
    return f"{float(f'{flops / 1e9:.4g}'):g} Gflop/s"


def _rewrite(path: Path, figures: dict[tuple[str, ...], str]) -> None:
    text = path.read_text()
    lines = text.splitlines(keepends=True)
    _, places = parse_yaml(text, str(path))
    for where, value in figures.items():
        at = places[where] - 1
        key = lines[at].partition(":")[0]
        lines[at] = f"{key}: {value}\n"
    path.write_text("".join(lines))


def main() -> None:
    """Print all fits; write them if asked."""
    new: dict[str, dict[tuple[str, ...], str]] = {}
    for name, of in PUBLISHED.items():
        found = fit(of)
        part = "train" if of.passes is Passes.TRAIN else "inference"
        new[name] = figures(found, part)
        print(f"{name} ({part}): {', '.join(new[name].values())}")
        for label, errors in (("used", found.errors), ("held out", found.held_out)):
            print(f"  {label:9}" + ", ".join(f"{n} {e:+.0%}" for n, e in errors.items()))
    call_s = fit(PUBLISHED["a100"]).call_s
    for name, (images_per_s, batch) in THROUGHPUTS.items():
        rate = _rate(rate_beside(call_s, images_per_s, batch))
        call = new["a100"]["cost", "train", "call", "value"]
        new[name] = {
            ("cost", "train", "call", "value"): call,
            ("cost", "train", "dense_rate", "value"): rate,
        }
        print(f"{name} (train): call {call}, dense_rate {rate}")
    if "--write" in sys.argv:
        for name, values in new.items():
            _rewrite(ROOT / f"{name}.yaml", values)


if __name__ == "__main__":
    main()
