"""A store on disk: manifests and metrics for ever, values within a limit.

A folder that many runs may share, also at once. `index.sqlite` (SQLite, write-ahead log) holds who
computed what: killed at any moment, a transaction stands or does not. `values/` holds pickles,
each written whole or not at all and checked by its digest when read; beyond the limit the least
recently used go. A value that is gone is computed again from its nearest ancestor.
"""

from __future__ import annotations

import json
import os
import pickle
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from filelock import FileLock

from simfl.errors import StoreError
from simfl.keys import Key
from simfl.work import Manifest, TensorInfo

LIMIT_BYTES: Final = 2 * 2**30
_DIGEST: Final = 16
_VERSION: Final = 1
# a manifest is numbered by its own digest: whatever is damaged, no result is given another's
_SCHEMA: Final = (
    "CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE families (id INTEGER PRIMARY KEY, key BLOB UNIQUE NOT NULL, label TEXT)",
    "CREATE TABLE manifests (id INTEGER PRIMARY KEY, body TEXT NOT NULL)",
    "CREATE TABLE results (family INTEGER NOT NULL, key BLOB NOT NULL, manifest INTEGER NOT NULL, "
    "PRIMARY KEY (family, key)) WITHOUT ROWID",
    f"PRAGMA user_version = {_VERSION}",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Info:
    """What a store holds.

    Attributes:
        families: what computed (algorithm, model, data), and how many results of each are known.
        values: how many values are kept.
        value_bytes: of all of them.
        index_bytes: of the index.
        limit_bytes: what the values may take.
    """

    families: list[tuple[str, int]]
    values: int
    value_bytes: int
    index_bytes: int
    limit_bytes: int


class Disk:
    """One store, as one run sees it.

    Args:
        folder: made if need be.
        family: names everything that a result depends on but its arguments.
        label: the same for people.

    Raises:
        StoreError: it cannot be made, or is damaged.
    """

    def __init__(self, folder: Path, family: Key | None = None, label: str = "") -> None:
        self.folder = folder
        self._values = folder / "values"
        self._index = folder / "index.sqlite"
        with self._faults():
            self._values.mkdir(parents=True, exist_ok=True)
            doubtful = self._cut_short()
            self._db = sqlite3.connect(self._index, timeout=60, isolation_level=None)
            if doubtful:
                self._check()
            self._db.execute("PRAGMA synchronous = NORMAL")
            # of several processes that open a new index, SQLite would let one begin the log and
            # turn the others away
            with FileLock(folder / "index.lock", timeout=60):
                self._db.execute("PRAGMA journal_mode = WAL")
                self._make_tables()
        self._family = self._family_id(family, label) if family else 0
        self._sizes = dict(self._scan())
        self._limit_bytes = self._setting("limit_bytes", LIMIT_BYTES)

    def close(self) -> None:
        """Let go of the index."""
        self._db.close()

    def manifests(self) -> dict[Key, Manifest]:
        """What is known of the family's results.

        Raises:
            StoreError: the index is damaged.
        """
        with self._faults():
            bodies = dict(
                self._db.execute(
                    "SELECT id, body FROM manifests WHERE id IN "
                    "(SELECT DISTINCT manifest FROM results WHERE family = ?)",
                    (self._family,),
                )
            )
            rows = self._db.execute(
                "SELECT key, manifest FROM results WHERE family = ?", (self._family,)
            ).fetchall()
            if {number for _, number in rows} - {_number(body) for body in bodies.values()}:
                raise sqlite3.DatabaseError("manifests are missing")
        known = {number: manifest_of(body) for number, body in bodies.items()}
        return {Key(key.hex()): known[number] for key, number in rows}

    def record(self, manifests: Mapping[Key, Manifest]) -> None:
        """Add what is known of results, all of it or nothing.

        Raises:
            StoreError: no room, or the index is damaged.
        """
        bodies = {manifest: body_of(manifest) for manifest in manifests.values()}
        numbers = {manifest: _number(body) for manifest, body in bodies.items()}
        with self._faults(), self._transaction():
            self._db.executemany(
                "INSERT OR IGNORE INTO manifests VALUES (?, ?)",
                ((numbers[manifest], body) for manifest, body in bodies.items()),
            )
            self._db.executemany(
                "INSERT OR REPLACE INTO results VALUES (?, ?, ?)",
                (
                    (self._family, bytes.fromhex(key), numbers[manifest])
                    for key, manifest in manifests.items()
                ),
            )

    def load(self, key: Key) -> Any:
        """The value of that key; None where it is not kept, or not sound."""
        if key not in self._sizes:
            return None
        body = self._read(key)
        if body is None:
            del self._sizes[key]
            return None
        with suppress(OSError):
            # used just now: among the last to go
            os.utime(self._path(key))
        return pickle.loads(body)

    def save(self, key: Key, value: Any) -> None:
        """Keep a value; beyond the limit, let the least recently used go.

        Raises:
            StoreError: no room, or the folder is gone.
        """
        body = pickle.dumps(value, protocol=5)
        path = self._path(key)
        part = path.with_suffix(f".{os.getpid()}.part")
        with self._faults():
            path.parent.mkdir(exist_ok=True)
            try:
                with part.open("wb") as file:
                    file.write(sealed(body))
                    file.flush()
                    os.fsync(file.fileno())
                part.replace(path)
            except OSError:
                part.unlink(missing_ok=True)
                raise
        self._sizes[key] = len(body) + _DIGEST
        if sum(self._sizes.values()) > self._limit_bytes:
            self.evict()

    def evict(self, limit_bytes: int | None = None) -> int:
        """Let values go, the least recently used first, until the rest fits.

        Args:
            limit_bytes: the limit from now on; left out, as it was.

        Returns:
            The bytes that were freed.

        Raises:
            StoreError: the index is damaged.
        """
        if limit_bytes is not None:
            self._limit_bytes = limit_bytes
            with self._faults(), self._transaction():
                self._db.execute(
                    "INSERT OR REPLACE INTO settings VALUES ('limit_bytes', ?)", (str(limit_bytes),)
                )
        self._sizes = dict(self._scan())
        total, freed = sum(self._sizes.values()), 0
        for key in list(self._sizes):
            if total - freed <= self._limit_bytes:
                break
            self._path(key).unlink(missing_ok=True)
            freed += self._sizes.pop(key)
        return freed

    def info(self) -> Info:
        """What the store holds.

        Raises:
            StoreError: the index is damaged.
        """
        with self._faults():
            families = self._db.execute(
                "SELECT label, (SELECT count(*) FROM results WHERE family = families.id) "
                "FROM families ORDER BY id"
            ).fetchall()
        self._sizes = dict(self._scan())
        return Info(
            families=families,
            values=len(self._sizes),
            value_bytes=sum(self._sizes.values()),
            index_bytes=sum(path.stat().st_size for path in self.folder.glob("index.sqlite*")),
            limit_bytes=self._limit_bytes,
        )

    def tidy(self) -> int:
        """Remove what killed runs left half written, and pack the index; the bytes freed.

        Raises:
            StoreError: the index is damaged.
        """
        before = self.info().index_bytes
        freed = 0
        for part in self._values.glob("*/*.part"):
            pid = part.name.split(".")[1]
            if not (pid.isdigit() and _alive(int(pid))):
                freed += part.stat().st_size
                part.unlink(missing_ok=True)
        with self._faults():
            self._db.execute("VACUUM")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return freed + max(0, before - self.info().index_bytes)

    def _family_id(self, family: Key, label: str) -> int:
        with self._faults(), self._transaction():
            key = bytes.fromhex(family)
            self._db.execute(
                "INSERT OR IGNORE INTO families (key, label) VALUES (?, ?)", (key, label)
            )
            [number] = self._db.execute("SELECT id FROM families WHERE key = ?", (key,)).fetchone()
        return int(number)

    def _setting(self, name: str, default: int) -> int:
        with self._faults():
            row = self._db.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
        return default if row is None else int(row[0])

    def _scan(self) -> Iterator[tuple[Key, int]]:
        """Keys and sizes of the values, the least recently used first."""
        found = []
        for path in self._values.glob("*/*.value"):
            try:
                state = path.stat()
            except FileNotFoundError:
                # another process let it go just now
                continue
            found.append((state.st_mtime_ns, Key(path.stem), state.st_size))
        for _, key, size in sorted(found):
            yield key, size

    def _path(self, key: Key) -> Path:
        return self._values / key[:2] / f"{key}.value"

    def _read(self, key: Key) -> bytes | None:
        """The body, or None where the file is missing, cut short or altered."""
        try:
            data = self._path(key).read_bytes()
        except OSError:
            return None
        return unsealed(data)

    def _cut_short(self) -> bool:
        """Whether the index is shorter than its header says, and a log may hold what is missing.

        Without a log, SQLite would read it as if the rest were empty.
        """
        try:
            with self._index.open("rb") as file:
                head = file.read(100)
        except FileNotFoundError:
            return False
        if 0 < len(head) < 100:
            raise sqlite3.DatabaseError("cut short")
        page = int.from_bytes(head[16:18], "big")
        due = (65536 if page == 1 else page) * int.from_bytes(head[28:32], "big")
        with suppress(FileNotFoundError):
            waiting = self._index.with_name("index.sqlite-wal").stat().st_size > 0
            if waiting and self._index.stat().st_size < due:
                return True
        if self._index.stat().st_size < due:
            raise sqlite3.DatabaseError("cut short")
        return False

    def _check(self) -> None:
        """Read every page."""
        [[found], *_] = self._db.execute("PRAGMA quick_check(1)").fetchall()
        if found != "ok":
            raise sqlite3.DatabaseError("cut short")

    def _make_tables(self) -> None:
        """In a new index; one of another version is refused."""
        [[tables]] = self._db.execute("SELECT count(*) FROM sqlite_master").fetchall()
        [[version]] = self._db.execute("PRAGMA user_version").fetchall()
        if not tables:
            with self._transaction():
                for statement in _SCHEMA:
                    self._db.execute(statement)
        elif version != _VERSION:
            raise StoreError(
                f"{self.folder}: a store of another version of simfl; remove the folder, or give "
                "another with --store"
            )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise StoreError(
                f"{self.folder}: cannot write the store: {error}; free space, or give another "
                "place with --store"
            ) from error
        except sqlite3.DatabaseError as error:
            raise StoreError(
                f"{self._index}: damaged ({error}); remove the folder {self.folder}: traces keep "
                "their own records"
            ) from error
        except OSError as error:
            raise StoreError(
                f"{error.filename or self.folder}: cannot write the store: {error.strerror}; free "
                "space, or give another place with --store"
            ) from error


def sealed(body: bytes) -> bytes:
    """With its digest before it."""
    return blake2b(body, digest_size=_DIGEST).digest() + body


def unsealed(data: bytes) -> bytes | None:
    """What was sealed; None where it was cut short or altered."""
    body = data[_DIGEST:]
    sound = blake2b(body, digest_size=_DIGEST).digest() == data[:_DIGEST]
    return body if sound else None


def body_of(manifest: Manifest) -> str:
    """A manifest as text."""
    # what is known is said at the end, and only then: older indexes stay good
    tensors = [
        [t.name, list(t.shape), t.dtype, t.nonzero, *[True] * t.known] for t in manifest.tensors
    ]
    return json.dumps([tensors, dict(manifest.metrics)], separators=(",", ":"))


def _number(body: str) -> int:
    """Its digest, as SQLite holds integers."""
    return int.from_bytes(blake2b(body.encode(), digest_size=8).digest(), "big", signed=True)


def manifest_of(body: str) -> Manifest:
    """What `body_of` wrote."""
    tensors, metrics = json.loads(body)
    infos = (
        TensorInfo(name=n, shape=tuple(s), dtype=d, nonzero=z, known=bool(k))
        for n, s, d, z, *k in tensors
    )
    return Manifest(tensors=tuple(infos), metrics=metrics)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
