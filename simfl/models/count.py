"""What a network computes, counted from shapes: one training step over tensors without data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from simfl.errors import CostError
from simfl.models.base import Architecture, LayerInfo, ModelOptions
from simfl.models.storages import Storages
from simfl.work import Kind, LayerWork, Operation, Passes, Storage, Workload

_PRODUCTS: Final = ("mm", "addmm", "bmm", "baddbmm", "_scaled_dot_product")
_ACTIVATIONS: Final = (
    *("relu", "hardtanh", "leaky_relu", "prelu", "elu", "gelu", "silu", "mish", "softplus"),
    *("sigmoid", "tanh", "hardswish", "hardsigmoid", "clamp", "threshold", "log_sigmoid"),
)
_SPARES: Final = (
    *("t", "transpose", "permute", "view", "reshape", "_unsafe_view", "unsqueeze", "squeeze"),
    *("clone", "mul", "expand"),
)
_IDLE: Final = ("detach", "alias", "_unsafe_view", "empty", "zeros", "ones")
_TRIED: Final = (2, 4)  # samples; batch normalisation needs two
_GROWING: Final = ("macs", "inputs", "outputs", "kept_bytes", "live_bytes")  # with the batch


def declare(
    name: str,
    build: Callable[[], nn.Module],
    options: ModelOptions,
    *,
    classes: int,
    sample_shape: tuple[int, int, int],
) -> Architecture:
    """The architecture that ``build`` makes, its operations counted."""
    found = operations(build, sample_shape)
    return Architecture(
        name=name,
        build=build,
        layers=layers_of(found),
        operations=found,
        sample_shape=sample_shape,
        classes=classes,
        options=options,
        least_batch=_least_batch(build, sample_shape),
    )


def workload(
    module: nn.Module,
    sample_shape: tuple[int, ...],
    *,
    batch: int,
    steps: int = 1,
    passes: Passes = Passes.TRAIN,
    storage: Mapping[str, Storage] | None = None,
    dtype: torch.dtype = torch.float32,
) -> Workload:
    """What running any module asks of a device; it is not changed, and its data is not looked at.

    Args:
        module: takes a tensor (batch, *sample_shape), gives a tensor of outputs.
        sample_shape: of one input.
        batch: samples of a step.
        steps: how many.
        passes: training, or a forward pass alone, as `torch.nn.Module.eval` leaves the module.
        storage: by weight name, how it is held where that is not dense; stored entries are then
            those that are not zero. A weight that is multiplied by a mask in the forward pass, as
            `torch.nn.utils.prune` does, is seen to be masked.
        dtype: of the input; indices are ``torch.long``.

    Raises:
        CostError: the module does not run on shapes alone, or has no such weight.
    """
    training = passes is Passes.TRAIN
    found = operations(lambda: _copy(module), sample_shape, dtype, training=training)
    held, values = storage or {}, dict(module.named_parameters())
    unknown = set(held) - {operation.name for operation in found}
    if unknown:
        raise CostError(f"no operation has the weight {sorted(unknown)[0]}; see named_parameters()")
    layers = tuple(
        replace(o, storage=held[o.name], nonzero=int(values[o.name].count_nonzero()))
        if o.name in held
        else o
        for o in found
    )
    return Workload(
        model=type(module).__name__,
        layers=layers,
        samples=steps * batch,
        steps=steps,
        batch=batch,
        passes=passes,
    )


def _copy(module: nn.Module) -> nn.Module:
    """Also of one whose weights are computed from others, which PyTorch does not copy."""
    computed = (t for m in module.modules() for t in vars(m).values() if isinstance(t, Tensor))
    return deepcopy(module, {id(t): t.detach() for t in computed})


def layers_of(found: Iterable[Operation]) -> tuple[LayerInfo, ...]:
    """The linear and convolutional layers among the operations, in their order."""
    layers = [
        LayerInfo(weight=o.name, kind="linear" if o.kind is Kind.LINEAR else "conv", macs=o.macs)
        for o in found
        if o.keeps_weight and o.kind in (Kind.LINEAR, Kind.CONV, Kind.DEPTHWISE)
    ]
    return (*layers[:-1], *(replace(layer, output=True) for layer in layers[-1:]))


def _least_batch(build: Callable[[], nn.Module], sample_shape: tuple[int, int, int]) -> int:
    """By trying: PyTorch refuses a batch without variance."""
    with torch.device("meta"):
        try:
            build()(torch.empty((1, *sample_shape)))
        except ValueError:
            return 2
    return 1


def operations(
    build: Callable[[], nn.Module],
    sample_shape: tuple[int, ...],
    dtype: torch.dtype = torch.float32,
    *,
    training: bool = True,
) -> tuple[LayerWork, ...]:
    """What a forward pass does, in its order; views and counters cost nothing.

    Run twice, with two batch sizes: what grows with the batch is the samples' own. What does not
    is done once a step, if it is trained: it composes a weight.

    Args:
        build: makes the module.
        sample_shape: of one input.
        dtype: of the input.
        training: as in training; else as in a network that only answers, where dropout is none.

    Raises:
        CostError: it does not run on shapes alone.
    """
    module = build().train(training)
    first: dict[int, str] = {}
    # moving takes shared parameters apart
    shared = {
        name: first.setdefault(id(parameter), name)
        for name, parameter in module.named_parameters(remove_duplicate=False)
    }
    module = module.to("meta")
    with torch.device("meta"):
        few, many = (
            _run(module, shared, torch.empty((n, *sample_shape), dtype=dtype)) for n in _TRIED
        )
    if [o.name for o in few] != [o.name for o in many]:
        raise CostError(f"{type(module).__name__}: what it does depends on the batch; give a layer")
    told, passed_on = [], 0
    for one, two in zip(few, many, strict=True):
        if not _is_told(one, two):
            continue
        found = _of_sample_or_step(one, two)
        # samples that are kept come with the first operation, and that may be none of theirs
        grows = _slope("kept_bytes", one, two) + passed_on
        passed_on = grows if found.once else 0
        told.append(found if found.once else replace(found, kept_bytes=grows))
    return tuple(told)


def _is_told(few: LayerWork, many: LayerWork) -> bool:
    """Whether an operation costs anything: counters of batches do not."""
    return few.outputs != many.outputs or few.parameters > 0 or few.products > 0


def _of_sample_or_step(few: LayerWork, many: LayerWork) -> LayerWork:
    """An operation's numbers of one sample; of a step where the batch makes no difference."""
    slopes: dict[str, Any] = {name: _slope(name, few, many) for name in _GROWING}
    if few.outputs != many.outputs:
        return replace(few, **slopes)
    return replace(
        few,
        kept_bytes=few.kept_bytes - _TRIED[0] * slopes["kept_bytes"],
        live_bytes=few.live_bytes - _TRIED[0] * slopes["live_bytes"],
        once=True,
    )


