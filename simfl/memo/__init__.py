"""Recipes, artifacts, the store that keeps them, and the executors that compute them."""

from simfl.memo.disk import Disk
from simfl.memo.executor import Executor, Inline
from simfl.memo.recipe import Artifact, Received, Recipe, counted
from simfl.memo.shared import Shared
from simfl.memo.store import Promise, Store

__all__ = [
    "Artifact",
    "Disk",
    "Executor",
    "Inline",
    "Promise",
    "Received",
    "Recipe",
    "Shared",
    "Store",
    "counted",
]
