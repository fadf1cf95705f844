"""What the measured cases ask of a device, counted as of any network."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from json import dumps, loads

import torch

from simfl.models.count import operations
from simfl.profile.cases import Case, build
from simfl.work import LayerWork, Storage


def count(case: Case) -> tuple[LayerWork, ...]:
    """A case's operations.

    Raises:
        KeyError: a layer that this version does not know.
        CostError: it cannot be counted.
    """
    return _count(dumps(case["layers"]), tuple(case["input"]), bool(case.get("first")))


@lru_cache(maxsize=1024)
def _count(written: str, shape: tuple[int, ...], first: bool) -> tuple[LayerWork, ...]:
    layers = loads(written)
    # sparse layers count as the dense ones that they stand for, with fewer entries
    dense = [
        ["linear", *args[:-1]] if word in ("coo", "csr") else [word, *args]
        for word, *args in layers
    ]
    on_meta = not any(word.startswith("masked") for word, *_ in dense)
    with torch.device("meta" if on_meta else "cpu"):
        module = build({"layers": dense})
    found = list(operations(lambda: module, shape))
    for i, (word, *args) in enumerate(layers):
        if word in ("coo", "csr"):
            k = [o.name for o in found].index(f"{i}.weight")
            entries = round(args[-1] * found[k].weights)
            found[k] = replace(found[k], storage=Storage(word), nonzero=entries)
    if not first:
        # the input has a gradient too
        found[0] = replace(found[0], products=found[0].products + 1)
    return tuple(found)
