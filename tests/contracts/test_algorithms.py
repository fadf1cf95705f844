"""What every algorithm must do, whichever it is: found by the registry, played by its examples."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

import simfl
from simfl.algorithms.fedavg import AveragedSGD, told
from simfl.datasets.base import Dataset
from simfl.errors import OptionError, ProtocolError
from simfl.learning.problem import LocalUpdate, Problem
from simfl.learning.state import ModelState, Payload, Received, Turn
from simfl.objectives.proximal import Proximal
from simfl.registry import ALGORITHMS, PROTOCOLS
from simfl.tensors import Masks, NamedTensors
from simfl.work import Participant, Passes, Storage, Workload

MakeProblem = Callable[..., Problem]

LOCAL = {
    "learning_rate": 0.2,
    "batch_size": 5,
    "optimizer": "adam",
    "momentum": 0.5,
    "weight_decay": 0.1,
    "steps": 4,
    "epochs": 2,
    "loss": "bce_with_logits",
    "gradients": "accumulate",
    "order": "sequential",
    "rate_decay": 0.5,
    "augment": ("flip",),
}
SERVER = Participant(index=-1, samples=0)
NAMES = ALGORITHMS.names()


@pytest.fixture
def make_problem(make_problem: MakeProblem, request: pytest.FixtureRequest) -> MakeProblem:
    """With filters for who needs them."""
    params = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    filters = "name" in params and ALGORITHMS.get(params["name"]).options.needs_filters
    return partial(make_problem, filters=filters)


def build(name: str, problem: Problem, **options: Any) -> Any:
    plugin = ALGORITHMS.get(name)
    return plugin.build(plugin.options.model_validate(options), problem)


def examples(name: str) -> tuple[Mapping[str, Any], ...]:
    found: tuple[Mapping[str, Any], ...] = ALGORITHMS.get(name).options.examples
    return found


VARIANT = pytest.mark.parametrize(
    ("name", "options"),
    [
        pytest.param(name, options, id=f"{name}-{number}")
        for name in NAMES
        for number, options in enumerate(examples(name))
    ],
)
HOW = pytest.mark.parametrize(
    "how",
    [
        {},
        {"momentum": 0.9, "weight_decay": 0.01, "rate_decay": 0.9},
        {"gradients": "accumulate", "order": "sequential", "loss": "bce_with_logits"},
        {"steps": None, "epochs": 2, "optimizer": "adam", "learning_rate": 0.01},
        {"objective": (Proximal(mu=0.5),), "quantize": "int8"},
    ],
    ids=["plain", "momentum and decay", "public code", "epochs by adam", "proximal and int8"],
)


def bits(part: Any) -> Any:
    """All of a state or payload, as copies."""
    if isinstance(part, Tensor):
        return part.numpy().tobytes()
    if isinstance(part, NamedTensors | Masks):
        return part.layout, part.flat.numpy().tobytes()
    if is_dataclass(part):
        return [(field.name, bits(getattr(part, field.name))) for field in fields(part)]
    return repr(part)


def checked(algorithm: Any, verb: str, *args: Any) -> Any:
    """A verb's result, once its arguments are as they were and its rule told its counts."""
    states = [a for a in args if isinstance(a, ModelState)]
    states += [a.payload for a in args if isinstance(a, Received)]
    states += [a for a in args if isinstance(a, Payload)]
    states += [r.payload for a in args if isinstance(a, tuple) for r in a]
    before = [bits(state) for state in states]
    result = getattr(algorithm, verb)(*args)
    assert [bits(state) for state in states] == before, f"{verb} changed an argument"
    foretold = algorithm.counts[verb](algorithm, *map(counted, args)) if args else None
    if foretold is not None:
        assert foretold == result.manifest(), f"the rule for {verb}"
    kept = result.masks if isinstance(result, Payload) else result.structure
    if kept is not None:
        assert not result.tensors.flat[kept.flat == 0].any(), f"{verb} left what is pruned"
    return result


def rebasable(update: Payload, now: Payload) -> bool:
    """What the asynchronous protocol asks: every tensor of the present model, in its shape."""
    shapes = {tensor.name: tensor.shape for tensor in update.manifest().tensors}
    return all(shapes.get(tensor.name) == tensor.shape for tensor in now.manifest().tensors)


def counted(arg: Any) -> Any:
    if isinstance(arg, Received):
        return Received(arg.payload.manifest(), arg.sender)
    if isinstance(arg, tuple):
        return tuple(map(counted, arg))
    return arg.manifest() if isinstance(arg, ModelState | Payload) else arg


