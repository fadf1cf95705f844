"""Does the store on disk survive what happens to disks and processes?

    python analysis/store_survives.py [--kills 50] [--seed 1] [--data-dir DATA] [--out FILE]

Runs `simfl run` and `simfl resume` in processes of their own, on one store: SIGKILLs them at random
moments (pool and inline in turn), runs two at once, lets the disk run full, cuts the index short,
and spoils values. After each kill the store and the trace are checked; in the end every table is
compared, byte for byte, with that of a run that nobody disturbed and that had no store. Says one
line per check; exits with 1 if any failed.
"""

from __future__ import annotations

import argparse
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from simfl.errors import SimflError, StoreError
from simfl.memo import Disk
from simfl.record import Trace
from simfl.record.schema import COLUMNS

NAMES = ("smoke/prunefl_federated", "smoke/fedavg_access_links", "smoke/ring")
ROUNDS = {"smoke/prunefl_federated": 60, "smoke/fedavg_access_links": 40, "smoke/ring": 8}
# after it began to write its trace, a command is killed within so many seconds; one in six is
# killed earlier, within so many seconds after it began
WITHIN_S = 1.2
EARLY_S = 4.0
KIB = 1024


@dataclass
class Bench:
    """Where the checks run, and what they found."""

    folder: Path
    data: list[str]
    draw: random.Random
    out: Path | None
    lines: list[str] = field(default_factory=list)
    failed: int = 0
    _references: dict[tuple[str, ...], Path] = field(default_factory=dict)

    def say(self, name: str, fine: bool, told: str) -> None:
        """One line of a check."""
        self.failed += not fine
        self.lines.append(f"{'ok    ' if fine else 'FAILED'}  {name}: {told}")
        print(self.lines[-1], flush=True)
        if self.out:
            self.out.write_text("\n".join(self.lines) + "\n")

    def command(self, *words: str | Path) -> list[str]:
        """A simfl command line for this interpreter."""
        return [sys.executable, "-m", "simfl", *map(str, words), *self.data, "--quiet"]

    def run(self, *words: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
        """To its end."""
        return subprocess.run(
            self.command(*words),
            capture_output=True,
            text=True,
            check=False,
            **options,  # type: ignore[call-overload]
        )

    def undisturbed(self, *words: str) -> Trace:
        """A run of a scenario without a store; made once."""
        path = self._references.get(words)
        if path is None:
            path = self._references[words] = self.folder / f"whole-{len(self._references)}.h5"
            done = self.run("run", *words, "--no-store", "--executor", "inline", "--out", path)
            assert done.returncode == 0, done.stderr
        return Trace(path)

    def differs(self, path: Path, *words: str) -> str:
        """Where a trace is not that of the undisturbed run; empty if it is."""
        try:
            one, other = Trace(path), self.undisturbed(*words)
        except SimflError as error:
            return str(error)
        if one.status != other.status:
            return f"{path.name}: {one.status}, not {other.status}"
        tables = [t for t in COLUMNS if one.raw(t).tobytes() != other.raw(t).tobytes()]
        if one.attributes["computed_by"] != other.attributes["computed_by"]:
            return f"{path.name}: simfl was changed meanwhile"
        return f"{path.name}: {', '.join(tables)}" if tables else ""


def scenario(name: str, seed: int, rounds: int | None = None) -> list[str]:
    """The words that name one run."""
    changes = [f"protocol.rounds={rounds or ROUNDS[name]}", f"seed={seed}", "stop.bytes=null"]
    return [name, *changes, "record.checkpoint_every=3"]


def killed(words: list[str], path: Path, after_s: float, *, early: bool) -> int | None:
    """SIGKILL a command some seconds after it began, or if not early, began to write its trace.

    Gives its workers that stay; None if it ended before.
    """
    traces = path, path.with_name(path.name + ".resumed")
    before = [_changed(trace) for trace in traces]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, start_new_session=True)
    while not early and process.poll() is None and before == [_changed(t) for t in traces]:
        time.sleep(0.002)
    with suppress(subprocess.TimeoutExpired):
        process.wait(after_s)
    alive = process.poll() is None
    if alive:
        process.send_signal(signal.SIGKILL)
    process.wait()
    return orphans(process.pid) if alive else None


