"""A first scenario as text: every key has a comment, and a first run ends within a minute.

Keys, defaults and comments are those of the options' own models and docstrings, so that a new
option shows here by itself. What is not asked is some rounds of a few steps, a target, and digits
where the data is not on the machine.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from typing import Any, Final

import yaml

from simfl import registry
from simfl.answers import Draft
from simfl.options import Options, attributes_of
from simfl.scenario.schema import Learning, Local, Record, Scenario, Stop, Variation

ROUNDS: Final = 50
_EVALUATE_EVERY: Final = 5
_STEPS: Final = 5
_BATCH_SIZE: Final = 20
_WIDTH: Final = 100
_COLUMN: Final = 36
_LONG: Final = 220
_SERVER: Final = "g3s_xlarge"
# algorithms that remove no weight: with them a sparse codec would save nothing
_WHOLE: Final = frozenset({"fedavg", "fedprox"})
_STAND_IN: Final = "digits"
# of keys whose docstrings say nothing, since their names do
_PLAIN: Final[Mapping[str, str]] = {
    "learning_rate": "of the first round",
    "weight_decay": "L2; 0 is none",
    "batch_size": "samples of a step",
    "epochs": "passes over the client's data, instead of steps",
    "rounds": "at most; what stop says may end them earlier",
    "center": "the node in the middle",
    "consecutive": "evaluations in a row that must reach it",
    "final_level": "the level at which that ends",
    "size": "pixels of a side, to which images are resized",
}


def render(draft: Draft) -> str:
    """The scenario's file."""
    return "\n".join([*_head(draft), *_learning(draft), *_platform(draft), *_course(draft), ""])


def title(draft: Draft) -> str:
    """What it is, in a line."""
    devices = ", ".join(f"{count} x {group}" for group, (_, count) in draft.groups.items())
    return f"{draft.algorithm} on {draft.learnt.dataset} with {draft.model}; {devices}"


def _head(draft: Draft) -> list[str]:
    return [
        f"# {title(draft)}.",
        "# By `simfl new`: change what you like, then `simfl validate` it. A value with a",
        "# dimension carries its unit. `simfl list KIND` has the names; `simfl schema`, every key.",
        *_line(0, f"name: {draft.name}", "of the run"),
        *_line(0, "seed: 1", "every random draw derives from it"),
        *_line(0, "repeats: 0", attributes_of(Scenario)["repeats"]),
        "",
    ]


def _learning(draft: Draft) -> list[str]:
    learnt, options = draft.learnt, draft.options
    data, told = registry.DATASETS.get(learnt.dataset), attributes_of(Learning)
    lines = [
        *_line(0, "learning:", "what is learnt; apart from how long it takes"),
        *_line(1, "dataset:", "simfl downloads nothing; `simfl doctor` says which ones are here"),
        *_line(2, f"name: {learnt.dataset}", "of `simfl list datasets`"),
        *_keys(2, data.options(**learnt.options)),
    ]
    if not data.needs_options and learnt.dataset != _STAND_IN:
        why = f"stands in where {learnt.dataset} is not on this machine: said aloud, and recorded"
        lines += _line(2, f"fallback: {_STAND_IN}", why)
    lines += [
        *_line(
            2,
            "partition: {name: iid}",
            "or {name: dirichlet, alpha: 0.5}; of `simfl list partitions`",
        ),
        *_line(2, "normalize: null", "models see values in [0, 1]; or {mean: [0.13], std: [0.31]}"),
        *_line(1, "model:", "the network"),
        *_line(2, f"name: {draft.model}", "of `simfl list models`"),
        *_keys(2, registry.MODELS.get(draft.model).options()),
        *_line(1, "algorithm:", "what clients and server do with it"),
        *_line(2, f"name: {draft.algorithm}", "of `simfl list algorithms`"),
        *_keys(2, options(**_settings(options)), examples=_examples(options)),
        *_line(1, "local:", "a client's turn in a round"),
        *_keys(
            2,
            Local(learning_rate=draft.habit.learning_rate, batch_size=_BATCH_SIZE, steps=_STEPS),
        ),
        *_line(1, "objective: []", f"{told['objective']} [{{name: proximal, mu: 1}}]"),
        *_line(1, "quantize: null", f"{told['quantize']} float16 or int8"),
        "",
    ]
    return lines


