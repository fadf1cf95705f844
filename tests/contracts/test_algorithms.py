from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from itertools import product
from typing import Any

import pytest
import torch

from simfl.datasets.base import Dataset
from simfl.errors import OptionError, ProtocolError
from simfl.learning.problem import LocalUpdate, Problem
from simfl.learning.sgd import Training, epoch_batches, train
from simfl.learning.state import ModelState, Payload, Received, Turn
from simfl.registry import ALGORITHMS, MODELS
from simfl.tensors import Masks, NamedTensors
from simfl.work import Manifest, Participant, Passes, Storage, Workload

MakeProblem = Callable[..., Problem]

# for every option of every algorithm: a value, and another one
OPTIONS: dict[str, dict[str, tuple[Any, Any]]] = {
    "fedavg": {"average": ("samples", "uniform")},
    "prunefl": {
        "average": ("uniform", "samples"),
        "initial": ("sample_based", "random"),
        "level": (2, 3),
        "federated": (False, True),
        "final_level": (5, 6),
        "prune_every": (100, 1),
        "rates": (None, [0.3, 0.2, 0.1]),
        "server_samples": (12, 13),
        "sample_choice": ("random", "first_per_class"),
        "server_epochs": (2, 3),
    },
}
INITIALS = ("sample_based", "initialization", "random")
LOCAL = {
    "learning_rate": 0.2,
    "batch_size": 5,
    "momentum": 0.5,
    "weight_decay": 0.1,
    "steps": 4,
    "epochs": 2,
    "loss": "bce_with_logits",
    "gradients": "accumulate",
    "order": "sequential",
}
SERVER = Participant(index=-1, samples=0)


def build(name: str, problem: Problem, **changes: Any) -> Any:
    plugin = ALGORITHMS.get(name)
    options = {key: values[0] for key, values in OPTIONS[name].items()} | changes
    return plugin.build(plugin.options(**options), problem)


def variants() -> Iterator[Any]:
    yield pytest.param("fedavg", {}, id="fedavg")
    yield pytest.param("fedavg", {"average": "uniform"}, id="fedavg-uniform")
    for initial, level in product(INITIALS, (1, 3)):
        options = {"initial": initial, "level": level}
        yield pytest.param("prunefl", options, id=f"prunefl-{initial}-{level}")
    options = {"federated": True, "prune_every": 1}
    yield pytest.param("prunefl", options, id="prunefl-federated")


VARIANT = pytest.mark.parametrize(("name", "options"), list(variants()))
HOW = pytest.mark.parametrize(
    "how",
    [
        {},
        {"momentum": 0.9, "weight_decay": 0.01},
        {"gradients": "accumulate", "order": "sequential", "loss": "bce_with_logits"},
        {"steps": None, "epochs": 2},
    ],
    ids=["plain", "momentum and decay", "public code", "epochs"],
)


def bits(state: Any) -> list[Any]:
    """All of a state or payload, as copies."""
    masks = None if state.masks is None else state.masks.flat.numpy().tobytes()
    rest = (getattr(state, "level", 0), getattr(state, "rounds", 0))
    return [state.tensors.layout, state.tensors.flat.numpy().tobytes(), masks, rest]


def played(algorithm: Any, clients: tuple[int, ...] = (0, 1, 2, 3)) -> Iterator[tuple[str, Any]]:
    """Two rounds of all verbs; each result, and each argument checked to be as it was."""

    def call(verb: Callable[..., Any], *args: Any) -> Any:
        states = [a for a in args if isinstance(a, ModelState | Payload)]
        states += [r.payload for a in args if isinstance(a, tuple) for r in a]
        before = [bits(state) for state in states]
        result = verb(*args)
        assert [bits(state) for state in states] == before, f"{verb.__name__} changed an argument"
        return result

    who = algorithm.problem.participants
    model = call(algorithm.initial)
    yield "initial", bits(model)
    for round in (1, 2):
        down = call(algorithm.share, model)
        updates, held = {}, {}
        for client in clients:
            local = call(algorithm.adopt, None, Received(down, SERVER))
            local = call(algorithm.train, local, Turn(client, round))
            held[client], updates[client] = local, call(algorithm.share, local)
            yield f"update {client} of {round}", bits(updates[client])
        received = tuple(Received(updates[c], who[c]) for c in sorted(updates))
        model = call(algorithm.aggregate, model, received)
        yield f"round {round}", bits(model)
        if not getattr(algorithm.options, "federated", False):
            yield f"mixed {round}", bits(call(algorithm.mix, held[0], received[1:]))
    yield "score", call(algorithm.score, model)