def _changed(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


def orphans(group: int, within_s: float = 5.0) -> int:
    """Processes of a session that still run after some seconds."""
    until_s = time.monotonic() + within_s
    while True:
        found = 0
        for path in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                state, _, its_group = path.read_text().rpartition(")")[2].split()[:3]
                found += int(its_group) == group and state != "Z"
        if not found or time.monotonic() > until_s:
            return found
        time.sleep(0.02)


def sound(store: Path) -> str:
    """What is wrong with a store; empty if nothing is."""
    if not (store / "index.sqlite").exists():
        return ""
    try:
        Disk(store).close()
        db = sqlite3.connect(store / "index.sqlite")
        [[found]] = db.execute("PRAGMA integrity_check(1)").fetchall()
        dangling = "SELECT count(*) FROM results WHERE manifest NOT IN (SELECT id FROM manifests)"
        [[missing]] = db.execute(dangling).fetchall()
        db.close()
    except (SimflError, sqlite3.Error) as error:
        return str(error)
    return "" if (found, missing) == ("ok", 0) else f"{found}, {missing} manifests missing"


@dataclass
class Kills:
    """What a series of kills came to."""

    during: dict[str, int] = field(default_factory=lambda: {"run": 0, "resume": 0})
    runs: int = 0
    unbegun: int = 0
    wrong: list[str] = field(default_factory=list)


def kill_often(bench: Bench, kills: int) -> None:
    """Runs on one store, killed and resumed until they are complete."""
    store, found = bench.folder / "killed-store", Kills()
    while sum(found.during.values()) < kills:
        name = NAMES[found.runs % len(NAMES)]
        words = scenario(name, 100 + found.runs)
        path = bench.folder / f"killed-{found.runs}.h5"
        finish_by_kills(bench, words, path, store, kills, found)
        found.wrong += filter(None, [bench.differs(path, *words)])
        found.runs += 1
    disk = Disk(store)
    held = disk.info()
    disk.close()
    told = (
        f"{sum(found.during.values())} SIGKILLs ({found.during['run']} during run, "
        f"{found.during['resume']} during resume; {found.unbegun} before the trace stood), "
        f"{found.runs} runs on one store of {sum(n for _, n in held.families)} results and "
        f"{held.values} values; store opened, integrity_check, trace read after each; "
        f"{'; '.join(found.wrong) or 'all tables as undisturbed, no process left'}"
    )
    bench.say("killed at random moments", not found.wrong, told)


def finish_by_kills(
    bench: Bench, words: list[str], path: Path, store: Path, kills: int, found: Kills
) -> None:
    """One run: killed as long as kills are left, and then to its end."""
    while True:
        number = sum(found.during.values())
        executor = ("pool", "inline")[number % 2]
        verb = "resume" if path.exists() else "run"
        what = ["resume", path] if path.exists() else ["run", *words, "--out", path]
        command = bench.command(*what, "--store", store, "--executor", executor, "--workers", "2")
        early = bench.draw.random() < 1 / 6
        after_s = bench.draw.uniform(0, EARLY_S if early else WITHIN_S)
        if number >= kills:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                found.wrong.append(done.stderr.strip())
            return
        left = killed(command, path, after_s, early=early)
        if left is None:
            return
        if left:
            found.wrong.append(f"kill {number}: {left} workers stay")
        found.during[verb] += 1
        wrong = sound(store)
        if wrong:
            found.wrong.append(f"kill {number}: {wrong}")
        try:
            Trace(path)
        except SimflError:
            # killed before, or while, the file was made: nothing was simulated yet
            found.unbegun += 1
            path.unlink(missing_ok=True)
            if verb == "resume":
                found.wrong.append(f"kill {number}: the trace cannot be read")


def left_behind(bench: Bench) -> None:
    """Workers of a killed pool."""
    path, found = bench.folder / "orphans.h5", []
    words = scenario(NAMES[0], 7, 100_000)
    for _ in range(5):
        path.unlink(missing_ok=True)
        command = bench.command(
            "run", *words, "--out", path, "--no-store", "--executor", "pool", "--workers", "2"
        )
        process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE)
        while process.poll() is None and orphans(process.pid, 0) < 3:
            time.sleep(0.02)
        time.sleep(bench.draw.uniform(0, 0.5))
        process.kill()
        _, said = process.communicate()
        found.append((orphans(process.pid), len(said)))
    fine = found == [(0, 0)] * 5
    told = "5 pools, their parent killed: no worker runs after 5 s, nothing is said"
    bench.say("workers of a killed run", fine, told if fine else str(found))


def two_at_once(bench: Bench) -> None:
    """On one store, begun at the same time."""
    for title, pair in (
        ("one scenario, two traces", [scenario(NAMES[0], 8), scenario(NAMES[0], 8)]),
        ("two scenarios", [scenario(NAMES[0], 9), scenario(NAMES[1], 9)]),
    ):
        store = bench.folder / f"shared {title}"
        paths = [bench.folder / f"{title}-{i}.h5" for i in range(2)]
        processes = [
            subprocess.Popen(
                bench.command("run", *words, "--out", path, "--store", store, "--executor", kind),
                stderr=subprocess.PIPE,
                text=True,
            )
            for words, path, kind in zip(pair, paths, ("pool", "inline"), strict=True)
        ]
        wrong = [process.communicate()[1] for process in processes] + [sound(store)]
        wrong += [bench.differs(p, *words) for p, words in zip(paths, pair, strict=True)]
        told = "; ".join(filter(None, wrong))
        fine = "both complete, tables as without a store, store sound"
        bench.say(f"two runs at once, {title}", not told, told or fine)


