"""How long the results of a forward pass stay in memory: for the next operations, or backward."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks


class Storages:
    """Follows the storages of one forward pass; views share theirs.

    Operations are numbered in their order. While this lives it holds every tensor it was shown, so
    that no storage's identity is given to another.

    Args:
        held: parameters and buffers, which are there before and after.
        given: the samples; whoever trains holds them until the step is done.
    """

    def __init__(self, held: Iterable[Tensor], given: Tensor) -> None:
        self._tensors = [*held, given]
        self._others = {_name(t) for t in self._tensors[:-1]}
        self._bytes: dict[int, int] = {}
        self._made: dict[int, int] = {}
        self._last: dict[int, int] = {}
        self._saved: set[int] = set()
        self._given = _name(given)
        self._see(given, 0)
        self._saved.add(self._given)

    def happened(self, number: int, read: Iterable[Tensor], made: Iterable[Tensor]) -> None:
        """An operation, or a view after it, read some tensors and gave some."""
        for tensor in read:
            self._see(tensor, number)
        for tensor in made:
            self._see(tensor, number)

    def saving(self) -> saved_tensors_hooks:
        """A context in which is noted what autograd saves."""
        return saved_tensors_hooks(self._save, lambda tensor: tensor)

    def kept_bytes(self) -> dict[int, int]:
        """By operation, what it made and the backward pass needs; the samples with the first."""
        kept: dict[int, int] = defaultdict(int)
        for name in self._saved & self._made.keys():
            kept[self._made[name]] += self._bytes[name]
        return kept

    def live_bytes(self, operations: int) -> list[int]:
        """By operation, all that is there while it computes, if nothing is saved."""
        changes = [0] * (operations + 1)
        for name, made in self._made.items():
            changes[made] += self._bytes[name]
            last = operations - 1 if name == self._given else self._last[name]
            changes[last + 1] -= self._bytes[name]
        live, found = 0, []
        for change in changes[:-1]:
            live += change
            found.append(live)
        return found

    def _see(self, tensor: Tensor, number: int) -> None:
        name = _name(tensor)
        if name in self._others:
            return
        if name not in self._made:
            self._made[name] = number
            self._bytes[name] = tensor.untyped_storage().nbytes()
            self._tensors.append(tensor)
        self._last[name] = number

    def _save(self, tensor: Tensor) -> Tensor:
        self._saved.add(_name(tensor))
        return tensor


def _name(tensor: Tensor) -> int:
    """A storage's identity, as long as it lives."""
    return int(tensor.untyped_storage()._cdata)
