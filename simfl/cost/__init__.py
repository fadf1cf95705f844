"""Costs: counts to seconds. No tensor, no clock."""
