from dataclasses import replace
from math import cos, pi
from typing import Any

import pytest
import torch
from rounds import SERVER, MakeProblem, built, one_round
from torch import Tensor

from simfl.algorithms.fedavg import told
from simfl.codecs.base import Codec
from simfl.learning.sgd import train
from simfl.learning.state import ModelState, Received, Turn
from simfl.objectives.proximal import Proximal
from simfl.pruning.masks import applied, over
from simfl.pruning.scope import erk_densities
from simfl.registry import CODECS
from simfl.tensors import Masks, NamedTensors, Payload

SHAPES = {"fc1.weight": (300, 16), "fc2.weight": (100, 300), "fc3.weight": (3, 100)}
WEIGHTS = 35_100
SPARSE = {"sparsity": 0.8, "readjust_every": 2, "ratio": 0.3, "horizon": 8}


def kept_at(sparsity: float) -> dict[str, int]:
    densities = erk_densities(SHAPES, 1 - sparsity)
    sizes = {"fc1.weight": 4800, "fc2.weight": 30_000, "fc3.weight": 300}
    return {name: int(densities[name] * size) for name, size in sizes.items()}


def counted(masks: Masks) -> dict[str, int]:
    return {name: int(masks.views[name].sum()) for name in SHAPES}


def after(
    algorithm: Any, round: int, client: int = 0, model: ModelState | None = None
) -> tuple[ModelState, ModelState]:
    """A client's model before and after a turn."""
    before = algorithm.initial() if model is None else model
    local = algorithm.adopt(None, Received(algorithm.share(before), SERVER))
    return local, algorithm.train(local, Turn(client, round))


def test_the_server_begins_with_the_largest_weights_of_each_layer(
    make_problem: MakeProblem,
) -> None:
    problem = make_problem()
    algorithm = built("feddst", problem, **SPARSE)
    state, dense = algorithm.initial(), problem.initial_tensors()
    assert counted(state.masks) == kept_at(0.8)
    assert sum(kept_at(0.8).values()) == pytest.approx(0.2 * WEIGHTS, abs=3)
    for name in SHAPES:
        kept = state.masks.views[name].bool()
        assert kept.all() or dense[name][kept].abs().min() >= dense[name][~kept].abs().max()
    assert kept_at(0.8)["fc3.weight"] == 300  # as ERK has it, small layers stay whole
    assert state.masks.views["fc1.bias"].all()
    assert algorithm.forecast() == state.manifest()


def test_ratios_by_the_paper_and_by_the_code(make_problem: MakeProblem) -> None:
    problem = make_problem()
    paper, code, steady = (
        built("feddst", problem, sparsity=0.8, ratio=0.3, **more)
        for more in ({"horizon": 8}, {"horizon": 8, "anneal": "public_code"}, {})
    )
    assert paper.ratio_in(0) == 0.3
    assert paper.ratio_in(2) == pytest.approx(0.15 * (1 + cos(pi / 4)))
    assert code.ratio_in(2) == pytest.approx(0.3 * paper.ratio_in(2))
    assert [algorithm.ratio_in(8) for algorithm in (paper, code, steady)] == [0, 0, 0.3]
    # the second round, and every tenth after it, while the ratio is not 0
    assert [t for t in range(1, 30) if steady.is_due(t)] == [2, 12, 22]
    assert [t for t in range(1, 30) if paper.is_due(t)] == [2]


def test_between_readjustments_it_is_fedavg_under_the_mask(make_problem: MakeProblem) -> None:
    problem = make_problem()
    algorithm, fedavg = built("feddst", problem, **SPARSE), built("fedavg", problem)
    start = algorithm.initial()
    found = one_round(algorithm, start, 1, {}, (0, 1, 2, 3))
    expected = one_round(fedavg, start, 1, {}, (0, 1, 2, 3))
    assert torch.equal(found.tensors.flat, expected.tensors.flat)
    assert torch.equal(found.masks.flat, start.masks.flat)
    # all clients have the mask now: from here on it travels no more
    assert found.known
    down = algorithm.share(found)
    assert down.known
    assert algorithm.share(after(algorithm, 2, model=found)[1]).known is False


