"""Models, one file each, and what they declare of themselves."""
