"""The parts of pruning: scores and masks. Pure."""
