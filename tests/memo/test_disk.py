import math
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from simfl.errors import StoreError
from simfl.keys import Key, key_of
from simfl.memo import Disk, Promise, Recipe, Store
from simfl.tensors import Masks, NamedTensors
from simfl.work import Manifest, TensorInfo

FAMILY = key_of("a family")
NAMES = [key_of("value", str(i)) for i in range(9)]


@pytest.fixture
def open_disk(tmp_path: Path) -> Iterator[Callable[..., Disk]]:
    """Opens the store of a test, as often as it likes."""
    disks: list[Disk] = []

    def make(family: Key | None = FAMILY, folder: Path = tmp_path / "store") -> Disk:
        disks.append(Disk(folder, family, "tests"))
        return disks[-1]

    yield make
    for disk in disks:
        disk.close()


def score(value: float) -> Manifest:
    return Manifest(metrics={"accuracy": value, "loss": 1 / 3})


def tensors(*sizes: int) -> Manifest:
    infos = (
        TensorInfo(name=f"l{i}.weight", shape=(n, 2), dtype="float32", nonzero=n)
        for i, n in enumerate(sizes)
    )
    return Manifest(tensors=tuple(infos))


def python(code: str, *words: str, **options: Any) -> subprocess.Popen[str]:
    """A process that runs some lines."""
    head = "from pathlib import Path; import sys; from simfl.memo import Disk\n"
    return subprocess.Popen(
        [sys.executable, "-c", head + code, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_manifests_come_back_to_the_last_bit(open_disk: Callable[..., Disk]) -> None:
    known = {
        NAMES[0]: score(0.1 + 0.2),
        NAMES[1]: score(5e-324),
        NAMES[2]: score(math.inf),
        NAMES[3]: tensors(3, 0, 10**9),
        NAMES[4]: tensors(3, 0, 10**9),
        NAMES[5]: Manifest(),
        NAMES[6]: Manifest(tensors=(TensorInfo(name="ß", shape=(), dtype="float32", nonzero=1),)),
    }
    open_disk().record(known)
    found = open_disk().manifests()
    assert found == known
    assert {type(v) for m in found.values() for v in m.metrics.values()} == {float}
    # one object each: whoever numbers manifests meets each once
    assert found[NAMES[3]] is found[NAMES[4]]
    open_disk().record({NAMES[7]: score(math.nan)})
    assert math.isnan(open_disk().manifests()[NAMES[7]].metrics["accuracy"])


def test_families_do_not_see_each_other(open_disk: Callable[..., Disk]) -> None:
    one, other = open_disk(), open_disk(key_of("another"))
    one.record({NAMES[0]: score(0.5)})
    other.record({NAMES[0]: score(0.25), NAMES[1]: score(0.5)})
    assert one.manifests() == {NAMES[0]: score(0.5)}
    assert other.manifests() == {NAMES[0]: score(0.25), NAMES[1]: score(0.5)}
    assert one.info().families == [("tests", 1), ("tests", 2)]


def test_a_record_is_all_or_nothing(open_disk: Callable[..., Disk]) -> None:
    disk = open_disk()
    disk.record({NAMES[0]: score(0.5)})
    # not a key: what goes before it is not to stay
    with pytest.raises(ValueError, match="hexadecimal"):
        disk.record({NAMES[1]: score(0.25), Key("no key"): score(0.75)})
    assert open_disk().manifests() == {NAMES[0]: score(0.5)}
    disk.record({NAMES[1]: score(0.25)})
    assert open_disk().manifests() == {NAMES[0]: score(0.5), NAMES[1]: score(0.25)}


def test_values_come_back_as_they_were(open_disk: Callable[..., Disk]) -> None:
    state = NamedTensors.pack({"a": torch.tensor([0.1, -0.0, math.pi]), "b": torch.ones(2, 2)})
    masks = Masks(state.layout, (state.flat > 0.5).float())
    open_disk().save(NAMES[0], (state, masks))
    loaded, kept = open_disk().load(NAMES[0])
    assert loaded.flat.numpy().tobytes() == state.flat.numpy().tobytes()
    assert torch.equal(kept.flat, masks.flat)
    assert loaded.layout == state.layout
    # they can be computed on
    loaded.flat.add_(1)
    assert open_disk().load(NAMES[1]) is None


WRITER = """
from simfl.keys import key_of
from simfl.work import Manifest
folder, who = Path(sys.argv[1]), int(sys.argv[2])
sys.stdin.read(1)
disk = Disk(folder, key_of("a family"), "tests")
for i in range(40):
    own = key_of("own", str(who), str(i))
    common = key_of("common", str(i))
    disk.record({own: Manifest(metrics={"v": who + i / 7}), common: Manifest(metrics={"v": i / 3})})
    disk.save(common, [i] * 1000)
    disk.save(own, [who, i])
    assert disk.load(common) == [i] * 1000
disk.close()
"""


def test_processes_write_one_store_at_once(tmp_path: Path, open_disk: Callable[..., Disk]) -> None:
    folder = tmp_path / "store"
    writers = [python(WRITER, str(folder), str(who), stdin=subprocess.PIPE) for who in range(3)]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go")
        writer.stdin.flush()
    for writer in writers:
        said = writer.communicate()[1]
        assert (writer.returncode, said) == (0, "")
    disk = open_disk()
    expected = {key_of("common", str(i)): i / 3 for i in range(40)}
    expected |= {key_of("own", str(w), str(i)): w + i / 7 for w in range(3) for i in range(40)}
    assert {key: m.metrics["v"] for key, m in disk.manifests().items()} == expected
    assert disk.info().values == 160
    for i in range(40):
        assert disk.load(key_of("common", str(i))) == [i] * 1000
        assert disk.load(key_of("own", "2", str(i))) == [2, i]
    assert list(folder.glob("values/*/*.part")) == []


OPENER = """
from simfl.keys import key_of
for i in range(15):
    sys.stdin.read(1)
    Disk(Path(sys.argv[1]) / str(i), key_of("a family"), "tests").close()
    print(i, flush=True)
"""


def test_processes_make_one_store_at_once(tmp_path: Path) -> None:
    openers = [python(OPENER, str(tmp_path), stdin=subprocess.PIPE) for _ in range(5)]
    for i in range(15):
        for opener in openers:
            assert opener.stdin is not None
            opener.stdin.write(".")
            opener.stdin.flush()
        assert [opener.stdout.readline() for opener in openers if opener.stdout] == [f"{i}\n"] * 5
        disk = Disk(tmp_path / str(i))
        assert disk.info().families == [("tests", 0)]
        disk.close()
    for opener in openers:
        said = opener.communicate()[1]
        assert (opener.returncode, said) == (0, "")


def grow(*values: int) -> int:
    return sum(values, 1)


def chain(store: Store, length: int) -> Promise[int]:
    state = store.promise(Recipe(grow, "grow v1", ()))
    for _ in range(length - 1):
        state = store.promise(Recipe(grow, "grow v1", (state,)))
    return state


def in_store(disk: Disk) -> Store:
    return Store(lambda value: Manifest(metrics={"value": float(value)}), disk=disk)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[:-1],
        lambda data: data[:10],
        lambda data: b"",
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: bytes([data[0] ^ 1]) + data[1:],
        lambda data: data + b"\0",
        lambda data: bytes(len(data)),
        None,
    ],
    ids=[
        "cut short",
        "cut to a stub",
        "empty",
        "altered at the end",
        "altered at the start",
        "longer",
        "zeros",
        "gone",
    ],
)
def test_a_spoilt_value_is_ignored_and_made_again(
    open_disk: Callable[..., Disk], spoil: Callable[[bytes], bytes] | None
) -> None:
    first = in_store(open_disk())
    for length in (5, 8):
        state = chain(first, length)
        assert state.value == length
        first.save(state)
    disk = open_disk()
    path = disk._path(state.key)
    path.write_bytes(spoil(path.read_bytes())) if spoil else path.unlink()
    assert disk.load(state.key) is None
    store = in_store(disk)
    again = chain(store, 8)
    assert again.value == 8
    # from the sound one before it
    assert store.computed == {"grow": 3}
    store.save(again)
    assert open_disk().load(state.key) == 8


