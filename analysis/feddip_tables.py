"""Fig. 2, Tables III to V and Figs. 5 and 6 of FedDIP (Long et al. 2023), beside what simfl finds.

    python analysis/feddip_tables.py --run --data-dir DIR [--only feddip,snip] [--scale rounds=0.1]
    python analysis/feddip_tables.py

LeNet-5 on Fashion-MNIST, 5 of 50 clients. A run of 1,000 rounds takes some 30 minutes of one core,
so the six of Table III take three hours of one. Traces lie in --out; what is complete there is not
run again, and without --run the tables are read off them, and drawn in OUT/feddip.png. With a
--scale, schedules are shortened with the rounds, and the table says so.

A model's size is 32 bits for each entry of Mibit, as the paper's budgets are, which it calls MB.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from runs import arguments, complete, made

import simfl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

SHARDS = "learning.dataset.partition={name: pathological, classes: 2}"
PROX = "learning.objective=[{name: proximal, mu: 0.01}]"
BUDGET_MIBIT = 4000
TARGET = 0.85
FIRST_LAYER = (0.3, 0.4)
"""Section VI-C1: what the sparsity of a network's first layer lies between."""
CORRELATION = 0.91
"""There: of size and sparsity of LeNet-5's linear layers."""
LARGEST_DROP = 6.97
"""Section VI-C2: points of accuracy, LeNet-5 at 0.95 and 0.99."""


@dataclass(frozen=True, slots=True)
class Method:
    """One row: how it is run, and what the paper prints.

    Attributes:
        accuracy: Table III, V or, of extreme sparsity, what Fig. 6's drop leaves at most.
        at_budget: Table IV.
        leaps: rounds between two choices of weights by their gradients alone. Right after one, the
            model has lost large weights and not yet been trained; the public code evaluates it
            before its new mask is applied. Such evaluations are left out.
    """

    changes: tuple[str, ...]
    accuracy: float | None = None
    at_budget: float | None = None
    leaps: int | None = None


def algorithm(text: str) -> str:
    """An override of the algorithm."""
    return f"learning.algorithm={{name: {text}}}"


# PruneTrain's penalty is the public code's default: the paper's grid search names no winner
IID = {
    "fedavg": Method((algorithm("fedavg"),), 89.50, 86.76),
    "feddip": Method((), 88.26, 86.62),
    "feddp": Method(("learning.algorithm.penalty=0.0",), 88.06, 86.54),
    "snip": Method((algorithm("snip, sparsity: 0.9, loss: nll_on_outputs"),), 86.08, 86.32),
    "prunefl": Method(
        (
            algorithm(
                "prunefl_adaptive, target: schedule, horizon: 1000, importance: last_step, "
                "reconfigure_every: 20, server_samples: 600, server_passes: 30, server_every: 5"
            ),
        ),
        86.00,
        85.57,
        leaps=20,
    ),
    "prunetrain": Method((algorithm("prunetrain, horizon: 1000, penalty: 0.01"),), 84.36, 82.68),
}
EXTREME = {
    "feddip95": Method(("learning.algorithm.final_sparsity=0.95",)),
    "feddip99": Method(("learning.algorithm.final_sparsity=0.99",)),
}
SKEWED = {
    "noniid_fedavg": Method((SHARDS, algorithm("fedavg")), 76.42),
    "noniid_fedprox": Method((SHARDS, algorithm("fedprox, mu: 0.01")), 76.63),
    "noniid_feddipprox": Method((SHARDS, PROX), 74.49),
}
EVERY = IID | EXTREME | SKEWED


def path_of(out: Path, name: str, scale: str | None) -> Path:
    """Where the trace of a method lies."""
    return out / (f"{name}-{scale}.h5".replace("=", "") if scale else f"{name}.h5")


def traces(out: Path, names: dict[str, Method], scale: str | None) -> dict[str, simfl.Trace]:
    """What is complete."""
    every = {name: complete(path_of(out, name, scale)) for name in names}
    return {name: trace for name, trace in every.items() if trace is not None}


