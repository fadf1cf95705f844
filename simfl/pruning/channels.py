"""Which channels of a network hang together: found by following them through it.

A channel that leaves a convolution goes through batch normalisation, activations and pooling to the
layers that read it; additions make the channels of two layers one, concatenations lay them side by
side, and flattening makes of each as many inputs as it has positions. What is known of each axis of
each tensor in the end is all that surgery needs.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Final

import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn import functional

from simfl.errors import OptionError

_PASSING: Final = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SiLU, nn.Dropout, nn.Dropout2d, nn.Identity),
    *(nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.ZeroPad2d),
)
_PASSING_CALLS: Final = (
    *(torch.relu, functional.relu, functional.leaky_relu, functional.dropout, "relu", "contiguous"),
    *(functional.max_pool2d, functional.avg_pool2d, functional.adaptive_avg_pool2d),
)
_ADDITIONS: Final = (operator.add, operator.iadd, torch.add)
_FLATTENINGS: Final = (torch.flatten, "flatten", "view", "reshape")


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of one group's channels along an axis.

    Attributes:
        group: which.
        repeat: entries of each channel, one after the other: the positions that were flattened.
    """

    group: int
    repeat: int = 1


Axis = tuple[Segment, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Channels that can only go together.

    Attributes:
        makers: weights whose rows make them, in the order of the forward pass.
        size: how many there are before any is cut.
        whole: whether none can go: inputs, outputs, and what cannot be followed.
    """

    makers: tuple[str, ...]
    size: int
    whole: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Channels:
    """The channels of a network; true of it at all widths.

    Attributes:
        axes: by tensor, by dimension, the channels along it; dimensions that have none are left
            out.
        groups: by number.
    """

    axes: Mapping[str, Mapping[int, Axis]]
    groups: Mapping[int, Group]

    def width(self, group: int, shapes: Mapping[str, tuple[int, ...]]) -> int:
        """Channels of a group in a network of these shapes."""
        found = self.groups[group]
        return found.size if found.whole else shapes[found.makers[0]][0]


def channels_of(module: nn.Module, sample_shape: tuple[int, ...]) -> Channels:
    """Follow the channels of a network.

    Args:
        module: that `torch.fx` can trace. Its attribute ``streams``, where it has one, lists layers
            whose channels are one although no addition says so.
        sample_shape: of one input, channels first.

    Raises:
        OptionError: the network cannot be traced.
    """
    try:
        with torch.device("meta"):
            graph = fx.symbolic_trace(module.to("meta").eval())
            ShapeProp(graph).propagate(torch.empty((1, *sample_shape)))
    except Exception as error:  # whatever the module's own code raises
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise OptionError(
            "name", f"channels of {type(module).__name__} cannot be followed: {reason}"
        ) from error
    return _Following(graph).channels(getattr(module, "streams", ()))


class _Following:
    """Goes through a traced network, node by node."""

    def __init__(self, graph: fx.GraphModule) -> None:
        self._modules = dict(graph.named_modules())
        self._nodes = list(graph.graph.nodes)
        self._axes: dict[str, dict[int, Axis]] = {}
        self._at: dict[fx.Node, Axis] = {}
        # by group: who makes it, how wide it is, and a group of lower number that it has become
        self._makers: list[list[str]] = []
        self._sizes: list[int] = []
        self._joined: list[int] = []
        self._whole: set[int] = set()

    def channels(self, streams: tuple[tuple[str, ...], ...]) -> Channels:
        """What was found at the end."""
        for node in self._nodes:
            self._follow(node)
        for stream in streams:
            first, *others = (self._axes[f"{layer}.weight"][0] for layer in stream)
            for other in others:
                self._join(first, other)
        makers: dict[int, list[str]] = {}
        for group, made in enumerate(self._makers):
            makers.setdefault(self._root(group), []).extend(made)
        whole = {self._root(group) for group in self._whole}
        return Channels(
            axes={
                name: {
                    dim: tuple(Segment(self._root(s.group), s.repeat) for s in axis)
                    for dim, axis in dims.items()
                }
                for name, dims in self._axes.items()
            },
            groups={
                group: Group(makers=tuple(made), size=self._sizes[group], whole=group in whole)
                for group, made in makers.items()
            },
        )

    def _follow(self, node: fx.Node) -> None:
        if node.op == "output":
            for given in node.all_input_nodes:
                self._keep(self._at.get(given, ()))
        elif node.op == "placeholder":
            self._at[node] = self._unknown(node)
        elif node.op == "call_module":
            self._at[node] = self._through(str(node.target), node)
        elif node.op != "get_attr":
            self._at[node] = self._called(node)

    def _through(self, name: str, node: fx.Node) -> Axis:
        """A module's output."""
        layer, into = self._modules[name], self._at[_first(node)]
        if isinstance(layer, nn.Conv2d) and layer.groups == 1:
            return self._made(name, layer, into)
        if isinstance(layer, nn.Linear) and len(_shape(node)) == 2:
            return self._made(name, layer, into)
        if isinstance(layer, nn.BatchNorm2d):
            for part in ("weight", "bias", "running_mean", "running_var"):
                if getattr(layer, part) is not None:
                    self._axes[f"{name}.{part}"] = {0: into}
            return into
        if isinstance(layer, nn.Flatten) and layer.start_dim == 1:
            return self._flattened(node)
        return into if isinstance(layer, _PASSING) else self._unknown(node)

    def _called(self, node: fx.Node) -> Axis:
        """A function's output, or a method's."""
        given = [self._at.get(n, ()) for n in node.all_input_nodes]
        shape = _shape(node)
        if node.target in _ADDITIONS and len(given) == 2:
            self._join(*given)
            return given[0]
        if node.target is torch.cat and 1 in (*node.args[1:], node.kwargs.get("dim")):
            return tuple(segment for axis in given for segment in axis)
        if node.target in _FLATTENINGS and len(shape) == 2 and len(_shape(_first(node))) == 4:
            return self._flattened(node)
        if node.target in _PASSING_CALLS and len(given) == 1:
            return given[0]
        return self._unknown(node)

    def _made(self, name: str, layer: nn.Conv2d | nn.Linear, into: Axis) -> Axis:
        out = self._new(len(layer.weight), f"{name}.weight")
        self._axes[f"{name}.weight"] = {0: out, 1: into}
        if layer.bias is not None:
            self._axes[f"{name}.bias"] = {0: out}
        return out

    def _flattened(self, node: fx.Node) -> Axis:
        before = _first(node)
        positions = prod(_shape(before)[2:])
        return tuple(Segment(s.group, s.repeat * positions) for s in self._at[before])

    def _unknown(self, node: fx.Node) -> Axis:
        """Nothing may go of what was not followed, nor of what it is made from."""
        for given in node.all_input_nodes:
            self._keep(self._at.get(given, ()))
        shape = _shape(node)
        out = self._new(shape[1] if len(shape) > 1 else 1)
        self._keep(out)
        return out

    def _new(self, size: int, *makers: str) -> Axis:
        number = len(self._joined)
        self._joined.append(number)
        self._makers.append(list(makers))
        self._sizes.append(size)
        return (Segment(number),)

    def _keep(self, axis: Axis) -> None:
        self._whole.update(segment.group for segment in axis)

    def _root(self, group: int) -> int:
        while self._joined[group] != group:
            group = self._joined[group]
        return group

    def _join(self, one: Axis, other: Axis) -> None:
        """Two axes that are added: their channels are the same ones."""
        if self._spans(one) != self._spans(other):
            self._keep(one)
            self._keep(other)
            return
        for a, b in zip(one, other, strict=True):
            first, second = sorted((self._root(a.group), self._root(b.group)))
            self._joined[second] = first

    def _spans(self, axis: Axis) -> list[tuple[int, int]]:
        return [(self._sizes[self._root(s.group)], s.repeat) for s in axis]


def _first(node: fx.Node) -> fx.Node:
    return node.all_input_nodes[0]


def _shape(node: fx.Node) -> tuple[int, ...]:
    """Of a node's output; () of what is no tensor."""
    return tuple(getattr(node.meta.get("tensor_meta"), "shape", ()))
