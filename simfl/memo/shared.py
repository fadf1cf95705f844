"""A store that many machines share: files only, in a directory that all see or at a URL.

SQLite's index is for one machine: across a network file system its locks do not hold. Here nothing
is ever changed, and each file is checked by its digest when it is read: who reads one that is half
written, or written by two at once, takes it for missing. So there is nothing to lock.

    simfl-store                      says what this is
    results/<family>/<digest>        manifests by key, a file for each time that a run recorded some
    values/<key's first two>/<key>.value    as in a folder of `Disk`
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final

import fsspec

from simfl.errors import StoreError, UnseenStoreError
from simfl.keys import Key, key_of
from simfl.memo.disk import body_of, manifest_of, sealed, unsealed
from simfl.work import Manifest

_MARK: Final = "simfl-store"
_VERSION: Final = b"1"


class Shared:
    """One shared store, as one run sees it.

    Args:
        place: a directory, or a URL that fsspec knows, such as ``s3://bucket/store``.
        family: names everything that a result depends on but its arguments.

    Raises:
        UnseenStoreError: nobody made it, as far as this machine sees.
        StoreError: it cannot be reached.
    """

    def __init__(self, place: str, family: Key) -> None:
        self._place, self._family = place, family
        self._files, self._root = self.seek(place)

    @staticmethod
    def seek(place: str) -> tuple[Any, str]:
        """The file system of a store that stands, and the path in it.

        Raises:
            UnseenStoreError: nobody made it, as far as this machine sees.
            StoreError: it cannot be reached.
        """
        files, root = _opened(place)
        with _faults(place):
            if not files.exists(f"{root}/{_MARK}"):
                raise UnseenStoreError(
                    f"{place}: not to be seen from this machine; give --store a directory that "
                    "every node sees, or a URL such as s3://bucket/store"
                )
        return files, root

    @staticmethod
    def make(place: str) -> None:
        """Make a store, if it is not there.

        Raises:
            StoreError: that cannot be done, or it is one of another version.
        """
        files, root = _opened(place)
        mark = f"{root}/{_MARK}"
        with _faults(place):
            if not files.exists(mark):
                files.pipe_file(mark, _VERSION)
            elif files.cat_file(mark) != _VERSION:
                raise StoreError(
                    f"{place}: a store of another version of simfl; give another with --store"
                )

    def close(self) -> None:
        """Nothing to let go."""

    def manifests(self) -> dict[Key, Manifest]:
        """What is known of the family's results.

        Raises:
            StoreError: it cannot be read.
        """
        folder = f"{self._root}/results/{self._family}"
        known: dict[Key, Manifest] = {}
        with _faults(self._place):
            # what others wrote since is wanted, not what a listing said before
            self._files.invalidate_cache(folder)
            try:
                paths = self._files.ls(folder, detail=False)
            except FileNotFoundError:
                return {}
            found = self._files.cat(paths, on_error="return") if paths else {}
            for body in found.values():
                # what is gone since the listing is missing; all else is a fault of the store
                if isinstance(body, Exception) and not isinstance(body, FileNotFoundError):
                    raise body
        for path in sorted(found):
            if isinstance(found[path], FileNotFoundError):
                continue
            text = found[path].decode(errors="replace")
            if path.rpartition("/")[2] == key_of(text):
                batch = json.loads(text)
                manifests = [manifest_of(body) for body in batch["manifests"]]
                known |= {Key(key): manifests[number] for key, number in batch["results"]}
        return known

    def record(self, manifests: Mapping[Key, Manifest]) -> None:
        """Add what is known of results, all of it or nothing.

        Raises:
            StoreError: it cannot be written.
        """
        numbers = {manifest: at for at, manifest in enumerate(dict.fromkeys(manifests.values()))}
        results = [(key, numbers[manifest]) for key, manifest in manifests.items()]
        batch = {"manifests": [body_of(manifest) for manifest in numbers], "results": results}
        text = json.dumps(batch, separators=(",", ":"))
        with _faults(self._place):
            path = f"{self._root}/results/{self._family}/{key_of(text)}"
            self._files.pipe_file(path, text.encode())

    def load(self, key: Key) -> Any:
        """The value of that key; None where it is not kept, or not sound."""
        with _faults(self._place), suppress(FileNotFoundError):
            body = unsealed(self._files.cat_file(self._path(key)))
            return None if body is None else pickle.loads(body)
        return None

    def save(self, key: Key, value: Any) -> None:
        """Keep a value.

        Raises:
            StoreError: it cannot be written.
        """
        with _faults(self._place):
            self._files.pipe_file(self._path(key), sealed(pickle.dumps(value, protocol=5)))

    def _path(self, key: Key) -> str:
        return f"{self._root}/values/{key[:2]}/{key}.value"


def is_url(place: str) -> bool:
    """Whether that is a URL, and no folder."""
    return "://" in place


def _opened(place: str) -> tuple[Any, str]:
    """The file system of a place, and the path in it."""
    with _faults(place):
        # directories are made as files are written to them, as on an object store
        local = not is_url(place) or place.startswith(("file://", "local://"))
        files, root = fsspec.url_to_fs(place, **({"auto_mkdir": True} if local else {}))
    return files, str(root).rstrip("/")


@contextmanager
def _faults(place: str) -> Iterator[None]:
    try:
        yield
    except StoreError:
        raise
    except Exception as error:
        # file systems raise what their libraries do; no library for a protocol is among it
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StoreError(
            f"{place}: cannot use the shared store: {text}; {_mend(place, error)}"
        ) from error


def _mend(place: str, error: Exception) -> str:
    if isinstance(error, ImportError) and place.startswith("s3://"):
        return "pip install 'simfl[s3]'"
    if isinstance(error, ImportError | ValueError):
        return "install what its protocol needs, or give another with --store"
    return "mend that and call again: what it holds stands"
