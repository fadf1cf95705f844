"""The sections of a page that are of runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import pandas as pd
import plotly.graph_objects as go
import yaml

from simfl.record import Trace
from simfl.record.critical_path import critical_path
from simfl.reporting.answers import answers_table
from simfl.reporting.assumptions import assumptions_table
from simfl.reporting.blocks import Chart, Column, Section, Table, Text
from simfl.reporting.curves import (
    accuracy_chart,
    intervals_chart,
    summary_table,
    targets_of,
    targets_table,
)
from simfl.reporting.layers import densities, densities_figure, pruned
from simfl.reporting.nodes import devices_table, energy_figure, utilisation_figure
from simfl.reporting.rounds import (
    critical_path_figure,
    critical_path_table,
    gantt_figure,
    rounds_note,
)
from simfl.reporting.traffic import (
    bytes_table,
    layer_bytes,
    layers_figure,
    links_figure,
    links_note,
)

_PATH: Final = (
    "The chain of doings that a round's length is made of, followed back from its end: whose "
    "message or computation the next one waited for. Messages have what they wait in the network "
    "in them; “waiting” is where nothing was under way on the path. The parts add up to the round."
)
_LATER: Final = "Told at the end of a run."
Drawn = tuple[go.Figure | None, str]


def names_of(paths: Sequence[Path]) -> list[str]:
    """A short name for each run, none twice.

    >>> names_of([Path("a/run.h5"), Path("b/run.h5"), Path("fedavg.h5")])
    ['a/run', 'b/run', 'fedavg']
    """
    stems = [path.stem for path in paths]
    named = [
        stem if stems.count(stem) == 1 else f"{path.parent.name}/{stem}"
        for path, stem in zip(paths, stems, strict=True)
    ]
    return [
        name if named.count(name) == 1 else f"{name} ({number})"
        for number, name in enumerate(named, 1)
    ]


def run_sections(runs: Mapping[str, Trace], targets: Sequence[float] = ()) -> list[Section]:
    """All there is to say of some runs.

    Args:
        runs: traces by name.
        targets: accuracies to reach; else the scenarios' own, else one that all runs reach.
    """
    wanted, chosen = targets_of(runs, list(targets))
    scored = any(len(trace.curve) for trace in runs.values())
    reached = targets_table(runs, wanted, chosen) if wanted else None
    return [
        Section(
            title="Accuracy, time, bytes, energy",
            warnings=_warnings(runs),
            blocks=[
                summary_table(runs),
                *([accuracy_chart(runs, wanted)] if scored else []),
                *(intervals_chart(reached) if reached else []),
                *([reached] if reached else []),
            ],
        ),
        Section(
            title="Rounds",
            blocks=[
                *_chart("Critical path of a round", _PATH, runs, _path),
                critical_path_table(dict(runs)),
                *_chart(
                    "The first rounds",
                    "Computing above, messages below; of a message to or from the server, on the "
                    "other end's row. The line is the critical path.",
                    runs,
                    gantt_figure,
                ),
            ],
        ),
        Section(
            title="Network",
            blocks=[
                *_chart(
                    "Link utilisation",
                    "The share of what a link could have carried over the whole run, "
                    "acknowledgements included; of a cell, the share of its time on air (grey).",
                    runs,
                    _links,
                ),
                bytes_table(runs),
                *_chart(
                    "Bytes by layer",
                    "Bytes of all messages, as the scenario's codec counts each tensor. “of no "
                    "layer” is what a message has beside its tensors.",
                    runs,
                    _layer_bytes,
                ),
            ],
        ),
        Section(
            title="Model",
            blocks=[
                *_chart(
                    "Stored weights by layer",
                    "Of the server's model, or the first peer's, after each round: the share of "
                    "each weight's entries that is not pruned, of its first size.",
                    runs,
                    _layers,
                ),
                answers_table(runs),
            ],
        ),
        Section(
            title="Devices",
            blocks=[
                *_chart(
                    "Utilisation",
                    "Share of the run, mean of a device's nodes; the whiskers reach from the least "
                    "to the most. Sending and receiving go on beside computing.",
                    runs,
                    lambda t: (utilisation_figure(t), "") if len(t.energy) else (None, _LATER),
                ),
                *_chart(
                    "Energy",
                    "Joules of a node at the end of the run, by what it did.",
                    runs,
                    _energy,
                ),
                devices_table(runs),
            ],
        ),
        Section(
            title="What it rests on",
            blocks=[
                assumptions_table(runs),
                _versions(runs),
                *(Text(title=f"Scenario of {n}", body=t.scenario) for n, t in runs.items()),
            ],
        ),
    ]


def _chart(
    title: str,
    says: str,
    runs: Mapping[str, Trace],
    draw: Callable[[Trace], Drawn],
) -> list[Chart]:
    """A figure for each run to choose from; what they leave out is said below the title."""
    views = {}
    notes: dict[str, list[str]] = {}
    for name, trace in runs.items():
        drawn, note = draw(trace)
        if drawn is not None:
            views[name] = drawn
        if note:
            notes.setdefault(note.strip(), []).append(name)
    for note, names in notes.items():
        of = "" if len(names) == len(runs) else f"{', '.join(names)}: "
        says += f" {of}{note}"
    return [Chart(title=title, says=says, views=views)]


def _path(trace: Trace) -> Drawn:
    found = critical_path(trace)
    if not len(found):
        return None, "No round was ended."
    return critical_path_figure(found, peers=bool(trace.peers)), rounds_note(len(found))


def _links(trace: Trace) -> Drawn:
    links = trace.links
    if not len(links):
        return None, "No link limits it." if trace.complete else _LATER
    return links_figure(links), links_note(links)


def _layer_bytes(trace: Trace) -> Drawn:
    found = layer_bytes(trace)
    if not len(found):
        return None, "No message was sent."
    return layers_figure(found), ""


def _layers(trace: Trace) -> Drawn:
    found = densities(trace)
    if not len(found) or not pruned(found):
        return None, "Nothing was pruned: every weight is stored."
    return densities_figure(found)


def _energy(trace: Trace) -> Drawn:
    if not len(trace.energy):
        return None, _LATER
    return energy_figure(trace)


def _warnings(runs: Mapping[str, Trace]) -> list[str]:
    """What makes a run something else than its scenario says."""
    told: dict[str, list[str]] = {}
    for name, trace in runs.items():
        data, scenario = trace.dataset, yaml.safe_load(trace.scenario)
        notes = json.loads(_text(trace, "device_notes", "[]"))
        if not trace.complete:
            notes.append(f"not a complete run: {trace.status}")
        if data.get("stands_in"):
            notes.append(f"{data['name']} stood in for {data['asked']}")
        if scenario.get("scaled"):
            notes.append(f"scaled down: {scenario['scaled']}")
        for note in notes:
            told.setdefault(note, []).append(name)
    return [
        note if len(names) == len(runs) else f"{', '.join(names)}: {note}"
        for note, names in told.items()
    ]


def _versions(runs: Mapping[str, Trace]) -> Table:
    rows = []
    for name, trace in runs.items():
        data = trace.dataset
        rows.append(
            {
                "run": name,
                "seed": trace.attributes.get("seed"),
                "data": f"{data['name']} {data.get('digest', '')[:12]}",
                **json.loads(_text(trace, "versions", "{}")),
                "trace": trace.path.name,
            }
        )
    frame = pd.DataFrame(rows).fillna("")
    return Table(
        title="Data and versions",
        says="Of what computed each run.",
        file="versions",
        frame=frame,
        columns={str(name): Column(head=str(name)) for name in frame},
    )


def _text(trace: Trace, name: str, otherwise: str) -> str:
    return str(trace.attributes.get(name, otherwise))
