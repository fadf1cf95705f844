"""Protocols, one generator function each: who does what after what."""