def played(algorithm: Any, clients: tuple[int, ...] = (0, 1, 2, 3)) -> Iterator[tuple[str, Any]]:
    """Three rounds of all verbs, of a server with clients, and a peer's mixing in each."""
    who = algorithm.problem.participants
    model = algorithm.initial()
    yield "initial", bits(model)
    held: dict[int, Any] = {}
    for round in (1, 2, 3):
        updates = {}
        for client in clients:
            before = held.get(client) if algorithm.keeps_client_state else None
            address = (who[client],) if algorithm.addresses else ()
            down = checked(algorithm, "share", model, *address)
            local = algorithm.adopt(before, Received(down, SERVER))
            kept = None if before is None else before.manifest()
            sent = Received(down.manifest(), SERVER)
            assert algorithm.counts["adopt"](algorithm, kept, sent) == local.manifest()
            held[client] = checked(algorithm, "train", local, Turn(client, round))
            updates[client] = checked(algorithm, "share", held[client])
            yield f"update {client} of {round}", bits(updates[client])
        received = tuple(Received(updates[c], who[c]) for c in sorted(updates))
        before, model = model, checked(algorithm, "aggregate", model, received)
        yield f"round {round}", bits(model)
        for client in clients:
            address = (who[client],) if algorithm.addresses else ()
            base, now = (algorithm.share(state, *address) for state in (before, model))
            if rebasable(updates[client], now):
                fresh = checked(algorithm, "rebase", now, updates[client], base, 0.5)
                yield f"rebased {client} of {round}", bits(fresh)
        try:
            yield f"mixed {round}", bits(checked(algorithm, "mix", held[0], received[1:]))
        except ProtocolError as error:
            yield f"mixed {round}", str(error)
    yield "score", algorithm.score(model)


@VARIANT
@HOW
def test_the_same_arguments_give_the_same_bits(
    make_problem: MakeProblem, name: str, options: Mapping[str, Any], how: Mapping[str, Any]
) -> None:
    first = build(name, make_problem(**how), **options)
    once = dict(played(first))
    # in the same process after other work, and as built anew; clients in another order
    assert dict(played(first, (2, 0, 3, 1))) == once
    assert dict(played(build(name, make_problem(**how), **options))) == once


@VARIANT
def test_turns_side_by_side_are_as_alone(
    make_problem: MakeProblem, name: str, options: Mapping[str, Any]
) -> None:
    algorithm = build(name, make_problem(clients=7), **options)
    model = algorithm.initial()
    for round in (1, 2):
        local = algorithm.adopt(None, Received(algorithm.share(model), SERVER))
        turns = [(local, Turn(client, round)) for client in range(7)]
        together = algorithm.train_all(turns)
        assert [bits(t) for t in together] == [bits(algorithm.train(*turn)) for turn in turns]
        who = algorithm.problem.participants
        received = (Received(algorithm.share(s), w) for s, w in zip(together, who, strict=True))
        model = algorithm.aggregate(model, tuple(received))


@VARIANT
def test_the_global_random_stream_decides_nothing(
    make_problem: MakeProblem, name: str, options: Mapping[str, Any]
) -> None:
    found = []
    for seed in (1, 2):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            found.append(dict(played(build(name, make_problem(), **options))))
    assert found[0] == found[1]


@VARIANT
def test_the_forecast_has_the_tensors_of_the_first_state_and_no_less_of_them(
    make_problem: MakeProblem, name: str, options: Mapping[str, Any]
) -> None:
    algorithm = build(name, make_problem(), **options)
    found = algorithm.initial().manifest().tensors
    foretold = algorithm.forecast().tensors
    assert [(t.name, t.shape) for t in foretold] == [(t.name, t.shape) for t in found]
    assert all(t.nonzero >= f.nonzero for t, f in zip(foretold, found, strict=True))


def others(name: str, field: str, base: Mapping[str, Any]) -> list[Any]:
    """Other values than an example's that an option might have."""
    info = ALGORITHMS.get(name).options.model_fields[field]
    now = base.get(field, info.default)
    words = [a for part in (info.annotation, *get_args(info.annotation)) for a in get_args(part)]
    lists: list[Any] = [[0.3, 0.2, 0.1], ["1 us", "2 us", "3 us"]]
    numbers: list[Any] = [1, 2, 3, 0.25, 0.75, "2 s"]
    values = [*words, True, False, *lists, *numbers]
    # what is of another type the options themselves refuse
    return [value for value in values if value != now and not isinstance(value, type)]