def test_a_client_drops_the_smallest_and_grows_by_gradient(make_problem: MakeProblem) -> None:
    problem = make_problem()
    algorithm = built("feddst", problem, **SPARSE)
    before, ended = after(algorithm, 2)
    # the same turn, watched
    training = algorithm.begin(before, Turn(0, 2))
    assert training.rule.watch == "last_step"
    [trained] = train(problem.network, problem.local, [training])
    fewer = kept_at(0.8 + 0.2 * algorithm.ratio_in(1))
    moved = 0
    for name, kept in kept_at(0.8).items():
        weight = trained.tensors[name].reshape(-1)
        gradient = trained.gradient[problem.layout.places[name]].abs()
        mask = before.masks.views[name].reshape(-1).bool()
        now = ended.masks.views[name].reshape(-1).bool()
        assert int(now.sum()) == kept
        # what stayed without a break has its value, and is the largest of what there was
        values = ended.tensors[name].reshape(-1)
        stayed = values != 0
        assert int(stayed.sum()) == fewer[name]
        assert torch.equal(values[stayed], weight[stayed])
        dropped = mask & ~stayed
        assert not dropped.any() or weight[stayed].abs().min() >= weight[dropped].abs().max()
        # what grew is 0, and had the largest gradients of the rest
        grown, rest = now & ~stayed, ~now
        assert int(grown.sum()) == kept - fewer[name]
        if grown.any() and rest.any():
            assert gradient[grown].min() >= gradient[rest].max()
        moved += int((now != mask).sum())
    assert moved > 0
    assert not ended.known


def test_the_server_averages_over_those_who_have_a_weight(make_problem: MakeProblem) -> None:
    problem = make_problem(clients=4)
    algorithm = built("feddst", problem, **SPARSE)
    start = algorithm.initial()
    payloads = [algorithm.share(after(algorithm, 2, client, start)[1]) for client in range(4)]
    who = problem.participants
    received = tuple(
        Received(p, replace(w, samples=w.index + 1)) for p, w in zip(payloads, who, strict=True)
    )
    model = algorithm.aggregate(start, received)
    values = torch.stack([p.tensors.flat for p in payloads]).double()
    masks = torch.stack([p.masks.flat for p in payloads]).double()
    shares = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)[:, None] * masks
    heard = shares.sum(0)
    mean = torch.where(heard > 0, (values * shares).sum(0) / heard, 0)
    assert torch.allclose(model.tensors.flat.double(), mean * model.masks.flat, atol=1e-6)
    # the masks differ, and together they are denser than one; the smallest went
    union = Masks(problem.layout, masks.amax(0).float())
    assert sum(counted(union).values()) > sum(kept_at(0.8).values())
    assert counted(model.masks) == kept_at(0.8)
    for name in SHAPES:
        place = problem.layout.places[name]
        kept, had = model.masks.flat[place].bool(), union.flat[place].bool()
        assert not (kept & ~had).any()
        went = had & ~kept
        if went.any():
            assert mean[place][kept].abs().min() >= mean[place][went].abs().max() - 1e-6
    assert not model.known


def test_it_composes_with_fedprox(make_problem: MakeProblem) -> None:
    plain, near = (
        built("feddst", make_problem(objective=terms), **SPARSE)
        for terms in ((), (Proximal(mu=2.0),))
    )
    start = plain.initial()
    assert torch.equal(near.initial().tensors.flat, start.tensors.flat)
    found = [after(algorithm, 1)[1] for algorithm in (plain, near)]
    away = [float((state.tensors.flat - start.tensors.flat).norm()) for state in found]
    assert 0 < away[1] < away[0]
    # by what to grow is the data's gradient: with one step, the term has none anyway
    one_step = [
        built("feddst", make_problem(objective=terms, steps=1), **SPARSE)
        for terms in ((), (Proximal(mu=2.0),))
    ]
    ended = [after(algorithm, 2)[1] for algorithm in one_step]
    assert torch.equal(ended[0].masks.flat, ended[1].masks.flat)
    model = one_round(near, one_round(near, start, 1, {}, (0, 1, 2, 3)), 2, {}, (0, 1, 2, 3))
    assert counted(model.masks) == kept_at(0.8)


