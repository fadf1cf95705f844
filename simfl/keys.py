"""Names of computations, and the seeds that come from their logical coordinates.

A key names *what is computed*, never when or where: no clock, no device, no link enters it.
"""

from hashlib import blake2b
from pathlib import Path
from typing import NewType

Key = NewType("Key", str)


def key_of(*parts: str) -> Key:
    """The content key of an ordered list of parts: 32 hexadecimal digits.

    >>> key_of("train", "a") == key_of("train", "a"), key_of("tr", "aina") == key_of("train", "a")
    (True, False)
    """
    return Key(blake2b("\x1f".join(parts).encode(), digest_size=16).hexdigest())


def seed_of(seed: int, *coordinates: str | int) -> int:
    """A seed in [0, 2^63) for one use, from the scenario's seed and logical coordinates.

    The purpose comes first, then for instance client and turn: never the order of events.

    >>> seed_of(1, "order", 3, 7) == seed_of(1, "order", 3, 7) != seed_of(1, "order", 3, 8)
    True
    """
    digest = blake2b(repr((seed, *coordinates)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def digest_of_files(paths: list[Path]) -> str:
    """The digest of source files, by content and name, in the order of their names."""
    digest = blake2b(digest_size=16)
    for path in sorted(paths):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
