"""The runs of the early PruneFL paper (Jiang et al. 2019), and which figure shows which of them.

Every run is scenarios/pi_lenet.yaml without its stop rule, under the changes here: Table 1, and
sections 5.1 to 5.4, 6.2, 6.3 and 6.5. Runs that several figures share are made once.

Where learning rates on FEMNIST are small (Figs. 16, 18), cross-entropy is the loss: with the
public code's they learn slower (Fig. 18, level 10, federation 300: 34.8 % against 41.7). The paper
names none. The two writers of the server's 389 samples (section 5.3) are not in
every lay-out of FEMNIST: the first writers' 389 are taken, and clients hold these too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Literal

from runs import complete

import simfl

SCENARIO = Path(__file__).parent.parent / "scenarios" / "pi_lenet.yaml"
INITIALS = {"sample": "sample_based", "init": "initialization", "random": "random"}
ROUNDS = 10_000  # of Figs. 6, 10 and 15 (section 5.1.3); no other figure has its length in print
FIVE_PI4 = "platform.devices={server: {model: g3s_xlarge}, pi4: {model: pi4, count: 5}}"
WRITERS = (
    "learning.dataset.name=femnist",
    "learning.algorithm.server_samples=389",
    "learning.algorithm.sample_choice=first_writers",
)
CONV_FEMNIST = (*WRITERS, "learning.model.name=conv_femnist", "learning.algorithm.rates=null")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Network, data and clients (Table 1).

    Attributes:
        every: federations between evaluations.
        federated: levels from which and to which federated pruning goes, and every how many
            federations.
    """

    changes: tuple[str, ...] = ()
    every: int = 10
    federated: tuple[int, int, int] = (5, 15, 100)


SETTINGS = {
    "lenet": Setting(),
    "fashion": Setting(
        changes=(
            FIVE_PI4,
            "learning.dataset.name=fashion_mnist",
            "learning.model.name=conv_fashionmnist",
            "learning.algorithm.rates=null",
            "learning.local.learning_rate=0.25",
        ),
        every=25,
    ),
    "femnist": Setting(
        changes=(FIVE_PI4, *CONV_FEMNIST, "learning.local.learning_rate=0.25"), every=25
    ),
    # the paper has 191 writers beside the server's two; 101 here, of a smaller sample of LEAF
    "sampled": Setting(
        changes=(
            FIVE_PI4.replace("count: 5", "count: 101"),
            *CONV_FEMNIST,
            "learning.dataset.partition={name: by_writer, least: 20}",
            "protocol.cohort=10",
            "learning.local.learning_rate=0.031",
            "learning.local.loss=cross_entropy",
        ),
        every=25,
    ),
    "vgg": Setting(
        changes=(
            FIVE_PI4,
            "learning.dataset.name=cifar10",
            "learning.model.name=vgg11_small_fc",
            "learning.algorithm.rates=[0.05,0.1,0.1,0.1,0.1,0.1,0.1,0.1,0.1,0.1,0.05]",
            "learning.algorithm.server_samples=500",
            "learning.local.learning_rate=0.35",
        ),
        every=100,
        federated=(10, 20, 200),
    ),
    "writers": Setting(
        changes=(
            FIVE_PI4,
            *WRITERS,
            "learning.algorithm.rates=[0.1,0.1,0.05]",
            "learning.local.learning_rate=0.05",
            "learning.local.loss=cross_entropy",
        ),
        federated=(10, 20, 200),
    ),
}


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        initial: of `INITIALS`.
        level: at which it ends.
        more: an option of the algorithm, as a scenario says it.
    """

    setting: str
    initial: str
    level: int
    federated: bool = False
    more: str = ""

    @property
    def name(self) -> str:
        """Of its trace, without the rounds."""
        parts = (self.setting, self.initial, str(self.level), "federated" * self.federated)
        return "-".join(part for part in (*parts, self.more.replace("=", "")) if part)

    def path(self, out: Path, rounds: int) -> Path:
        """Where its trace lies."""
        return out / f"{self.name}-{rounds}.h5"

    def changes(self, rounds: int) -> tuple[str, ...]:
        """Of scenarios/pi_lenet.yaml."""
        setting = SETTINGS[self.setting]
        first, last, every = setting.federated
        said = {
            "initial": INITIALS[self.initial],
            "level": first if self.federated else self.level,
        }
        if self.federated:
            said |= {"federated": "true", "final_level": last}
            said |= {"prune_every": max(1, min(every, rounds // 20))}
        rest = [f"learning.algorithm.{key}={value}" for key, value in said.items()]
        rest += [f"learning.algorithm.{self.more}"] * bool(self.more)
        # the dense network does not fit a Pi 3 (section 5.1.1)
        pi4 = [FIVE_PI4.replace("count: 5", "count: 10")]
        rest += pi4 * (self.setting == "lenet" and self.level == 0)
        return (
            *setting.changes,
            *rest,
            f"protocol.rounds={rounds}",
            f"record.evaluate_every={setting.every}",
            "stop.accuracy=null",
            "stop.time=null",
        )


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Some runs in one picture.

    Attributes:
        by: what the accuracy is drawn over.
    """

    title: str
    runs: Mapping[str, Run]
    by: Literal["time_s", "round", "level"] = "time_s"