def last_five(name: str, trace: simfl.Trace) -> float:
    """Mean of the last five evaluations, in percent: what noise the last round has is averaged."""
    scores, leaps = trace.scores, EVERY[name].leaps
    if leaps:
        scores = scores[scores["round"] % leaps != 0]
    return 100 * float(scores["accuracy"].tail(5).mean())


def best_five(trace: simfl.Trace) -> float:
    """Mean of the five best, in percent: what Table V prints."""
    return 100 * float(trace.scores["accuracy"].nlargest(5).mean())


def table_3(found: dict[str, simfl.Trace]) -> None:
    """Accuracy at the end, and what is left of the model."""
    print("Table III: top-1 accuracy, LeNet-5, s_p = 0.9 (mean of the last five evaluations)")
    print("method        simfl   paper    diff   last   stored  rounds")
    for name, trace in found.items():
        ours, paper = last_five(name, trace), IID[name].accuracy
        assert paper is not None
        scores = trace.scores.iloc[-1]
        print(
            f"{name:12s} {ours:6.2f}  {paper:6.2f}  {ours - paper:+6.2f}  "
            f"{100 * scores['accuracy']:5.2f}  {int(scores['nonzero']):7,d}  {scores['round']:6d}"
        )
    order = sorted(found, key=lambda name: -last_five(name, found[name]))
    print(f"order: {' > '.join(order)}\n")


def table_4(found: dict[str, simfl.Trace]) -> None:
    """Accuracy within a budget of bytes: in the paper's count, and in bytes that really travel."""
    mibit = 2**20 / 8
    print(f"Table IV: accuracy at {BUDGET_MIBIT} Mibit (the paper's unit), and at as many MiB")
    print("method        Mibit   paper   at round     MiB")
    for name, trace in found.items():
        within = 100 * trace.accuracy_at_bytes(int(BUDGET_MIBIT * mibit))
        wide = 100 * trace.accuracy_at_bytes(BUDGET_MIBIT * 2**20)
        scores = trace.scores
        spent = scores["down_bytes"] + scores["up_bytes"]
        rounds = scores["round"][spent <= BUDGET_MIBIT * mibit].max()
        print(f"{name:12s} {within:6.2f}  {IID[name].at_budget:6.2f}  {rounds:9.0f}  {wide:6.2f}")
    print()


def to_target(found: dict[str, simfl.Trace]) -> None:
    """What no paper has: seconds, bytes and joules to an accuracy, on the scenario's devices."""
    print(f"To {TARGET:.0%} on 50 Raspberry Pi 4, 5 a round, behind 20 Mbit/s")
    print("method          hours   round      MiB       kJ   s/round   of it computing")
    for name, trace in found.items():
        time_s, round_ = trace.time_to_accuracy(TARGET), trace.rounds_to_accuracy(TARGET)
        if round_ is None:
            print(f"{name:12s}   never")
            continue
        reached = trace.scores[trace.scores["round"] == round_].iloc[0]
        nbytes = reached["down_bytes"] + reached["up_bytes"]
        joules = trace.joules_to_accuracy(TARGET)
        training = trace.activities[trace.activities["verb"] == "train"]
        seconds = (training["end_s"] - training["start_s"]).groupby(training["round"]).max().mean()
        whole = trace.activities["end_s"].max() / trace.scores["round"].max()
        print(
            f"{name:12s} {time_s / 3600:8.3f} {round_:7d} {nbytes / 2**20:8.1f} "
            f"{'unknown' if isnan(joules) else f'{joules / 1e3:8.1f}'} {whole:9.2f} {seconds:9.2f}"
        )
    print()


def at_rates(found: dict[str, simfl.Trace], rates: list[str]) -> None:
    """Hours to the target on slower links: the recorded runs, timed again; nothing is trained."""
    print(f"Hours to {TARGET:.0%} at other rates of every client's link, both ways")
    print("method       " + "".join(f"{rate:>14s}" for rate in rates))
    wires = ",".join(
        f"{{kind: access_links, down: {rate}, up: {rate}, latency: 10 ms}}" for rate in rates
    )
    for name, trace in found.items():
        if trace.rounds_to_accuracy(TARGET) is None:
            continue
        points = simfl.whatif(trace.path, f"stop.accuracy={TARGET}", f"platform.network={wires}")
        assert not points["anew"].any()
        hours = points["time_s"] / 3600
        print(f"{name:12s} " + "".join(f"{hour:14.3f}" for hour in hours))
    print()