def test_every_algorithm_and_option_is_tried_here() -> None:
    assert set(OPTIONS) == set(ALGORITHMS.names())
    for name, options in OPTIONS.items():
        assert set(options) == set(ALGORITHMS.get(name).options.model_fields)
    assert set(LOCAL) == {field.name for field in fields(LocalUpdate)}


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
@HOW
def test_pruned_weights_stay_zero(
    make_problem: MakeProblem, name: str, options: Mapping[str, Any], how: Mapping[str, Any]
) -> None:
    algorithm = build(name, make_problem(**how), **options)
    initial = algorithm.initial()
    # whatever the algorithm prunes itself: here every third weight goes too
    layout = initial.tensors.layout
    flat = torch.ones(layout.size) if initial.masks is None else initial.masks.flat.clone()
    flat[::3] = 0
    masks = Masks(layout, flat)
    state = replace(initial, tensors=NamedTensors(layout, initial.tensors.flat * flat), masks=masks)
    local = algorithm.adopt(None, Received(algorithm.share(state), SERVER))
    trained = algorithm.train(local, Turn(0, 1))
    assert not trained.tensors.flat[flat == 0].any()
    assert not torch.equal(trained.tensors.flat, state.tensors.flat)
    assert trained.masks.kept == masks.kept
    who = algorithm.problem.participants[0]
    mean = algorithm.aggregate(state, (Received(algorithm.share(trained), who),))
    assert not mean.tensors.flat[mean.masks.flat == 0].any()
    assert not mean.masks.flat[flat == 0].any()


@VARIANT
def test_the_forecast_is_the_manifest_of_the_first_state(
    make_problem: MakeProblem, name: str, options: Mapping[str, Any]
) -> None:
    algorithm = build(name, make_problem(), **options)
    assert algorithm.forecast() == algorithm.initial().manifest()


@pytest.mark.parametrize(
    ("name", "option"), [(name, option) for name in OPTIONS for option in OPTIONS[name]]
)
def test_the_name_covers_every_option(make_problem: MakeProblem, name: str, option: str) -> None:
    problem = make_problem()
    other = OPTIONS[name][option][1]
    assert build(name, problem).name == build(name, make_problem()).name
    assert build(name, problem, **{option: other}).name != build(name, problem).name


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("field", LOCAL)
def test_the_name_covers_every_field_of_the_local_update(
    make_problem: MakeProblem, name: str, field: str
) -> None:
    one, other = make_problem(), make_problem(**{field: LOCAL[field]})
    assert build(name, other).name != build(name, one).name


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("part", ["train_images", "train_labels", "test_images", "test_labels"])
def test_the_name_covers_every_bit_of_the_data(
    make_problem: MakeProblem, toy: Dataset, name: str, part: str
) -> None:
    altered = getattr(toy, part).clone()
    altered.view(-1)[-1] ^= 1
    other = make_problem(dataset=replace(toy, **{part: altered}))
    assert build(name, other).name != build(name, make_problem()).name


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize(
    "change", [{"clients": 5}, {"seed": 2}, {"init": "kaiming_fan_out"}, {"quantize": "int8"}]
)
def test_the_name_covers_the_rest_of_the_problem(
    make_problem: MakeProblem, name: str, change: Mapping[str, Any]
) -> None:
    assert build(name, make_problem(**change)).name != build(name, make_problem()).name


def test_algorithms_differ_by_name(make_problem: MakeProblem) -> None:
    problem = make_problem()
    assert len({build(name, problem).name for name in OPTIONS}) == len(OPTIONS)


@VARIANT
def test_the_work_of_each_verb_is_counted_from_manifests(
    make_problem: MakeProblem, name: str, options: Mapping[str, Any]
) -> None:
    algorithm = build(name, make_problem(), **options)
    manifest = algorithm.forecast()
    work: Workload = algorithm.work["train"](algorithm, manifest, Turn(0, 1))
    # 3 steps of 4 samples through 16-300-100-3
    assert (work.model, work.steps, work.samples) == ("lenet_300_100", 3, 12)
    assert work.passes is Passes.TRAIN
    assert work.macs == 12 * (16 * 300 + 300 * 100 + 100 * 3)
    layers = [layer for layer in work.layers if layer.weights]
    assert [layer.weights for layer in layers] == [4800, 30_000, 300]
    assert [layer.name for layer in work.layers if not layer.weights] == ["relu", "relu"]
    stored = {t.name: t.nonzero for t in manifest.tensors}
    assert [layer.nonzero for layer in layers] == [stored[n.name] for n in layers]
    pruned = name == "prunefl"
    assert {n.storage for n in layers} == {Storage.COO if pruned else Storage.DENSE}
    sent = Received(manifest, SERVER)
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


