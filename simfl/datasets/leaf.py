"""LEAF's JSON files: samples by user. Source: Caldas et al. 2018."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from simfl.datasets.arrays import Array
from simfl.errors import DataError


def read_leaf(folder: Path, height: int, width: int) -> tuple[Array, Array, Array]:
    """All files of a folder, in the order of their names.

    Args:
        folder: holds ``*.json``, each ``{"users": [...], "num_samples": [...], "user_data":
            {user: {"x": [[pixels in [0, 1]]], "y": [labels]}}}``.
        height: of the images.
        width: of the images.

    Returns:
        Images, uint8 (samples, height, width); labels, int64 (samples,); users, text (samples,).

    Raises:
        DataError: a file is something else, or has a user again.
    """
    images, labels, users = [], [], []
    seen: dict[str, Path] = {}
    for path in sorted(folder.glob("*.json")):
        for user, pixels, classes in _users(path):
            if user in seen:
                raise DataError(f"{path}: user {user} is in {seen[user].name} too; remove one")
            seen[user] = path
            if pixels.shape != (len(classes), height * width) or classes.ndim != 1:
                raise DataError(
                    f"{path}: user {user} has x of {pixels.shape} and y of {classes.shape}; "
                    f"(samples, {height * width}) and (samples,) are due"
                )
            if not ((pixels >= 0) & (pixels <= 1)).all():
                raise DataError(f"{path}: user {user} has pixels beyond 0 to 1; lay it out anew")
            images.append((pixels * 255).round().astype(np.uint8).reshape(-1, height, width))
            labels.append(classes)
            users += [user] * len(classes)
    if not users:
        raise DataError(f"{folder}: no sample in its *.json; lay it out anew")
    return np.concatenate(images), np.concatenate(labels), np.array(users)


def _users(path: Path) -> list[tuple[str, Array, Array]]:
    """Who has samples in a file, and which."""
    try:
        data: dict[str, Any] = json.loads(path.read_bytes())
        users, counts = data["users"], data["num_samples"]
        found = []
        for user, count in zip(users, counts, strict=True):
            own = data["user_data"][user]
            labels = np.array(own["y"])
            if len(own["x"]) != count or len(labels) != count:
                raise ValueError(f"user {user} has {len(own['x'])} x, {len(labels)} y of {count}")
            if count:
                if labels.dtype.kind != "i":
                    raise ValueError(f"user {user} has labels that are no whole numbers")
                found.append((str(user), np.array(own["x"], dtype=np.float64), labels))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        said = str(error).partition("\n")[0]
        raise DataError(f"{path}: not a whole file of LEAF's ({said}); lay it out anew") from error
    return found
