"""Learning: pure functions of states, data and seeds. No clock, no network."""