def kept(manifest: Manifest) -> list[int]:
    return [t.nonzero for t in manifest.tensors if t.name.endswith("weight")]


@pytest.mark.parametrize(
    ("level", "counts"),
    [(1, [3840, 24_000, 270]), (2, [3072, 19_200, 243]), (3, [2458, 15_360, 219])],
)
@pytest.mark.parametrize("initial", INITIALS)
def test_prunefl_takes_a_share_of_what_is_left_per_level(
    make_problem: MakeProblem, initial: str, level: int, counts: list[int]
) -> None:
    algorithm = build("prunefl", make_problem(), initial=initial, level=level)
    state = algorithm.initial()
    assert kept(state.manifest()) == counts == kept(algorithm.counts_at(level))
    assert state.level == level


def test_prunefl_by_magnitude_drops_the_smallest(make_problem: MakeProblem) -> None:
    problem = make_problem()
    dense = problem.initial_tensors()
    state = build("prunefl", problem, initial="initialization", level=1).initial()
    for name, mask in state.masks.views.items():
        if name.endswith("weight"):
            size = dense[name].abs()
            assert size[mask == 0].max() <= size[mask == 1].min()
            assert torch.equal(state.tensors[name], dense[name] * mask)


def test_prunefl_trains_what_is_left_before_each_level(make_problem: MakeProblem) -> None:
    problem = make_problem()
    one = build("prunefl", problem, level=1).initial()
    two = build("prunefl", problem, level=2).initial()
    samples = problem.samples(build("prunefl", problem)._server_samples())
    batches = epoch_batches(len(samples), problem.local.batch_size, 2)
    start = Training(tensors=one.tensors, masks=one.masks, data=samples, batches=batches)
    [trained] = train(problem.network, problem.local, [start])
    assert torch.equal(two.tensors.flat, trained.flat * two.masks.flat)
    assert not two.masks.flat[one.masks.flat == 0].any()


def test_the_three_ways_to_start_rank_differently(make_problem: MakeProblem) -> None:
    masks = [
        build("prunefl", make_problem(), initial=initial).initial().masks.flat
        for initial in INITIALS
    ]
    assert not torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[1], masks[2])
    assert not torch.equal(masks[0], masks[2])


def test_federated_pruning_goes_on_to_its_last_level(make_problem: MakeProblem) -> None:
    options = {"federated": True, "prune_every": 2, "level": 1, "final_level": 3}
    algorithm = build("prunefl", make_problem(), initial="initialization", **options)
    state = algorithm.initial()
    who = algorithm.problem.participants
    levels = []
    for round in range(1, 9):
        trained = algorithm.train(state, Turn(0, round))
        state = algorithm.aggregate(state, (Received(algorithm.share(trained), who[0]),))
        levels.append((state.rounds, state.level))
        assert kept(state.manifest()) == kept(algorithm.counts_at(state.level))
    assert levels == [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 3), (7, 3), (8, 3)]


def test_one_shot_pruning_keeps_its_level(make_problem: MakeProblem) -> None:
    algorithm = build("prunefl", make_problem(), prune_every=1)
    rounds = [state for step, state in played(algorithm) if step.startswith("round")]
    assert [state[-1] for state in rounds] == [(2, 1), (2, 2)]


@pytest.mark.parametrize(
    ("average", "mean"), [("samples", (1 * 20 + 5 * 10) / 30), ("uniform", 3.0)]
)
def test_averages_by_samples_or_alike(make_problem: MakeProblem, average: str, mean: float) -> None:
    algorithm = build("fedavg", make_problem(), average=average)
    state = algorithm.initial()

    def update(value: float, samples: int) -> Received[Payload]:
        flat = torch.full((state.tensors.layout.size,), value)
        payload = Payload(NamedTensors(state.tensors.layout, flat))
        return Received(payload, Participant(index=0, samples=samples))

    after = algorithm.aggregate(state, (update(1.0, 20), update(5.0, 10)))
    assert after.tensors.flat.tolist() == pytest.approx([mean] * len(after.tensors.flat))
    assert after.rounds == 1


