"""Kill a run at a random moment, resume it, and compare with one that was never killed.

    python analysis/kill_and_resume.py [--times 20] [--rounds 120] [--data-dir DATA]

Every trial runs the scenario in a process of its own, SIGKILLs it after a random time (for one in
three also the resumed process), resumes to the end, and compares every table byte for byte.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from simfl.record import Trace
from simfl.record.schema import COLUMNS


def command(*words: str) -> list[str]:
    """A simfl command line for this interpreter."""
    return [sys.executable, "-m", "simfl", *words]


def killed(words: list[str], after_s: float) -> bool:
    """Start a process and SIGKILL it after some seconds; False if it had ended by itself."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    try:
        process.wait(after_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True
    return False


def same(one: Trace, other: Trace) -> bool:
    """Whether all tables are equal byte for byte."""
    return all(one.raw(t).tobytes() == other.raw(t).tobytes() for t in COLUMNS)


def main() -> None:
    """Run the trials; exit with 1 if any differed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=120)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data-dir")
    args = parser.parse_args()
    data = ["--data-dir", args.data_dir] if args.data_dir else []
    draw = random.Random(args.seed)
    changes = [
        f"protocol.rounds={args.rounds}",
        "stop.accuracy=null",
        "learning.algorithm.initial=random",
        "record.checkpoint_every=20",
    ]
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole.h5"
        words = command("run", "pi_lenet", *changes, "--quiet", *data)
        begun = time.perf_counter()
        subprocess.run([*words, "--out", str(whole)], check=True)
        length = time.perf_counter() - begun
        reference, differed = Trace(whole), 0
        print(f"never killed: {length:.1f} s, {reference.status}")
        for trial in range(args.times):
            path = Path(folder) / f"trial_{trial}.h5"
            moments = [draw.uniform(0.25, 1.0) * length]
            died = killed([*words, "--out", str(path)], moments[0])
            again = command("resume", str(path), "--quiet", *data)
            if died and path.exists() and trial % 3 == 0:
                moments.append(draw.uniform(0.25, 1.0) * length)
                killed(again, moments[1])
            at = Trace(path).raw("activities") if path.exists() else []
            if path.exists():
                subprocess.run(again, check=True)
            else:
                # killed before there was a trace: nothing to resume
                subprocess.run([*words, "--out", str(path)], check=True)
            equal = same(Trace(path), reference)
            differed += not equal
            left = [p.name for p in path.parent.glob(f"{path.name}.*")]
            print(
                f"trial {trial:2}: killed at {', '.join(f'{m:.2f} s' for m in moments)} "
                f"({len(at)} of {len(reference.raw('activities'))} activities on disk): "
                f"{'identical' if equal else 'DIFFERENT'}{' left ' + str(left) if left else ''}",
                flush=True,
            )
    print(f"{args.times - differed} of {args.times} identical")
    sys.exit(differed > 0)


if __name__ == "__main__":
    main()
