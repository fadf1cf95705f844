"""Algorithms, one file each: pure verbs on states."""