def test_what_is_half_written_is_ignored_and_goes_with_its_process(
    open_disk: Callable[..., Disk],
) -> None:
    disk = open_disk()
    disk.save(NAMES[0], 1)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    whole = disk._path(NAMES[0])
    left, under_way, odd = (
        whole.with_name(f"{NAMES[1]}.{word}.part") for word in (dead.pid, os.getpid(), "x")
    )
    for part in (left, under_way, odd):
        part.write_bytes(whole.read_bytes())
    later = open_disk()
    assert later.load(NAMES[1]) is None
    assert later.info().values == 1
    assert later.tidy() >= 2 * whole.stat().st_size
    assert [part.exists() for part in (left, under_way, odd)] == [False, True, False]
    assert later.load(NAMES[0]) == 1


def sizes_of(disk: Disk) -> list[int]:
    return sorted(path.stat().st_size for path in disk.folder.glob("values/*/*.value"))


def used(disk: Disk, key: Key, second: int) -> None:
    os.utime(disk._path(key), (second, second))


def test_the_least_recently_used_go_first(open_disk: Callable[..., Disk]) -> None:
    disk = open_disk()
    for i in range(4):
        disk.save(NAMES[i], bytes(1000))
        used(disk, NAMES[i], 100 + i)
    # used just now
    assert disk.load(NAMES[0]) == bytes(1000)
    one = sizes_of(disk)[0]
    assert disk.evict(2 * one) == 2 * one
    assert [disk.load(NAMES[i]) is not None for i in range(4)] == [True, False, False, True]
    assert disk.evict() == 0
    assert disk.evict(0) == 2 * one
    assert disk.info().values == 0