def _platform(draft: Draft) -> list[str]:
    kind, given = draft.network
    lines = [
        *_line(0, "platform:", "on which devices, over which wires"),
        *_line(1, "devices:", "group: model and count; of `simfl list devices`, or a file"),
    ]
    if not draft.peers:
        lines += _line(2, f"server: {{model: {_SERVER}}}", "prunes, averages; trains nothing")
    for group, (model, count) in draft.groups.items():
        what = "peers" if draft.peers else "clients"
        lines += _line(2, f"{group}: {{model: {model}, count: {count}}}", f"{what} that train")
    network: type[Options] = registry.NETWORKS.get(kind).options
    told = attributes_of(network)
    lines += [
        *_line(1, "network:", "who is wired to whom"),
        *_line(2, f"kind: {kind}", "of `simfl list networks`, each with options of its own"),
    ]
    for key, value in given.items():
        lines += _line(2, f"{key}: {_flow(value)}", _comment(network, key, told))
    if kind == "star" and not given:
        lines += _line(2, "access: null", told["access"])
    return [
        *lines,
        *_line(1, "variation:", "which of the possible worlds; `repeats` goes through them"),
        *_keys(2, Variation()),
        "",
    ]


def _course(draft: Draft) -> list[str]:
    topology, protocol = ("ring", "neighborhood") if draft.peers else ("star", "synchronous")
    codec = "dense" if draft.algorithm in _WHOLE else "bitmap"
    rounds = registry.PROTOCOLS.get(protocol).options(rounds=ROUNDS)
    return [
        *_line(0, "topology:", "who talks to whom"),
        *_line(1, f"name: {topology}", "of `simfl list topologies`"),
        *_keys(1, registry.TOPOLOGIES.get(topology).options()),
        *_line(0, "protocol:", "who does what after what"),
        *_line(1, f"name: {protocol}", "of `simfl list protocols`"),
        *_keys(1, rounds),
        *_line(0, "codec:", "what travels"),
        *_line(1, f"name: {codec}", "of `simfl list codecs`"),
        *_keys(1, registry.CODECS.get(codec).options()),
        "",
        *_line(0, "stop:", "whichever comes first"),
        *_keys(1, Stop(accuracy=draft.habit.target)),
        *_line(0, "record:", "what is written"),
        *_keys(1, Record(path=f"runs/{draft.name}.h5", evaluate_every=_EVALUATE_EVERY)),
    ]


def _settings(options: type[Any]) -> dict[str, Any]:
    """What an algorithm must be told: examples, and this training's rounds."""
    fields = options.model_fields
    spans = {
        name: ROUNDS
        for name in getattr(options, "spans_rounds", ())
        if fields[name].is_required() or fields[name].default is None
    }
    return _examples(options) | spans


def _examples(options: type[Any]) -> dict[str, Any]:
    """Values of the keys that have no default, from the small settings of the contract suite."""
    small: Mapping[str, Any] = next(iter(getattr(options, "examples", ())), {})
    fields = options.model_fields
    return {name: value for name, value in small.items() if fields[name].is_required()}


def _keys(depth: int, options: Options, examples: Iterable[str] = ()) -> list[str]:
    """A line for each option; those without a default first."""
    model, values = type(options), options.model_dump(mode="json")
    told = attributes_of(model)
    fields = sorted(model.model_fields, key=lambda name: not model.model_fields[name].is_required())
    lines = []
    for name in fields:
        comment = _comment(model, name, told)
        if name in set(examples):
            comment += "; has no default, this is an example"
        lines += _line(depth, f"{name}: {_flow(values[name])}", comment)
    return lines


def _comment(model: type[Options], name: str, told: Mapping[str, str]) -> str:
    """What the docstring says, and what may stand there where it does not."""
    text = told.get(name) or _PLAIN.get(name, "")
    schema = model.model_json_schema()["properties"][name]
    words = [
        str(word) for part in (schema, *schema.get("anyOf", ())) for word in part.get("enum", ())
    ]
    missing = [word for word in words if word not in text]
    if missing:
        text = f"{text.rstrip('.')}; one of {', '.join(words)}"
    return text.lstrip("; ") or name.replace("_", " ")


def _line(depth: int, text: str, comment: str) -> list[str]:
    """A key and its comment: behind it, or where that is too long above it, its first sentences."""
    text = "  " * depth + text
    while len(comment) > _LONG and ". " in comment:
        comment = comment.rpartition(". ")[0]
    comment = comment.rstrip(".")
    whole = f"{text:<{_COLUMN - 1}} # {comment}"
    if len(whole) <= _WIDTH:
        return [whole]
    begin = "  " * depth + "# "
    return [*textwrap.wrap(comment, _WIDTH, initial_indent=begin, subsequent_indent=begin), text]


def _flow(value: Any) -> str:
    """A value in one line of YAML."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6)
    return str(text).removesuffix("\n").removesuffix("\n...")
