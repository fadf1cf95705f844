"""Recipes, artifacts and the store that keeps them."""

from simfl.memo.recipe import Artifact, Received, Recipe
from simfl.memo.store import Promise, Store

__all__ = ["Artifact", "Promise", "Received", "Recipe", "Store"]