def test_the_limit_is_kept_by_whoever_saves(open_disk: Callable[..., Disk]) -> None:
    disk = open_disk()
    disk.save(NAMES[0], bytes(1000))
    [one] = sizes_of(disk)
    disk.evict(3 * one)
    later = open_disk()
    assert later.info().limit_bytes == 3 * one
    for i, name in enumerate(NAMES):
        later.save(name, bytes(1000))
        used(later, name, 100 + i)
        assert later.info().value_bytes <= 3 * one
    assert [later.load(name) is not None for name in NAMES] == [False] * 6 + [True] * 3
    # one that is larger than the limit does not stay
    later.save(NAMES[0], bytes(10_000))
    assert later.load(NAMES[0]) is None
    # another run's share of the limit is seen when it is full
    disk.evict()
    assert disk.info().value_bytes <= 3 * one


def filled(folder: Path, results: int = 400) -> dict[Key, Manifest]:
    """A store with an index of many pages."""
    known = {key_of(str(i)): score(i / 7) for i in range(results)}
    known |= {key_of("t", str(i)): tensors(*range(i, i + 90)) for i in range(12)}
    disk = Disk(folder, FAMILY, "tests")
    disk.record(known)
    disk.close()
    return known


def killed_while_it_wrote(folder: Path) -> dict[Key, Manifest]:
    """A store whose last transactions are in the log only: its process was killed."""
    known = filled(folder)
    code = """
import os
from simfl.keys import key_of
from simfl.work import Manifest
disk = Disk(Path(sys.argv[1]), key_of("a family"))
for i in range(300):
    disk.record({key_of("late", str(i)): Manifest(metrics={"accuracy": i / 11, "loss": 1 / 3})})
os._exit(0)
"""
    process = python(code, str(folder))
    assert process.communicate()[1] == ""
    assert (folder / "index.sqlite-wal").stat().st_size > 100_000
    return known | {key_of("late", str(i)): score(i / 11) for i in range(300)}


def try_to_read(folder: Path, known: dict[Key, Manifest]) -> int | None:
    """How much of what was recorded is found; None if the store is refused. Never another."""
    try:
        disk = Disk(folder, FAMILY)
    except StoreError as error:
        assert_told(folder, error)
        return None
    try:
        found = disk.manifests()
    except StoreError as error:
        assert_told(folder, error)
        return None
    finally:
        disk.close()
    assert found.items() <= known.items()
    return len(found)


def assert_told(folder: Path, error: StoreError) -> None:
    """One line, with the file and the mend."""
    assert len(str(error).splitlines()) == 1
    assert f"{folder / 'index.sqlite'}: damaged" in str(error)
    assert f"remove the folder {folder}" in str(error)


def copied(folder: Path, to: Path) -> Path:
    to.mkdir()
    for path in folder.iterdir():
        if path.is_file():
            (to / path.name).write_bytes(path.read_bytes())
    return to


def test_an_index_that_was_cut_is_refused(tmp_path: Path) -> None:
    known = filled(tmp_path / "store")
    whole = (tmp_path / "store" / "index.sqlite").read_bytes()
    assert len(whole) > 10 * 4096
    for n, size in enumerate(
        [1, 50, 99, 100, 1000, *range(4096, len(whole), 4096), len(whole) - 1]
    ):
        cut = copied(tmp_path / "store", tmp_path / str(n))
        (cut / "index.sqlite").write_bytes(whole[:size])
        assert try_to_read(cut, known) is None, size
    assert try_to_read(tmp_path / "store", known) == len(known)


def test_an_index_that_was_cut_beside_its_log_gives_nothing_wrong(tmp_path: Path) -> None:
    known = killed_while_it_wrote(tmp_path / "store")
    whole = (tmp_path / "store" / "index.sqlite").read_bytes()
    found = {}
    for n, size in enumerate([1, 99, 100, *range(4096, len(whole), 4096), len(whole) - 1]):
        cut = copied(tmp_path / "store", tmp_path / str(n))
        (cut / "index.sqlite").write_bytes(whole[:size])
        found[size] = try_to_read(cut, known)
    # what is lacking may be in the log; where it is not, no part is taken for the whole
    assert set(found.values()) <= {None, len(known)}
    assert None in found.values()
    sound = copied(tmp_path / "store", tmp_path / "sound")
    assert try_to_read(sound, known) == len(known)


