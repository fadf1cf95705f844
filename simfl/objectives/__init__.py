"""Loss terms beside the data's loss, one file each; they compose."""
