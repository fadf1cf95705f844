"""Codecs: payload to bytes and back, one file each."""