@pytest.mark.parametrize(
    ("name", "field"),
    [(name, field) for name in NAMES for field in ALGORITHMS.get(name).options.model_fields],
)
def test_the_name_covers_every_option(make_problem: MakeProblem, name: str, field: str) -> None:
    tried = 0
    for filters in (ALGORITHMS.get(name).options.needs_filters, True):
        problem, alike = (make_problem(filters=filters) for _ in range(2))
        for base in examples(name):
            assert build(name, problem, **base).name == build(name, alike, **base).name
            for value in others(name, field, base):
                try:
                    other = build(name, problem, **{**base, field: value})
                except (OptionError, ValidationError):
                    continue
                tried += 1
                assert other.name != build(name, problem, **base).name
        if tried:
            break
    assert tried, f"no other value of {field} was found; name one in the examples"


def test_every_field_of_the_local_update_is_tried_here() -> None:
    assert set(LOCAL) == {field.name for field in fields(LocalUpdate)}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("field", LOCAL)
def test_the_name_covers_every_field_of_the_local_update(
    make_problem: MakeProblem, name: str, field: str
) -> None:
    one, other = make_problem(), make_problem(**{field: LOCAL[field]})
    options = examples(name)[0]
    assert build(name, other, **options).name != build(name, one, **options).name


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("part", ["train_images", "train_labels", "test_images", "test_labels"])
def test_the_name_covers_every_bit_of_the_data(
    make_problem: MakeProblem, toy: Dataset, name: str, part: str
) -> None:
    altered = getattr(toy, part).clone()
    altered.view(-1)[-1] ^= 1
    other = make_problem(dataset=replace(toy, **{part: altered}))
    options = examples(name)[0]
    assert build(name, other, **options).name != build(name, make_problem(), **options).name


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "change",
    [
        {"clients": 5},
        {"seed": 2},
        {"init": "kaiming_fan_out"},
        {"objective": (Proximal(mu=0.5),)},
        {"quantize": "int8"},
    ],
    ids=str,
)
def test_the_name_covers_the_rest_of_the_problem(
    make_problem: MakeProblem, name: str, change: Mapping[str, Any]
) -> None:
    options = examples(name)[0]
    one, other = make_problem(), make_problem(**change)
    assert build(name, other, **options).name != build(name, one, **options).name


def test_algorithms_differ_by_name(make_problem: MakeProblem) -> None:
    problem = make_problem()
    others = [name for name in NAMES if not ALGORITHMS.get(name).options.needs_filters]
    names = {build(name, problem, **options).name for name in others for options in examples(name)}
    assert len(names) == sum(len(examples(name)) for name in others)


@VARIANT
def test_the_work_of_each_verb_is_counted_from_manifests(
    make_problem: MakeProblem, name: str, options: Mapping[str, Any]
) -> None:
    algorithm = build(name, make_problem(), **options)
    manifest = algorithm.initial().manifest()
    # the first turn may be another, such as FLASH's
    work: Workload = algorithm.work["train"](algorithm, manifest, Turn(0, 3))
    # 3 steps of 4 samples through 16-300-100-3, or through 6 and 8 filters
    filters = algorithm.options.needs_filters
    assert (work.steps, work.samples) == (3, 12)
    assert work.passes is Passes.TRAIN
    by_filters, by_rows = 16 * 54 + 4 * 432 + 96, 16 * 300 + 300 * 100 + 100 * 3
    of_samples = [layer for layer in work.layers if not layer.once]
    assert sum(layer.macs for layer in of_samples) == (by_filters if filters else by_rows)
    assert [layer.weights for layer in of_samples if layer.weights] == (
        [54, 432, 96] if filters else [4800, 30_000, 300]
    )
    if algorithm.problem.layout == make_problem().layout:
        assert work.model == ("small_cnn" if filters else "lenet_300_100")
        assert of_samples == list(work.layers)
    else:
        # another network, whatever a device knows of the scenario's
        assert work.model == algorithm.problem.architecture.name
        assert work.model not in ("small_cnn", "lenet_300_100")
    assert sum(layer.parameters for layer in work.layers) == algorithm.problem.parameters
    moved = 3 * algorithm.bytes_per_weight * manifest.size
    plain = algorithm.work["train"] is AveragedSGD.work["train"]
    assert work.moved_bytes == moved if plain else work.moved_bytes >= moved
    layers = [layer for layer in work.layers if layer.keeps_weight]
    stored = {t.name: t.nonzero for t in manifest.tensors}
    assert [layer.nonzero for layer in layers] == [stored[n.name] for n in layers]
    whole = [n for n in layers if n.nonzero == n.weights]
    assert all(n.storage is Storage.DENSE for n in whole)
    # under masks that the server knows, where there are any
    sent = Received(told(manifest), SERVER)
    moved = algorithm.work["aggregate"](algorithm, manifest, (sent, sent)).moved_bytes
    assert moved == 4 * 3 * manifest.nonzero
    assert algorithm.work["adopt"](algorithm, None, sent).moved_bytes == 8 * manifest.nonzero
    # reads its own and two others, writes its own
    mixed = algorithm.work["mix"](algorithm, manifest, (sent, sent)).moved_bytes
    assert mixed == 4 * 4 * manifest.nonzero