def _slope(name: str, few: LayerWork, many: LayerWork) -> int:
    """What each sample adds to a number."""
    grown: int = getattr(many, name) - getattr(few, name)
    return grown // (_TRIED[1] - _TRIED[0])


def _run(module: nn.Module, shared: Mapping[str, str], samples: Tensor) -> list[LayerWork]:
    """Its operations.

    Args:
        module: on shapes alone.
        shared: of each parameter's name, the first name of the same parameter.
        samples: a batch.
    """
    held = [*module.parameters(), *module.buffers()]
    storages = Storages(held, samples)
    named = module.named_parameters(remove_duplicate=False)
    names = {id(p): shared[name] for name, p in named}
    counting = _Counting(names, {id(b) for b in module.buffers()}, storages)
    try:
        with torch.enable_grad(), storages.saving(), counting:
            module(samples)
    except Exception as error:  # whatever the user's own code raises
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise CostError(
            f"{type(module).__name__} cannot be counted on an input of "
            f"{'x'.join(map(str, samples.shape[1:]))}: {reason}"
        ) from error
    kept, live = storages.kept_bytes(), storages.live_bytes(len(counting.found))
    return [
        replace(found, kept_bytes=kept.get(number, 0), live_bytes=live[number])
        for number, found in enumerate(counting.found)
    ]