def codec_of(name: str) -> Codec:
    plugin = CODECS.get(name)
    codec: Codec = plugin.build(plugin.options())
    return codec


def test_values_travel_alone_until_masks_move(make_problem: MakeProblem) -> None:
    algorithm, codec = built("feddst", make_problem(), **SPARSE), codec_of("values_only")

    def sent(payload: Payload) -> int:
        nbytes = codec.nbytes(payload.manifest())
        assert nbytes == len(codec.encode(payload))
        return nbytes

    model = algorithm.initial()
    found = []
    for round in (1, 2, 3):
        down = algorithm.share(model)
        up = algorithm.share(after(algorithm, round, model=model)[1])
        found.append((sent(down), sent(up)))
        model = one_round(algorithm, model, round, {}, (0, 1, 2, 3))
    stored = sum(kept_at(0.8).values()) + 403
    alone = min(min(pair) for pair in found)
    # what is whole says how much there is of it, in 2 + 1 + 2 + 1 bytes
    assert alone == 1 + 4 * stored + 6
    # masks go down first, come back moved, and go down once more
    with_masks = [[nbytes > alone + 64 for nbytes in pair] for pair in found]
    assert with_masks == [[True, False], [False, True], [True, False]]
    assert found[1][1] - alone == pytest.approx(34_800 / 8, abs=16)  # the third layer is whole


def test_readjusting_and_merging_move_memory(make_problem: MakeProblem) -> None:
    algorithm = built("feddst", make_problem(), **SPARSE)
    manifest = algorithm.forecast()
    works = [algorithm.work["train"](algorithm, manifest, Turn(0, round)) for round in (1, 2)]
    assert works[1].moved_bytes - works[0].moved_bytes == 28 * WEIGHTS
    who = algorithm.problem.participants[0]
    moved = [
        algorithm.work["aggregate"](algorithm, manifest, (Received(m, who),) * 2).moved_bytes
        for m in (told(manifest), manifest)
    ]
    assert moved[1] - moved[0] == (2 * 12 + 20) * WEIGHTS


def test_the_public_codes_layers(make_problem: MakeProblem) -> None:
    state = built("feddst", make_problem(), sparsity=0.5, layers="public_code").initial()
    # sparsities as 1 - (in + out) / (in x out), scaled to half of all 35,503 parameters
    raw = {n: 1 - sum(shape) / (shape[0] * shape[1]) for n, shape in SHAPES.items()}
    sizes = {"fc1.weight": 5100, "fc2.weight": 30_100, "fc3.weight": 303}
    scale = 0.5 * 35_503 / sum(raw[n] * sizes[n] for n in SHAPES)
    assert counted(state.masks) == {n: int((1 - scale * raw[n]) * sizes[n]) for n in SHAPES}


def by_hand(state: ModelState, views: dict[str, Tensor]) -> ModelState:
    masks = over(state.tensors.layout, views)
    ones = NamedTensors(state.tensors.layout, torch.ones_like(state.tensors.flat))
    return replace(state, tensors=applied(ones, masks), masks=masks)


def test_peers_merge_their_masks(make_problem: MakeProblem) -> None:
    algorithm = built("feddst", make_problem(), sparsity=0.9, average="uniform")
    start = algorithm.initial()
    size, kept = 30_000, counted(start.masks)["fc2.weight"]
    rows = [torch.zeros(size) for _ in range(2)]
    rows[0][:kept], rows[1][1 : kept + 1] = 1, 1
    views = [{**start.masks.views, "fc2.weight": row.view(100, 300)} for row in rows]
    mine, other = (by_hand(start, view) for view in views)
    other = replace(other, tensors=NamedTensors(other.tensors.layout, 3 * other.tensors.flat))
    sent = Received(algorithm.share(other), algorithm.problem.participants[1])
    mixed = algorithm.mix(mine, (sent,))
    found = mixed.tensors["fc2.weight"].reshape(-1)
    # the first is mine alone and the smallest: it goes; both have the next, one the last
    assert found[0] == 0
    assert (found[1:kept] == 2).all()
    assert found[kept] == 3
    assert not mixed.known