@pytest.mark.parametrize(
    ("average", "mean"), [("samples", (7 * 15 + 1 * 20 + 5 * 10) / 45), ("uniform", 13 / 3)]
)
def test_a_peer_mixes_its_own_model_with_its_neighbours(
    make_problem: MakeProblem, average: str, mean: float
) -> None:
    algorithm = build("fedavg", make_problem(), average=average)
    trained = algorithm.train(algorithm.initial(), Turn(0, 1))
    assert trained.samples == 15
    layout = trained.tensors.layout

    def filled(value: float) -> NamedTensors:
        return NamedTensors(layout, torch.full((layout.size,), value))

    received = tuple(
        Received(Payload(filled(value)), Participant(index=i, samples=samples))
        for i, (value, samples) in enumerate(((1.0, 20), (5.0, 10)))
    )
    after = algorithm.mix(replace(trained, tensors=filled(7.0)), received)
    assert after.tensors.flat.tolist() == pytest.approx([mean] * layout.size)
    assert (after.rounds, after.samples) == (1, 15)


def test_mixing_keeps_the_masks(make_problem: MakeProblem) -> None:
    algorithm = build("prunefl", make_problem())
    first = algorithm.initial()
    one, other = (algorithm.train(first, Turn(client, 1)) for client in (0, 1))
    who = algorithm.problem.participants[1]
    mixed = algorithm.mix(one, (Received(algorithm.share(other), who),))
    assert mixed.manifest() == first.manifest()
    assert not mixed.tensors.flat[first.masks.flat == 0].any()


def test_peers_do_not_prune_on(make_problem: MakeProblem) -> None:
    algorithm = build("prunefl", make_problem(), federated=True)
    with pytest.raises(ProtocolError, match=r"set learning\.algorithm\.federated=false"):
        algorithm.mix(algorithm.initial(), ())


@pytest.mark.parametrize(
    ("options", "option", "message"),
    [
        (
            {"rates": [0.1, 0.2]},
            "rates",
            "2 given for the 3 layers of lenet_300_100; "
            "give one for each of fc1.weight, fc2.weight, fc3.weight",
        ),
        (
            {"federated": True, "level": 4, "final_level": 3},
            "final_level",
            "federated pruning starts at level 4 and ends at 3; give a higher level to end at",
        ),
        (
            {"federated": True, "level": 4, "final_level": None},
            "final_level",
            "federated pruning starts at level 4 and ends at None; give a higher level to end at",
        ),
        ({"server_samples": 61}, "server_samples", "61 of 60 training samples; give fewer"),
    ],
)
def test_options_that_do_not_fit_together(
    make_problem: MakeProblem, options: Mapping[str, Any], option: str, message: str
) -> None:
    with pytest.raises(OptionError) as error:
        build("prunefl", make_problem(), **options)
    assert (error.value.option, error.value.message) == (option, message)


@pytest.mark.parametrize(
    ("fits_from", "words"),
    [(5, "it fits from level 5; set learning.algorithm.level=5"), (31, "")],
)
def test_prunefl_says_from_which_level_a_device_holds_it(
    make_problem: MakeProblem, fits_from: int, words: str
) -> None:
    algorithm = build("prunefl", make_problem())
    limit = kept(algorithm.counts_at(fits_from))[0] if fits_from <= 30 else 0
    assert algorithm.holds_from(lambda work: work.layers[0].nonzero <= limit) == words


@pytest.mark.parametrize("choice", ["random", "first_per_class"])
def test_the_servers_samples(make_problem: MakeProblem, choice: str) -> None:
    problem = make_problem()
    algorithm = build("prunefl", problem, sample_choice=choice, server_samples=12)
    indices = algorithm._server_samples()
    assert len(set(indices.tolist())) == 12
    if choice == "first_per_class":
        # labels go 0 1 2 0 1 2 ...
        assert indices.tolist() == list(range(12))
    again = build("prunefl", make_problem(), sample_choice=choice, server_samples=12)
    assert torch.equal(again._server_samples(), indices)


@pytest.mark.slow
def test_prunefl_prunes_neither_biases_nor_batch_normalisation(make_problem: MakeProblem) -> None:
    resnet = MODELS.get("resnet18")
    colour = Dataset(
        name="noise",
        classes=10,
        train_images=torch.zeros((20, 3, 8, 8), dtype=torch.uint8),
        train_labels=torch.arange(20) % 10,
        test_images=torch.zeros((10, 3, 8, 8), dtype=torch.uint8),
        test_labels=torch.arange(10),
    )
    architecture = resnet.build(resnet.options(), classes=10, sample_shape=(3, 8, 8))
    problem = replace(make_problem(dataset=colour), architecture=architecture)
    changes = {"initial": "initialization", "level": 1, "rates": None, "federated": False}
    algorithm = build("prunefl", problem, **changes)
    state = algorithm.initial()
    assert state.manifest() == algorithm.forecast()
    pruned = {t.name for t in state.manifest().tensors if t.pruned}
    assert pruned == {layer.weight for layer in architecture.layers}
    assert not any("bn" in name for name in pruned)