def by_layer(trace: simfl.Trace) -> pd.DataFrame:
    """Size and sparsity of each layer's weights at the end."""
    last = trace.activities[trace.activities["verb"] == "aggregate"].iloc[-1]["manifest"]
    counts = trace.manifests[trace.manifests["manifest"] == last]
    weights = counts[counts["tensor"].str.endswith("weight")]
    layers = weights["tensor"].str.removesuffix(".weight")
    return weights.assign(layer=layers, sparsity=1 - weights["nonzero"] / weights["size"])


def correlation(layers: pd.DataFrame) -> float:
    """Of size and sparsity, linear layers; of the two convolutions it is 1 whatever they are."""
    linear = layers[~layers["layer"].str.startswith("conv")]
    return float(linear["sparsity"].corr(linear["size"]))


def fig_5(trace: simfl.Trace) -> None:
    """Sparsity of each layer at the end."""
    layers = by_layer(trace)
    print("Fig. 5: sparsity by layer, FedDIP (paper: the first layer between 0.3 and 0.4, least)")
    for row in layers.itertuples():
        print(f"  {row.tensor:16s} {row.size:7,d} weights  sparsity {row.sparsity:.3f}")
    rho = correlation(layers)
    print(f"  correlation of size and sparsity, linear layers: {rho:.2f} (paper: {CORRELATION})")
    print()


def others(out: Path, scale: str | None) -> None:
    """Fig. 6 and Table V."""
    found = traces(out, EXTREME | {"feddip": IID["feddip"], "fedavg": IID["fedavg"]}, scale)
    if "fedavg" in found:
        print(f"Fig. 6: FedDIP at extreme sparsity (paper: at most {LARGEST_DROP} points lost)")
        for name, trace in found.items():
            drop = last_five(name, trace) - last_five("fedavg", found["fedavg"])
            print(f"{name:12s} {last_five(name, trace):6.2f}  {drop:+6.2f} against fedavg")
        print()
    found = traces(out, SKEWED, scale)
    if found:
        print("Table V: two classes a client (mean of the five best)")
        for name, trace in found.items():
            paper = SKEWED[name].accuracy
            print(f"{name:18s} {best_five(trace):6.2f}   paper {paper}")
        print()


def figure(out: Path, scale: str | None) -> None:
    """Fig. 2, Tables III to V, Figs. 5 and 6."""
    found = traces(out, EVERY, scale)
    names = [name for name in IID if name in found]
    drawn, axes = plt.subplots(2, 3, figsize=(14, 8), layout="constrained")
    by_round, table_iii, table_iv, table_v, layers, extreme = axes.flat
    curves(by_round, {name: found[name] for name in names})
    for name, line in zip(names, list(by_round.get_lines()), strict=True):
        end = found[name].scores["round"].max()
        by_round.plot(end, IID[name].accuracy, "x", color=line.get_color())
    by_round.plot([], [], "kx", label="Table III")
    by_round.legend(fontsize="x-small")
    by_round.set(title="Fig. 2", ylabel="test accuracy, %")

    ours = {name: last_five(name, found[name]) for name in names}
    beside(table_iii, ours, {name: IID[name].accuracy for name in names})
    table_iii.set(title="Table III", xlabel="test accuracy, %")
    budget = int(BUDGET_MIBIT * 2**20 / 8)
    ours = {name: 100 * found[name].accuracy_at_bytes(budget) for name in names}
    beside(table_iv, ours, {name: IID[name].at_budget for name in names})
    table_iv.set(title=f"Table IV: at {BUDGET_MIBIT:,} Mibit", xlabel="test accuracy, %")
    skewed = [name for name in SKEWED if name in found]
    ours = {name: best_five(found[name]) for name in skewed}
    beside(table_v, ours, {name: SKEWED[name].accuracy for name in skewed})
    table_v.set(title="Table V: two classes a client", xlabel="mean of the five best, %")

    if "feddip" in found:
        sparsities(layers, by_layer(found["feddip"]))
    some = [name for name in ("fedavg", "feddip", *EXTREME) if name in found]
    curves(extreme, {name: found[name] for name in some})
    # the text's only number of it
    drop = last_five("fedavg", found["fedavg"]) - LARGEST_DROP
    extreme.axhline(drop, color="k", linestyle=":", label=f"text: drop of {LARGEST_DROP} at most")
    extreme.legend(fontsize="x-small")
    extreme.set(title="Fig. 6: extreme sparsity", ylabel="test accuracy, %")
    for axis in axes.flat:
        axis.grid(alpha=0.3)
    drawn.suptitle(
        f"FedDIP, LeNet-5 on Fashion-MNIST, simfl{f', scaled: {scale}' if scale else ''}"
    )
    drawn.savefig(out / "feddip.png", dpi=100)
    print(f"{out / 'feddip.png'} drawn")


