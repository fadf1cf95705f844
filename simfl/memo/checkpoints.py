"""Values on disk, by key: written whole or not at all, and checked when read."""

from __future__ import annotations

import os
import pickle
from hashlib import blake2b
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from simfl.errors import TraceError
from simfl.keys import Key


class Checkpoints:
    """The last few saved values in one folder, which is made when it is claimed.

    Attributes:
        kept: how many.
    """

    def __init__(self, folder: Path) -> None:
        self.kept = 2
        self._folder = folder
        self._lock = FileLock(folder / "lock")
        found = folder.glob("*.ckpt") if folder.is_dir() else ()
        self._order = [Key(p.stem) for p in sorted(found, key=lambda p: p.stat().st_mtime_ns)]

    def claim(self) -> bool:
        """Make the folder this process's own until it ends; False if another process has it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            return False
        return True

    def has(self, key: Key) -> bool:
        """Whether that value is saved and sound."""
        if key in self._order and self._read(key) is None:
            self._order.remove(key)
        return key in self._order

    def save(self, key: Key, value: Any) -> None:
        """Save a value, and drop the oldest beyond those that are kept.

        Raises:
            TraceError: no room, or the folder is gone.
        """
        if key in self._order[-1:]:
            return  # peers begin with the same state
        body = pickle.dumps(value, protocol=5)
        part = self._folder / f"{key}.part"
        try:
            with part.open("wb") as file:
                file.write(blake2b(body, digest_size=16).digest() + body)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self._path(key))
        except OSError as error:
            part.unlink(missing_ok=True)
            raise TraceError(
                f"{part}: cannot save the state of a round: {error.strerror}; free space, then "
                "simfl resume the trace"
            ) from error
        self._order = [k for k in self._order if k != key] + [key]
        for old in self._order[: -self.kept]:
            self._path(old).unlink(missing_ok=True)
        self._order = self._order[-self.kept :]

    def load(self, key: Key) -> Any:
        """The value of that key; `has` said that it is there."""
        body = self._read(key)
        assert body is not None
        return pickle.loads(body)

    def forget(self) -> None:
        """Remove every saved value."""
        for key in self._order:
            self._path(key).unlink(missing_ok=True)
        self._order = []

    def remove(self) -> None:
        """Remove the folder and what is in it; nobody has it any more."""
        self._lock.release()
        for path in self._folder.iterdir():
            path.unlink()
        self._folder.rmdir()

    def _path(self, key: Key) -> Path:
        return self._folder / f"{key}.ckpt"

    def _read(self, key: Key) -> bytes | None:
        """The body, or None where the file is missing, cut short or altered."""
        try:
            data = self._path(key).read_bytes()
        except OSError:
            return None
        return data[16:] if blake2b(data[16:], digest_size=16).digest() == data[:16] else None
