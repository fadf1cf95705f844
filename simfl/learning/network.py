"""Networks that learning runs: parameters packed in one vector, gradients too."""

from __future__ import annotations

from typing import Literal, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

Loss = Literal["cross_entropy", "bce_with_logits"]


class Network(Protocol):
    """Models of one architecture, stacked; what they hold is loaded, never kept between turns.

    Attributes:
        widest: how many models it can train at once.
        packed: (models, entries), the parameters first, then the buffers; what `load` made.
        weights: the part of ``packed`` that descends: (models, parameters).
    """

    widest: int
    packed: Tensor
    weights: Tensor

    def load(self, flats: list[Tensor]) -> None:
        """Take models' values, each (entries,)."""

    def seed(self, seed: int) -> None:
        """What training draws, such as dropout, begins here: call it before each training.

        A network that draws trains one model at a time.
        """

    def logits(self, inputs: Tensor) -> Tensor:
        """Outputs, (samples, classes), of the one model loaded; as in evaluation."""

    def gradient(self, inputs: Tensor, targets: Tensor, loss: Loss, *, add: bool) -> Tensor:
        """The gradient of each model's mean loss, (models, parameters).

        Args:
            inputs: (models, samples, channels, height, width).
            targets: classes (models, samples), or one-hot rows (models, samples, classes).
            loss: which.
            add: on top of what the last call left.
        """

    def descend(self, inputs: Tensor, targets: Tensor, loss: Loss, rate: float) -> None:
        """``weights -= rate * gradient``, in place."""


def floats_of(module: nn.Module) -> dict[str, Tensor]:
    """What a model's state consists of: its parameters, then its floating-point buffers.

    The running means and variances of batch normalisation are averaged and sent like parameters.
    Its ``num_batches_tracked`` is left out: nothing depends on it as long as there is a momentum.
    """
    parameters = dict(module.named_parameters())
    state = module.state_dict(keep_vars=True)
    return parameters | {
        name: tensor
        for name, tensor in state.items()
        if name not in parameters and tensor.is_floating_point()
    }


class AutogradNetwork:
    """Any module, one model at a time, differentiated by PyTorch.

    The module's parameters and buffers are views into one packed vector. Its `nn.Dropout` draws
    from a stream of its own, which `seed` begins.
    """

    widest = 1

    def __init__(self, module: nn.Module) -> None:
        self._draws = torch.Generator()
        self.seed(0)
        for layer in module.modules():
            if type(layer) is nn.Dropout:
                layer.__class__ = _Dropout
                cast(_Dropout, layer).draws = self._draws
            if type(layer) is nn.Conv2d and layer.groups == 1 and layer.dilation == (1, 1):
                layer.__class__ = _Conv2d
        self._module = module
        tensors = floats_of(module)
        trained = sum(p.numel() for p in module.parameters())
        self.packed = torch.cat([t.detach().reshape(1, -1) for t in tensors.values()], 1)
        self.weights = self.packed[:, :trained]
        sizes = [t.numel() for t in tensors.values()]
        for tensor, part in zip(tensors.values(), self.packed[0].split(sizes), strict=True):
            tensor.data = part.view(tensor.shape)
        self._parameters = list(module.parameters())
        self._views = [parameter.detach() for parameter in self._parameters]

    def load(self, flats: list[Tensor]) -> None:
        """Take one model's values."""
        with torch.no_grad():
            self.packed[0].copy_(flats[0])

    def seed(self, seed: int) -> None:
        """What training draws begins here."""
        self._draws.manual_seed(seed)

    def logits(self, inputs: Tensor) -> Tensor:
        """A forward pass in evaluation mode."""
        self._module.eval()
        with torch.no_grad():
            output: Tensor = self._module(inputs)
        self._module.train()
        return output

    def gradient(self, inputs: Tensor, targets: Tensor, loss: Loss, *, add: bool) -> Tensor:
        """By a backward pass."""
        self._differentiate(inputs, targets, loss, add=add)
        return torch.cat([gradient.reshape(1, -1) for gradient in self._gradients()], 1)

    def descend(self, inputs: Tensor, targets: Tensor, loss: Loss, rate: float) -> None:
        """A backward pass and a step."""
        self._differentiate(inputs, targets, loss, add=False)
        torch._foreach_add_(self._views, self._gradients(), alpha=-rate)

    def _differentiate(self, inputs: Tensor, targets: Tensor, loss: Loss, *, add: bool) -> None:
        if not add:
            for parameter in self._parameters:
                parameter.grad = None
        loss_of(loss, self._module(inputs[0]), targets[0]).backward()

    def _gradients(self) -> list[Tensor]:
        """What the last backward pass left; nothing, where a parameter took no part."""
        zero = torch.zeros_like
        return [zero(p) if p.grad is None else p.grad for p in self._parameters]


class _Dropout(nn.Dropout):
    """Dropout by a stream of its own: PyTorch's is global, and whoever draws moves it on.

    Attributes:
        draws: that stream, on the CPU wherever the values are.

    Source: Srivastava et al. 2014, scaled while training.
    """

    draws: torch.Generator

    def forward(self, input: Tensor) -> Tensor:
        """As nn.Dropout; `inplace` or not, the input stays."""
        if not self.training or not self.p:
            return input
        kept = torch.empty(input.shape).bernoulli_(1 - self.p, generator=self.draws)
        scale = 1 / (1 - self.p) if self.p < 1 else 0.0
        return input * kept.mul_(scale).to(input.device)


class _Conv2d(nn.Conv2d):
    """A convolution that is a linear map where its output is a single pixel.

    In the last stage of a ResNet-18 at 32 pixels, PyTorch's convolution takes ten times as long for
    the gradient by its weights, a quarter of a whole step.
    """

    def forward(self, input: Tensor) -> Tensor:
        """As nn.Conv2d."""
        (high, wide), (down, across), pad = self.kernel_size, self.stride, self.padding
        if isinstance(pad, tuple) and self.padding_mode == "zeros":
            height, width = input.shape[2] + 2 * pad[0], input.shape[3] + 2 * pad[1]
            if 0 <= height - high < down and 0 <= width - wide < across:
                padded = functional.pad(input, (pad[1], pad[1], pad[0], pad[0]))
                window = padded[:, :, :high, :wide].flatten(1)
                pixel = functional.linear(window, self.weight.flatten(1), self.bias)
                return pixel[:, :, None, None]
        return super().forward(input)


def loss_of(kind: Loss, output: Tensor, targets: Tensor) -> Tensor:
    """The mean loss of a batch: targets are classes, or one-hot rows for ``bce_with_logits``."""
    if kind == "bce_with_logits":
        return functional.binary_cross_entropy_with_logits(output, targets)
    return functional.cross_entropy(output, targets)


def losses_of(kind: Loss, output: Tensor, targets: Tensor) -> Tensor:
    """The loss of each sample of a batch, ``(samples,)``; their mean is `loss_of`."""
    if kind == "bce_with_logits":
        each = functional.binary_cross_entropy_with_logits(output, targets, reduction="none")
        return each.mean(1)
    return functional.cross_entropy(output, targets, reduction="none")