def one_shot(setting: str, levels: Iterable[int], initials: Iterable[str]) -> dict[str, Run]:
    """Pruned at the server alone."""
    runs = [Run(setting, *both) for both in product(initials, levels)]
    return {f"{run.initial}, {run.level}": run for run in runs}


def four(setting: str) -> dict[str, Run]:
    """{sample-based, initialisation-based} x {one-shot, federated}, ending at one level."""
    level = SETTINGS[setting].federated[1]
    both = product(("sample", "init"), (False, True))
    return {
        f"{initial}, {'federated' if federated else 'one-shot'}": Run(
            setting, initial, level, federated
        )
        for initial, federated in both
    }


def length(trace: simfl.Trace) -> int:
    """Federations of a run."""
    return int(trace.curve["round"].max())


def longest(out: Path, run: Run) -> simfl.Trace | None:
    """Of a run's complete traces, the one of the most federations."""
    paths = out.glob(f"{run.name}-[0-9]*.h5")
    traces = [
        trace
        for path in paths
        if path.stem.removeprefix(f"{run.name}-").isdigit() and (trace := complete(path))
    ]
    return max(traces, key=length, default=None)


def halves(name: str, setting: str, levels: Iterable[int]) -> tuple[Panel, Panel]:
    """The two halves of Figs. 4, 13, 16, 17 and 18."""
    left = one_shot(setting, levels, ["sample"])
    return (
        Panel(title=f"{name} left: {setting}", runs=left),
        Panel(title=f"{name} right: {setting}", runs=four(setting)),
    )


def sizes(levels: Iterable[int]) -> dict[str, Run]:
    """Fig. 20: how many samples the server has; 60,000 take hours."""
    cases = product(levels, (200, 400, 600, 800))
    return {
        f"{size} samples, {level}": Run(
            "lenet", "sample", level, more=f"server_samples={size}" * (size != 200)
        )
        for level, size in cases
    }


BOTH = {
    "kept": Run("lenet", "sample", 15),
    "reinitialised": Run("lenet", "sample", 15, more="reinitialize=true"),
}
TENS, FIVES, SIXES = (10, 20, 30), (5, 10, 15, 20), (5, 10, 15, 20, 25, 30)
FIGURES = {
    "fig4": halves("Fig. 4", "lenet", FIVES),
    "fig5": (Panel(title="Fig. 5: lenet", runs=one_shot("lenet", FIVES, INITIALS)),),
    "fig6": (Panel(title="Fig. 6: lenet", runs=one_shot("lenet", SIXES, INITIALS), by="level"),),
    "fig9": (Panel(title="Fig. 9: fashion", runs=one_shot("fashion", TENS, INITIALS)),),
    "fig10": (
        Panel(title="Fig. 10: fashion", runs=one_shot("fashion", TENS, INITIALS), by="level"),
    ),
    "fig13": halves("Fig. 13", "femnist", (0, 4, 8, 12, 16, 20)),
    "fig14": (Panel(title="Fig. 14: femnist", runs=one_shot("femnist", TENS, INITIALS)),),
    "fig15": (
        Panel(title="Fig. 15: femnist", runs=one_shot("femnist", TENS, INITIALS), by="level"),
    ),
    "fig16": halves("Fig. 16", "sampled", FIVES),
    "fig17": halves("Fig. 17", "vgg", FIVES),
    "fig18": halves("Fig. 18", "writers", FIVES),
    "fig19": (Panel(title="Fig. 19: lenet, level 15", runs=BOTH, by="round"),),
    "fig20": (Panel(title="Fig. 20: lenet", runs=sizes(FIVES), by="round"),),
}