def test_a_log_that_was_cut_or_altered_loses_its_end_only(tmp_path: Path) -> None:
    known = killed_while_it_wrote(tmp_path / "store")
    whole = (tmp_path / "store" / "index.sqlite-wal").read_bytes()
    found = []
    for n, size in enumerate(range(0, len(whole), len(whole) // 25)):
        cut = copied(tmp_path / "store", tmp_path / str(n))
        (cut / "index.sqlite-wal").write_bytes(whole[:size])
        (cut / "index.sqlite-shm").unlink(missing_ok=True)
        found.append(try_to_read(cut, known))
    before = len(known) - 300
    assert None not in found
    assert found == sorted(found, key=lambda n: n or 0)
    assert found[0] == before
    assert before < (found[13] or 0) < len(known)
    altered = copied(tmp_path / "store", tmp_path / "altered")
    middle = len(whole) // 2
    (altered / "index.sqlite-wal").write_bytes(
        whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    )
    (altered / "index.sqlite-shm").unlink(missing_ok=True)
    assert before < (try_to_read(altered, known) or 0) < len(known)


def test_a_manifest_is_never_taken_for_another(tmp_path: Path) -> None:
    """Pages of different times, mixed by a damage that SQLite cannot see."""
    folder = tmp_path / "store"
    known = filled(folder, 20)
    for spoil in (
        "DELETE FROM manifests WHERE id = (SELECT min(id) FROM manifests)",
        "UPDATE manifests SET body = (SELECT max(body) FROM manifests)",
        "UPDATE manifests SET body = ''",
    ):
        copy = copied(folder, tmp_path / str(len(list(tmp_path.iterdir()))))
        db = sqlite3.connect(copy / "index.sqlite")
        db.execute(spoil)
        db.commit()
        db.close()
        assert try_to_read(copy, known) is None, spoil


def test_what_is_no_index_or_of_another_version_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    (folder / "index.sqlite").write_bytes(b"not a data base " * 1000)
    assert try_to_read(folder, {}) is None
    (folder / "index.sqlite").unlink()
    filled(folder)
    db = sqlite3.connect(folder / "index.sqlite")
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StoreError, match="another version of simfl; remove the folder") as told:
        Disk(folder, FAMILY)
    assert len(str(told.value).splitlines()) == 1


def test_a_place_that_is_no_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"file/values: cannot write the store: .*--store"):
        Disk(tmp_path / "file", FAMILY)


FILLING = """
import resource
from simfl.errors import StoreError
from simfl.keys import key_of
from simfl.work import Manifest
folder, what, limit = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
disk = Disk(folder, key_of("a family"), "tests")
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
kept = 0
try:
    while True:
        if what == "values":
            disk.save(key_of("value", str(kept)), bytes(100 * 2 ** kept))
        else:
            disk.record({key_of(str(kept)): Manifest(metrics={"v": kept / 7})})
        kept += 1
except StoreError as error:
    print(kept)
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
# with room again, the same process goes on
disk.save(key_of("after"), 7)
disk.record({key_of("after"): Manifest(metrics={"v": 7.0})})
disk.close()
"""


@pytest.mark.parametrize("what", ["values", "index"])
def test_a_disk_without_room_is_told_and_what_was_kept_stays(
    open_disk: Callable[..., Disk], tmp_path: Path, what: str
) -> None:
    # files may grow to so many bytes, as on a disk that is almost full
    process = python(FILLING, str(tmp_path / "store"), what, str(200_000))
    said, wrong = process.communicate()
    assert (process.returncode, wrong) == (0, "")
    kept, message = said.splitlines()
    assert int(kept) > 3
    assert "cannot write the store" in message
    assert "free space, or give another place with --store" in message
    disk = open_disk()
    assert disk.load(key_of("after")) == 7
    found = disk.manifests()
    assert found.pop(key_of("after")).metrics == {"v": 7.0}
    assert list(disk.folder.glob("values/*/*.part")) == []
    if what == "values":
        assert [disk.load(key_of("value", str(i))) is not None for i in range(int(kept) + 1)] == [
            *[True] * int(kept),
            False,
        ]
    else:
        assert found == {key_of(str(i)): Manifest(metrics={"v": i / 7}) for i in range(int(kept))}