@contextmanager
def small_disk(folder: Path, kib: int) -> Iterator[Callable[[int], None] | None]:
    """A folder with so much room, and what gives it more; None where that cannot be mounted."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        yield None
        return

    def enlarge(more_kib: int) -> None:
        again = ["mount", "-o", f"remount,size={more_kib}k", str(folder)]
        subprocess.run(again, check=True, capture_output=True)

    try:
        yield enlarge
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def full_disk(bench: Bench) -> None:
    """A store on a disk that runs full; then it gets room, and the run is resumed."""
    stopped, messages, wrong, how = 0, set(), [], "a small tmpfs"
    for kib in (16, 64, 256, 512, 1024, 4096, 65536):
        words, path = scenario(NAMES[0], 10), bench.folder / f"full-{kib}.h5"
        place = bench.folder / f"disk-{kib}"
        with small_disk(place, kib) as enlarge:
            limit = None if enlarge else lambda kib=kib: _limit_files(kib)
            how = how if enlarge else "a limit to the size of files"
            store = ["--store", place / "store", "--executor", "inline"]
            done = bench.run("run", *words, "--out", path, *store, preexec_fn=limit)
            one_line = len(done.stderr.splitlines()) == 1 and done.stderr.startswith("error: ")
            if done.returncode == 2 and one_line:
                stopped += 1
                messages.add(done.stderr.partition("cannot write the store: ")[2].strip())
            elif done.returncode or done.stderr:
                wrong.append(f"{kib} KiB: {done.returncode} {done.stderr}")
            if enlarge:
                enlarge(128 * KIB)
            if path.exists():
                again = bench.run("resume", path, *store)
            else:
                again = bench.run("run", *words, "--out", path, *store)
            after = [again.stderr, sound(place / "store"), bench.differs(path, *words)]
            wrong += [f"{kib} KiB, then room: {found}" for found in after if found]
    told = (
        f"{how} of 16 KiB to 64 MiB: {stopped} of 7 stopped with one line "
        f"({' | '.join(sorted(messages))}); with room, all ended with tables as undisturbed"
    )
    bench.say("full disk", stopped > 2 and not wrong, "; ".join(wrong) or told)


def _limit_files(kib: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (kib * KIB, resource.RLIM_INFINITY))


def spoilt(bench: Bench) -> None:
    """An index that was cut, and values that were."""
    words, store = scenario(NAMES[0], 11), bench.folder / "spoilt-store"
    first = bench.folder / "spoilt.h5"
    assert bench.run("run", *words, "--out", first, "--store", store).returncode == 0
    whole = (store / "index.sqlite").read_bytes()
    sizes = [bench.draw.randrange(1, len(whole)) for _ in range(200)]
    read = 0
    for size in sizes:
        copy = bench.folder / "cut"
        copy.mkdir()
        (copy / "index.sqlite").write_bytes(whole[:size])
        with suppress(StoreError):
            Disk(copy).close()
            read += 1
        shutil.rmtree(copy)
    (store / "index.sqlite").write_bytes(whole[: len(whole) // 2])
    again = bench.folder / "cut.h5"
    done = bench.run("run", *words, "--out", again, "--store", store)
    named = f"{store / 'index.sqlite'}: damaged" in done.stderr
    mended = f"remove the folder {store}" in done.stderr and len(done.stderr.splitlines()) == 1
    shutil.rmtree(store)
    after = bench.run("run", *words, "--out", again, "--store", store)
    differs = bench.differs(again, *words)
    fine = not read and named and mended and after.returncode == 0 and not differs
    told = f"{len(sizes)} cuts of {len(whole)} bytes, each refused; the message names file and mend"
    bench.say("truncated index", fine, told if fine else f"{read} read; {done.stderr} {differs}")

    values = sorted(store.glob("values/*/*.value"))
    for path in values:
        data = path.read_bytes()
        at = bench.draw.randrange(len(data))
        cut = bench.draw.random() < 0.5
        path.write_bytes(data[:at] if cut else data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    longer = scenario(NAMES[0], 11, ROUNDS[NAMES[0]] + 20)
    out = bench.folder / "values.h5"
    done = bench.run("run", *longer, "--out", out, "--store", store)
    differs = bench.differs(out, *longer)
    fine = done.returncode == 0 and len(values) > 5 and not differs
    told = f"all {len(values)} values cut or altered: a longer run computes them anew, tables same"
    bench.say("spoilt values", fine, told if fine else f"{done.stderr} {differs}")


def main() -> None:
    """Make the checks; exit with 1 if any failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data-dir", help="where data sets lie; digits need none")
    parser.add_argument("--out", type=Path, help="a file for the lines, too")
    args = parser.parse_args()
    data = ["--data-dir", args.data_dir] if args.data_dir else []
    begun_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), data, random.Random(args.seed), args.out)
        kill_often(bench, args.kills)
        left_behind(bench)
        two_at_once(bench)
        full_disk(bench)
        spoilt(bench)
    checks = len(bench.lines)
    spent_s = time.monotonic() - begun_s
    bench.say(
        "in all", not bench.failed, f"{checks - bench.failed} of {checks} checks, {spent_s:.0f} s"
    )
    sys.exit(bool(bench.failed))


if __name__ == "__main__":
    main()
