"""Which clients take part in a round, one file each."""
