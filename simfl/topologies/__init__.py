"""Overlays, one file each: who talks to whom."""
