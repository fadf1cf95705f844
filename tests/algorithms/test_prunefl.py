from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from rounds import MakeProblem, built

from simfl.datasets.base import Dataset
from simfl.errors import OptionError, ProtocolError
from simfl.learning.sgd import Training, epoch_batches, train
from simfl.learning.state import Payload, Received, Turn
from simfl.registry import MODELS
from simfl.tensors import NamedTensors
from simfl.work import Manifest, Participant

INITIALS = ("sample_based", "initialization", "random")
SMALL = {"level": 2, "server_samples": 12, "server_epochs": 2}


def build(name: str, problem: Any, **changes: Any) -> Any:
    return built(name, problem, **((SMALL if name == "prunefl" else {}) | changes))


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
    [done] = train(problem.network, problem.local, [start])
    trained = done.tensors
    assert torch.equal(two.tensors.flat, trained.flat * two.masks.flat)
    assert not two.masks.flat[one.masks.flat == 0].any()


def test_the_levels_on_the_way_are_those_of_less_pruning(make_problem: MakeProblem) -> None:
    problem = make_problem()
    states = list(build("prunefl", problem, level=2).levels())
    assert [state.level for state in states] == [0, 1, 2]
    assert torch.equal(states[0].tensors.flat, problem.initial_tensors().flat)
    one = build("prunefl", problem, level=1).initial()
    assert torch.equal(states[1].tensors.flat, one.tensors.flat)


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
    state = algorithm.initial()
    who = algorithm.problem.participants[0]
    for round in (1, 2):
        trained = algorithm.train(state, Turn(0, round))
        state = algorithm.aggregate(state, (Received(algorithm.share(trained), who),))
        assert (state.level, state.rounds) == (2, round)


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
    algorithm = build("prunefl", make_problem(), federated=True, final_level=5)
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


def test_the_servers_samples_of_the_first_writers(make_problem: MakeProblem) -> None:
    problem = make_problem()
    owners = torch.arange(problem.dataset.train_samples).flip(0) // 10
    known = replace(problem.dataset, train_owners=owners, owner_names=tuple("abcdef"))
    problem = replace(problem, dataset=known)
    algorithm = build("prunefl", problem, sample_choice="first_writers", server_samples=12)
    # the sixty samples were written ten by each, the last ten by the first
    assert algorithm._server_samples().tolist() == [*range(50, 60), 40, 41]


def test_where_nobody_knows_who_wrote_what(make_problem: MakeProblem) -> None:
    algorithm = build("prunefl", make_problem(), sample_choice="first_writers")
    with pytest.raises(OptionError, match="does not say who wrote what; choose random"):
        algorithm.initial()


def test_reinitialised_weights_are_those_drawn(make_problem: MakeProblem) -> None:
    problem = make_problem()
    drawn = problem.initial_tensors().flat
    kept = build("prunefl", problem, level=1).initial()
    again = build("prunefl", problem, level=1, reinitialize=True).initial()
    assert torch.equal(again.masks.flat, kept.masks.flat)
    assert torch.equal(again.tensors.flat, drawn * kept.masks.flat)
    assert not torch.equal(again.tensors.flat, kept.tensors.flat)
    # the next level is trained from there, and so ends with other weights
    two, other = (
        build("prunefl", problem, level=2, reinitialize=done).initial() for done in (True, False)
    )
    assert torch.equal(two.tensors.flat, drawn * two.masks.flat)
    assert not torch.equal(two.masks.flat, other.masks.flat)
    assert two.manifest() == other.manifest()


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
