"""When devices are there to take part, one file each."""
