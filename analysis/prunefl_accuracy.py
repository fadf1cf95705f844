"""Accuracies in the early PruneFL paper (Jiang et al. 2019): Figs. 4-6, 9, 10, 13-20, Tables 3, 4.

    python analysis/prunefl_accuracy.py --data-dir DIR [--only fig4,fig18] [--rounds 2000]
    python analysis/prunefl_accuracy.py [--figure FILE.png]               # what is there

The runs are those of prunefl_experiments.py, one seed. With --data-dir what is missing is run (of
the runs whose names --match, e.g. 'lenet-*-15'). Then, of the longest complete trace of each run
in --out: the tables, each claim of the paper's text beside what was found, and a picture; runs of
different lengths are compared where the shortest ends. --rounds shortens runs; federated pruning
then takes a level at least every twentieth of them.

Used: gradients and initial weights were chosen on Table 3's rows of level 15 (docs/prunefl.md).
The rest is predicted. Crosses are Tables 3 and 4.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatch
from functools import partial
from itertools import cycle, pairwise
from math import isnan
from pathlib import Path

import matplotlib as mpl
from prunefl_experiments import (
    BOTH,
    FIGURES,
    FIVES,
    INITIALS,
    ROUNDS,
    SCENARIO,
    SIXES,
    Panel,
    Run,
    length,
    longest,
    sizes,
)
from runs import made

import simfl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

# more than a guess: twice its share of ten classes, and above the most frequent of FEMNIST's
LEARNS = 0.2
MARKS = (1_000, 2_000, 10_000)  # federations of Figs. 6, 10, 15
# (federations, seconds) to 95 % in ten evaluations in a row; None where the paper prints N/A
TABLE_3 = {
    ("sample", 5): (500, 6322), ("sample", 10): (1000, 3958),
    ("sample", 15): (1500, 3157), ("sample", 20): (7300, 7214),
    ("init", 5): (700, 10093), ("init", 10): (1600, 5320),
    ("init", 15): (9200, 5964), ("init", 20): None,
    ("random", 5): (800, 10907), ("random", 10): (1900, 7130),
    ("random", 15): (12400, 8996), ("random", 20): None,
}  # fmt: skip
# accuracy at federation 10,000, %; baseline: after the server's sample-based pruning
TABLE_4 = {
    "sample": (98.1, 97.7, 97.1, 95.4, 91.7, 84.5),
    "init": (98.1, 97.4, 95.2, 86.1, 31.8, 14.5),
    "random": (98.0, 97.3, 95.1, 85.5, 30.1, 13.2),
    "baseline": (83.2, 82.8, 82.4, 81.3, 79.5, 76.1),
}
Found = dict[Run, simfl.Trace]


def accuracy_at(trace: simfl.Trace, round: int) -> float:
    """Percent, evaluated at that federation; nan if it never was."""
    at = trace.curve.loc[trace.curve["round"] == round, "accuracy"]
    return 100 * float(at.iloc[0]) if len(at) else float("nan")


def late(trace: simfl.Trace, until: int | None = None) -> float:
    """Mean of the evaluations in the last twentieth, in percent; or in that before a federation."""
    end = length(trace) if until is None else until
    some = trace.curve["round"].between(0.95 * end, end, inclusive="right")
    return 100 * float(trace.curve.loc[some, "accuracy"].mean())


def common(traces: Iterable[simfl.Trace]) -> int:
    """How far all of them go; runs are compared there."""
    return min(map(length, traces))


def reached(trace: simfl.Trace) -> tuple[int | None, float]:
    """Federations and seconds to 95 % in ten evaluations in a row."""
    return trace.rounds_to_accuracy(0.95, 10), trace.time_to_accuracy(0.95, 10)


def table_3(found: Found) -> None:
    """Federations and seconds to 95 %."""
    print("\nTable 3: to 95 % in ten evaluations in a row; in brackets the paper's")
    for (initial, level), paper in TABLE_3.items():
        if trace := found.get(Run("lenet", initial, level)):
            rounds, time_s = reached(trace)
            ours = f"{rounds:6d}  {time_s:6.0f} s" if rounds else f"not in {length(trace)}"
            ratio = f"  federations x {rounds / paper[0]:.2f}" if rounds and paper else ""
            print(f"  {initial:6} {level:2}  {ours:>16}  {paper or 'N/A'}{ratio}")


def table_4(found: Found) -> None:
    """Accuracy at the end, and before the first federation."""
    print("\nTable 4: accuracy, %; the paper's is of federation 10,000")
    for initial, row in TABLE_4.items():
        baseline = initial == "baseline"
        for level, paper in zip(SIXES, row, strict=True):
            if trace := found.get(Run("lenet", "sample" if baseline else initial, level)):
                at = 0 if baseline else min(length(trace), ROUNDS)
                ours = accuracy_at(trace, at)
                print(
                    f"  {initial:8} {level:2}  {ours:5.2f} at {at:6,}   paper {paper}  "
                    f"{ours - paper:+.2f}"
                )


def claim(where: str, text: str, finding: str, holds: bool | None) -> None:
    """A sentence of the paper, what was found, and whether it holds here."""
    verdict = {True: "holds", False: "DOES NOT HOLD", None: "not decided"}[holds]
    print(f"{where}: {text}\n    {finding}: {verdict}")


def said(values: Mapping[str, float], form: str = ".2f") -> str:
    """Names and numbers in a line."""
    return "; ".join(f"{name} {value:{form}}" for name, value in values.items())


def about_levels(name: str, found: Found) -> None:
    """Figs. 6, 10, 15: by level and initial pruning; the left halves by level alone."""
    table: dict[int, dict[str, float]] = defaultdict(dict)
    until = common(found.values())
    print(f"    at federation {until:,}")
    for run, trace in found.items():
        table[run.level][run.initial] = late(trace, until)
    rows = [table[level] for level in sorted(table) if len(table[level]) == len(INITIALS)]
    for level in sorted(table):
        print(f"    level {level:2}: {said(table[level])}")
    if rows:
        best = all(row["sample"] == max(row.values()) for row in rows)
        claim(name, "sample-based is best at all levels", f"{len(rows)} levels", best)
        above = all(row["init"] >= row["random"] for row in rows)
        claim(
            name,
            "initialisation-based is comparable to or better than random",
            f"least lead {min(row['init'] - row['random'] for row in rows):+.2f} points",
            above,
        )
    for initial in INITIALS:
        line = [table[level][initial] for level in sorted(table) if initial in table[level]]
        if len(line) > 1:
            falls = all(a >= b for a, b in pairwise(line))
            claim(name, f"{initial}: accuracy falls with the level", f"{len(line)} levels", falls)


def about_four(name: str, found: Found) -> None:
    """The right halves: what is best at the end, and early."""
    runs = {label: run for label, run in FIGURES[name][1].runs.items() if run in found}
    if not runs:
        return
    until = common(found[run] for run in runs.values())
    ends = {label: late(found[run], until) for label, run in runs.items()}
    print(f"    at federation {until:,}: {said(ends)}")
    for better, worse, text in (
        ("sample, one-shot", "init, one-shot", "samples are better than none, one-shot"),
        ("sample, federated", "init, federated", "samples are better than none, federated"),
        ("sample, federated", "sample, one-shot", "federated is better than one-shot, sample"),
        ("init, federated", "init, one-shot", "federated is better than one-shot, init"),
    ):
        if better in ends and worse in ends:
            lead = ends[better] - ends[worse]
            claim(f"{name} right, at the end", text, f"{lead:+.2f} points", lead > 0)
    if name == "fig4" and len(runs) == 4:
        for until_s in (250, 500, 1_000, 1_500):
            at = {label: _before(found[run], until_s) for label, run in runs.items()}
            first = max(at, key=lambda label: at[label])
            text = f"sample, one-shot leads after {until_s:,} s"
            claim("fig4 right, before 1,500 s", text, said(at), first == "sample, one-shot")
    if name == "fig13" and "init, federated" in runs:
        most = 100 * found[runs["init, federated"]].curve["accuracy"].max()
        text = "sample-less federated stays unimproved until 20,000 s"
        claim("fig13 right", text, f"at most {most:.2f} %", most < 10)


def _before(trace: simfl.Trace, until_s: float) -> float:
    """The last accuracy found by then, in percent."""
    return 100 * float(trace.curve.loc[trace.curve["time_s"] <= until_s, "accuracy"].iloc[-1])


def about_speed(name: str, found: Found) -> None:
    """The left halves: which level is the fastest to what all of them reach."""
    runs = [run for run in FIGURES[name][0].runs.values() if run in found]
    if len(runs) < 2:
        return
    goal = 0.95 if name == "fig4" else min(late(found[run]) for run in runs) / 100
    held = 10 if name == "fig4" else 1
    spent = {str(run.level): found[run].time_to_accuracy(goal, held) for run in runs}
    finding = f"seconds to {goal:.1%} by level: {said(spent, '.0f')}"
    if name == "fig4":
        fastest = min(spent, key=lambda level: spent[level])
        known = None if min(spent.values()) == float("inf") else fastest == "15"
        claim("fig4 left", "level 15 is the first at 95 %", finding, known)
        return
    times = list(spent.values())
    claim(f"{name} left", "the sparser, the faster", finding, times == sorted(times)[::-1])


def about_start(name: str, found: Found) -> None:
    """Fig. 14: federations until a model is better than guessing."""
    runs = {label: run for label, run in FIGURES[name][0].runs.items() if run in found}
    waits = {}
    for label, run in runs.items():
        first = found[run].rounds_to_accuracy(LEARNS)
        waits[label] = float("inf") if first is None else first
    print(f"    federations to {LEARNS:.0%}: {said(waits, '.0f')}")
    for level in sorted({run.level for run in runs.values()}):
        own, *others = (waits.get(f"{initial}, {level}") for initial in INITIALS)
        if own is not None and None not in others:
            finding = f"{own:.0f} against {', '.join(f'{o:.0f}' for o in others)}"
            cold = all(other > own for other in others)
            claim(name, f"level {level}: only without samples is there a cold start", finding, cold)


def about_pair(name: str, found: Found) -> None:
    """Figs. 19 and 20: curves over federations."""
    runs = {label: run for label, run in FIGURES[name][0].runs.items() if run in found}
    marks = (0, 100, 250, 500, 1_000)
    for label, run in runs.items():
        at = {f"at {mark}": accuracy_at(found[run], mark) for mark in marks}
        print(f"    {label}: {said(at)}; in the end {late(found[run]):.2f}")
    if name == "fig19" and len(runs) == 2:
        ends = [late(found[run]) for run in runs.values()]
        lead = ends[0] - ends[1]
        text = "no obvious difference in the end (here: below 0.5 points)"
        claim(name, text, f"keeping leads by {lead:+.2f}", abs(lead) < 0.5)
        lead = accuracy_at(found[BOTH["kept"]], 100) - accuracy_at(
            found[BOTH["reinitialised"]], 100
        )
        text = "keeping is marginally faster in early federations"
        known = None if isnan(lead) else lead > 0
        claim(name, text, f"{lead:+.2f} points at federation 100", known)
    for level in FIVES if name == "fig20" else ():
        line = [found[run] for run in sizes([level]).values() if run in found]
        if len(line) > 1:
            until = common(line)
            for what, value in (
                ("starts higher", partial(accuracy_at, round=0)),
                (f"is higher at federation {until:,}", partial(late, until=until)),
            ):
                values = [value(trace) for trace in line]
                finding = ", ".join(f"{v:.2f}" for v in values)
                text = f"level {level}: with more samples it {what}"
                claim(name, text, finding, values == sorted(values))


def claims(name: str, found: Found) -> None:
    """What the text says of a figure, and what was found."""
    own = {run: found[run] for p in FIGURES[name] for run in p.runs.values() if run in found}
    if not own:
        return
    print(f"\n{name}")
    reads: tuple[Callable[[str, Found], None], ...] = {
        "fig6": (about_levels,),
        "fig9": (about_start,),
        "fig10": (about_levels,),
        "fig14": (about_start,),
        "fig15": (about_levels,),
        "fig19": (about_pair,),
        "fig20": (about_pair,),
    }.get(name, (about_speed, about_four) if len(FIGURES[name]) == 2 else ())
    for read in reads:
        read(name, own)


def draw_curves(axis: Axes, panel: Panel, found: Found) -> None:
    """A line for each run; its colour says the first of what differs, its style the rest."""
    runs = panel.runs.values()
    sorts = ([r.initial for r in runs], [r.more for r in runs], [r.level for r in runs])
    sort = next(each for each in sorts if len(set(each)) > 1)
    colours = {kind: f"C{number}" for number, kind in enumerate(dict.fromkeys(sort))}
    styles = {kind: cycle(("-", "--", "-.", ":")) for kind in colours}
    marked = False
    for (label, run), kind in zip(panel.runs.items(), sort, strict=True):
        colour, style = colours[kind], next(styles[kind])
        if run not in found:
            continue
        x, y = found[run].curve[panel.by], 100 * found[run].curve["accuracy"]
        axis.plot(x, y, style, color=colour, linewidth=0.9, label=label)
        paper = TABLE_3.get((run.initial, run.level)) if run.setting == "lenet" else None
        if paper and panel.by == "time_s" and not run.federated and not run.more:
            axis.plot(paper[1], 95, "x", color=colour)
            marked = True
    if marked:
        axis.plot([], [], "kx", label="Table 3")
    axis.set(xlabel="simulated seconds" if panel.by == "time_s" else "federations")
    if panel.by == "time_s":
        # the server's pruning without samples takes a millisecond
        axis.set_xscale("log")
        axis.set_xlim(left=10)
    axis.legend(fontsize=6, ncols=2 if len(panel.runs) > 6 else 1)


def draw_levels(axis: Axes, panel: Panel, found: Found, rounds: int) -> None:
    """A line for each initial pruning and mark that was reached, over levels."""
    printed = any(run.setting == "lenet" for run in panel.runs.values())
    for number, initial in enumerate(INITIALS):
        runs = [run for run in panel.runs.values() if run.initial == initial and run in found]
        for mark, style in zip((min(rounds, MARKS[0]), *MARKS[1:]), ("-", "--", ":"), strict=True):
            line = {run.level: accuracy_at(found[run], mark) for run in runs}
            if not all(map(isnan, line.values())):
                (drawn,) = axis.plot(list(line), list(line.values()), f"{style}o")
                drawn.set(color=f"C{number}", markersize=3, linewidth=0.9)
                drawn.set_label(f"{initial}, {mark:,}")
        if printed:
            axis.plot(SIXES, TABLE_4[initial], "x", color=f"C{number}")
    if printed:
        axis.plot([], [], "kx", label="Table 4: 10,000")
    axis.set(xlabel="pruning level")
    axis.legend(fontsize=6)


def draw(found: Found, path: Path) -> None:
    """A panel for each figure of which there is a run; crosses are Tables 3 and 4."""
    panels = [p for both in FIGURES.values() for p in both if found.keys() & {*p.runs.values()}]
    rows = -(-len(panels) // 4)
    drawn, axes = plt.subplots(
        rows, 4, squeeze=False, figsize=(15, 3.1 * rows), layout="constrained"
    )
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    for axis, panel in zip(axes.flat, panels, strict=False):
        lengths = sorted({length(found[run]) for run in panel.runs.values() if run in found})
        rounds = lengths[0]
        if panel.by == "level":
            draw_levels(axis, panel, found, rounds)
        else:
            draw_curves(axis, panel, found)
        some = " or ".join(f"{rounds:,}" for rounds in lengths)
        axis.set_title(f"{panel.title}, {some} federations", fontsize=8)
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.3)
    for axis in axes[:, 0]:
        axis.set_ylabel("test accuracy, %")
    drawn.suptitle("one seed, shortened where there are fewer than 10,000 federations", fontsize=9)
    drawn.savefig(path, dpi=70)
    print(f"\n{path} drawn")


def main() -> None:
    """Run what is missing, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data-dir", type=Path, help="run what is missing")
    parser.add_argument("--only", default=",".join(FIGURES))
    parser.add_argument("--match", default="*", help="names of runs to make")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--out", type=Path, default=Path("runs/prunefl"))
    parser.add_argument("--figure", type=Path)
    args = parser.parse_args()
    names = args.only.split(",")
    runs = dict.fromkeys(r for name in names for p in FIGURES[name] for r in p.runs.values())
    if args.data_dir:
        for run in (run for run in runs if fnmatch(run.name, args.match)):
            path = run.path(args.out, args.rounds)
            # the runs are short turns of small models: one process, no store of every state
            made(
                SCENARIO,
                run.changes(args.rounds),
                path,
                data_dir=args.data_dir,
                executor="inline",
                store=False,
            )
            print(f"{path} is there", flush=True)
    found = {run: trace for run in runs if (trace := longest(args.out, run))}
    table_3(found)
    table_4(found)
    for name in names:
        claims(name, found)
    if args.figure:
        draw(found, args.figure)


if __name__ == "__main__":
    main()
