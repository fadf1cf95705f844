"""Partitions, one file each: which training samples each client holds."""
