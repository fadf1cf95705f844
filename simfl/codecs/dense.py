"""Dense: every entry as float32, nothing else."""

import numpy as np
import torch

from simfl.codecs.base import Codec
from simfl.options import Options
from simfl.registry import CODECS
from simfl.tensors import Layout, Masks, NamedTensors, Payload
from simfl.work import Manifest


class DenseOptions(Options):
    """No options."""


@CODECS.register("dense", options=DenseOptions)
class Dense:
    """4 bytes an entry, pruned or not; the structure does not travel."""

    def __init__(self, options: DenseOptions) -> None:
        self.options = options

    def nbytes(self, manifest: Manifest) -> int:
        """4 x entries."""
        return 4 * manifest.size

    def encode(self, payload: Payload) -> bytes:
        """Little-endian float32, tensor after tensor."""
        return payload.tensors.flat.numpy().astype("<f4").tobytes()

    def decode(self, data: bytes, layout: Layout, known: Masks | None = None) -> Payload:
        """The tensors; masks are not sent."""
        if len(data) != 4 * layout.size:
            raise ValueError(f"{len(data)} bytes, {4 * layout.size} are due")
        flat = torch.from_numpy(np.frombuffer(data, "<f4").astype(np.float32))
        return Payload(NamedTensors(layout, flat))


_: type[Codec] = Dense
