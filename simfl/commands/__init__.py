"""The commands of `simfl`; what is heavy is imported when one runs."""