def curves(axis: Axes, found: dict[str, simfl.Trace]) -> None:
    """Accuracy by round."""
    for name, trace in found.items():
        scores = trace.scores
        axis.plot(scores["round"], 100 * scores["accuracy"], linewidth=0.8, label=name)
    axis.set(xlabel="round", ylim=(60, 92))


def sparsities(axis: Axes, layers: pd.DataFrame) -> None:
    """Fig. 5, with what the text says of the first layer, and of size and sparsity."""
    bars = axis.bar(layers["layer"], layers["sparsity"], alpha=0.6)
    axis.bar_label(bars, [f"{size:,}" for size in layers["size"]], fontsize="x-small")
    low, high = FIRST_LAYER
    axis.plot([0, 0], FIRST_LAYER, "kx-", label=f"text: {low} to {high}, the least")
    rho = f"fc: correlation {correlation(layers):.2f} (text: {CORRELATION})"
    axis.plot([], [], " ", label=rho)
    axis.set(title="Fig. 5: FedDIP by layer", ylabel="sparsity; weights above", ylim=(0, 1.2))
    axis.legend(fontsize="x-small", loc="upper left")


def beside(axis: Axes, ours: dict[str, float], paper: dict[str, float | None]) -> None:
    """A row for each name, with simfl's point and the paper's."""
    rows = range(len(ours))
    axis.plot(list(ours.values()), rows, "o", label="simfl")
    for row, value in zip(rows, ours.values(), strict=True):
        axis.annotate(f"{value:.2f}", (value, row), (0, 8), textcoords="offset points", ha="center")
    axis.plot([paper[name] for name in ours], rows, "kx", markersize=9, label="paper")
    axis.set_yticks(rows, list(ours))
    axis.margins(x=0.15, y=0.2)
    axis.invert_yaxis()
    axis.legend(fontsize="x-small")


def main() -> None:
    """Run what is asked for, print what is there."""
    parser = arguments(__doc__, "runs/feddip")
    parser.add_argument("--run", action="store_true")
    parser.add_argument("--only", help=f"of {', '.join(EVERY)}")
    parser.add_argument("--scale")
    parser.add_argument("--rates", default="0.1 Mbit/s,0.5 Mbit/s,2 Mbit/s,20 Mbit/s")
    args = parser.parse_args()
    for name in (args.only.split(",") if args.only else EVERY) if args.run else ():
        path, data_dir = path_of(args.out, name, args.scale), args.data_dir
        how = {"scale": args.scale, "executor": "batched"}
        made("feddip_lenet", EVERY[name].changes, path, data_dir=data_dir, **how)
    found = traces(args.out, IID, args.scale)
    if found:
        scaled = {t.scenario.partition("scaled: ")[2].partition("\n")[0] for t in found.values()}
        if args.scale:
            print(f"scaled down: {', '.join(scaled)}; the paper's figures are of 1,000 rounds\n")
        table_3(found)
        table_4(found)
        to_target(found)
        at_rates(found, args.rates.split(","))
    if "feddip" in found:
        fig_5(found["feddip"])
    others(args.out, args.scale)
    if "fedavg" in found:
        figure(args.out, args.scale)


if __name__ == "__main__":
    main()