def test_an_epoch_of_work_is_every_sample_once(make_problem: MakeProblem) -> None:
    algorithm = build("fedavg", make_problem(steps=None, epochs=2, batch_size=4))
    work = algorithm.work["train"](algorithm, algorithm.forecast(), Turn(0, 1))
    # 15 samples a client: three batches of 4 and one of 3, twice
    assert (work.steps, work.samples) == (8, 30)


SCENARIO = """\
name: three
seed: 5
learning:
  dataset: {name: digits}
  model: {name: lenet_300_100}
  algorithm: {name: fedavg}
  local: {learning_rate: 0.1, batch_size: 20, steps: 2}
platform:
  devices:
    server: {model: g3s_xlarge}
    pi4: {model: pi4, count: 3}
  network: {kind: star, access: lte, server: ethernet_1g}
topology: {name: star}
protocol: {name: synchronous, rounds: 4}
codec: {name: coo, convolutions: coo, dense_when: smaller}
record: {path: three.h5, evaluate_every: 2}
"""
PEERS = [
    "platform.devices={pi4: {model: pi4, count: 3}}",
    "platform.network={kind: star, access: lte}",
    "topology={name: ring}",
]
HUBS = [
    "platform.devices.edge={model: g3s_xlarge, count: 1, role: aggregate}",
    "topology={name: star_of_stars, hubs_are: [edge]}",
]
# for every protocol its options beside the rounds, and what else of the scenario is changed
UNDER: dict[str, tuple[str, list[str]]] = {
    "asynchronous": (", buffer: 2", []),
    "gossip": (", period: 2 s", PEERS),
    "hierarchical": ("", HUBS),
    "neighborhood": ("", PEERS),
    "semi_synchronous": (", cohort: 2", []),
    "synchronous": ("", []),
}
# of those that wait for all that they send, how much that is in four rounds
MESSAGES = {"hierarchical": 4 * (2 + 2 * 3), "neighborhood": 4 * 3 * 2, "synchronous": 4 * 2 * 3}


def scenario(tmp_path: Path, name: str, options: Mapping[str, Any], protocol: str) -> Any:
    path = tmp_path / "three.yaml"
    path.write_text(SCENARIO)
    more, where = UNDER[protocol]
    under = f"protocol={{name: {protocol}, rounds: 4{more}}}"
    setting = f"learning.algorithm={json.dumps({'name': name, **options})}"
    filters = ALGORITHMS.get(name).options.needs_filters
    model = ["learning.model={name: simple_cnn}"] if filters else []
    return simfl.load(str(path), [*where, under, *model, setting])


@pytest.mark.slow
@pytest.mark.parametrize("protocol", PROTOCOLS.names())
@VARIANT
def test_it_runs_under_every_protocol_and_replays_without_training(
    tmp_path: Path, name: str, options: Mapping[str, Any], protocol: str
) -> None:
    loaded = scenario(tmp_path, name, options, protocol)
    out = tmp_path / "run.h5"
    try:
        trace = simfl.run(loaded, out=out, store=False, executor="inline", verify=True)
    except ProtocolError as error:
        told = str(error)
    else:
        told = ""
    if told:
        # what it cannot do it says, with a way out
        assert any(word in told for word in ("take", "set", "give"))
        return
    assert trace.status == "complete: 4 rounds"
    sent = trace.transfers
    assert len(sent) == MESSAGES.get(protocol, len(sent)) > 0
    assert int(trace.scores.iloc[-1][["down_bytes", "up_bytes"]].sum()) == int(sent["nbytes"].sum())
    [again] = simfl.whatif(trace.path, "platform.variation.draw=0").to_dict("records")
    assert again["anew"] == 0
    end_s = max(trace.activities["end_s"].max(), sent["end_s"].max())
    assert again["time_s"] == pytest.approx(end_s, rel=1e-12)
    assert again["down_bytes"] + again["up_bytes"] == int(sent["nbytes"].sum())
