"""Measures a machine and makes a device model of it."""
