"""What a model declares of its layers, by one forward pass over tensors without data."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from simfl.models.base import Architecture, LayerInfo, LayerKind, ModelOptions


def declare(
    name: str,
    build: Callable[[], nn.Module],
    options: ModelOptions,
    *,
    classes: int,
    sample_shape: tuple[int, int, int],
) -> Architecture:
    """The architecture that ``build`` makes, its layers counted."""
    return Architecture(
        name=name,
        build=build,
        layers=count_layers(build, sample_shape),
        sample_shape=sample_shape,
        classes=classes,
        options=options,
        least_batch=_least_batch(build, sample_shape),
    )


def _least_batch(build: Callable[[], nn.Module], sample_shape: tuple[int, int, int]) -> int:
    """By trying: PyTorch refuses a batch without variance."""
    with torch.device("meta"):
        try:
            build()(torch.empty((1, *sample_shape)))
        except ValueError:
            return 2
    return 1


def count_layers(
    build: Callable[[], nn.Module], sample_shape: tuple[int, int, int]
) -> tuple[LayerInfo, ...]:
    """The layers with weights, in the order of the forward pass.

    A linear layer does in x out MACs per sample; a convolution, weights x output positions; batch
    normalisation has weights, but does none.
    """
    with torch.device("meta"):
        module = build().eval()
        sample = torch.empty((1, *sample_shape))
    found: list[LayerInfo] = []

    def note(name: str, layer: nn.Module, _inputs: object, output: Tensor) -> None:
        if isinstance(layer, nn.Linear):
            kind: LayerKind = "linear"
            positions = output[0].numel() // layer.out_features
        else:
            kind, positions = "conv", output[0, 0].numel()
        macs = layer.get_parameter("weight").numel() * positions
        found.append(LayerInfo(weight=f"{name}.weight", kind=kind, macs=macs))

    for name, layer in module.named_modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            layer.register_forward_hook(partial(note, name))
    module(sample)
    last = found[-1]
    output = LayerInfo(weight=last.weight, kind=last.kind, macs=last.macs, output=True)
    return (*found[:-1], output)
