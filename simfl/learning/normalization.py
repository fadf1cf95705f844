"""What is done to pixels before a model sees them."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalization:
    """Less the mean, by the standard deviation: one number for each channel, or one for all."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def apply_(self, inputs: Tensor) -> Tensor:
        """In place, on float images (samples, channels, height, width) in [0, 1].

        >>> import torch
        >>> Normalization(mean=(0.5,), std=(0.25,)).apply_(torch.ones(1, 1, 1, 2))
        tensor([[[[2., 2.]]]])
        """
        mean, std = (inputs.new_tensor(it).view(-1, 1, 1) for it in (self.mean, self.std))
        return inputs.sub_(mean).div_(std)
