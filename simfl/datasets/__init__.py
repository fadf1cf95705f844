"""Data sets, one file each, and how they are dealt out."""