class _Counting(TorchDispatchMode):
    """Notes each operation that makes new numbers.

    Args:
        names: of parameters, by their identity.
        buffers: their identities.
        storages: is told of every tensor.
    """

    def __init__(self, names: dict[int, str], buffers: set[int], storages: Storages) -> None:
        super().__init__()
        self.found: list[LayerWork] = []
        self._names, self._masked, self._used = names, set[str](), set[str]()
        self._buffers = buffers
        # made of parameters and buffers alone
        self._composed: set[int] = set()
        self._storages = storages
        # identities are good as long as the tensors live
        self._kept: list[Tensor] = []

    def __torch_dispatch__(  # the signature is PyTorch's
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        result = out[0] if isinstance(out, tuple | list) else out
        if not isinstance(result, Tensor):
            return out
        made = [t for t in _flat((out,)) if isinstance(t, Tensor)]
        self._kept += made
        tensors = [t for t in _flat(args) if isinstance(t, Tensor)]
        word = str(func.overloadpacket).removeprefix("aten.").removesuffix("_")
        weights = [t for t in tensors if id(t) in self._names]
        if weights and word in _SPARES and len(tensors) <= 2 and _same(result, weights[0]):
            # a weight turned, or with its mask: still that weight
            name = self._names[id(result)] = self._names[id(weights[0])]
            if word == "mul":
                self._masked.add(name)
        else:
            if tensors and not func.is_view and not word.startswith(_IDLE):
                self.found.append(self._operation(func, word, args, kwargs or {}, out))
            if self._composes(tensors):
                self._composed |= {id(t) for t in made}
        self._storages.happened(max(0, len(self.found) - 1), tensors, made)
        return out

    def _composes(self, tensors: list[Tensor]) -> bool:
        """Whether an operation on these has to do with parameters, and not with samples."""
        ours = {id(t) for t in tensors} & (self._names.keys() | self._composed)
        return bool(ours) and all(id(t) in ours | self._buffers for t in tensors)

    def _operation(self, func: Any, word: str, args: Any, kwargs: Any, out: Any) -> LayerWork:
        tensors = [t for t in _flat(args) if isinstance(t, Tensor)]
        result = out[0] if isinstance(out, tuple | list) else out
        weights = [t for t in tensors if id(t) in self._names]
        rest = [t for t in tensors if id(t) not in self._names and t.dim() > 0]
        composing = self._composes(tensors)
        composed = [t for t in rest if id(t) in self._composed and not composing]
        data = [t for t in rest if id(t) not in self._composed or composing]
        flops = flop_registry.get(func.overloadpacket)
        macs = 0 if flops is None else int(flops(*args, **kwargs, out_val=out)) // 2
        main = max([*composed, *weights], key=lambda t: t.dim(), default=None)
        name = word if main is None else self._names.get(id(main), word)
        entries = main.numel() if main is not None and main.dim() > 1 else 0
        if composing:
            entries = sum(t.numel() for t in weights if t.dim() > 1)
        if word == "convolution" and main is not None:
            depthwise = args[8] > 1 and main.shape[1] == 1
            kind = Kind.DEPTHWISE if depthwise else Kind.CONV
        else:
            kind = _kind(word)
        # parameters that several operations share are held, and updated, once
        new = [t for t in weights if self._names[id(t)] not in self._used]
        self._used.update(self._names[id(t)] for t in new)
        trained = sum(t.requires_grad for t in [*weights, *composed])
        comes_back = sum(t.requires_grad for t in data)
        is_conv = kind in (Kind.CONV, Kind.DEPTHWISE) and main is not None
        return LayerWork(
            name=name,
            kind=kind,
            macs=macs,
            # of factors, each has a gradient of its own
            products=min(2, (trained if composing else trained > 0) + comes_back),
            inputs=sum(t.numel() for t in data),
            outputs=result.numel(),
            channels=main.shape[1] if is_conv and main is not None else 0,
            window=main[0, 0].numel() if is_conv and main is not None else 0,
            weights=entries,
            parameters=sum(t.numel() for t in new),
            tensors=len(new),
            nonzero=entries,
            storage=Storage.MASKED if name in self._masked else Storage.DENSE,
            composed=any(main is t for t in composed),
        )


def _flat(args: Iterable[Any]) -> Iterable[Any]:
    for arg in args:
        if isinstance(arg, tuple | list):
            yield from _flat(arg)
        else:
            yield arg


def _same(one: Tensor, other: Tensor) -> bool:
    return one.numel() == other.numel()


def _kind(word: str) -> Kind:
    if word.startswith(_PRODUCTS):
        return Kind.LINEAR
    if word.startswith(_ACTIVATIONS):
        return Kind.ACTIVATION
    if "norm" in word:
        return Kind.NORM
    if "pool" in word:
        return Kind.POOL
    return Kind.OTHER
