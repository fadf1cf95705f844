"""Numbers that the early PruneFL paper (Jiang et al. 2019) prints, or that follow from it."""

from pathlib import Path

import pytest

import simfl
from simfl.assembly import build
from simfl.codecs.coo import Coo, CooOptions
from simfl.devices import load_device
from simfl.work import Kind, LayerWork, Manifest, Passes, Storage, TensorInfo, Workload

# bytes of LeNet-300-100's parameters by level: float32 biases, and per stored weight a float32 and
# two indices of one byte (last layer) or two; n <- n - int(rate x n) per level
SIZES = {
    0: 1066440, 1: 1704320, 2: 1364324, 3: 1092278, 4: 874598, 5: 700416, 8: 360200, 10: 231578,
    12: 149174, 15: 77574, 16: 62526, 20: 26892, 25: 10152, 30: 4578,
}  # fmt: skip


def parts_at(level: int, *changes: str):  # type: ignore[no-untyped-def]
    overrides = [f"learning.algorithm.level={level}", "learning.dataset.name=digits", *changes]
    return build(simfl.load("pi_lenet", overrides))


@pytest.mark.parametrize(("level", "expected"), SIZES.items())
def test_message_sizes_by_level_are_within_a_thousandth(level: int, expected: int) -> None:
    parts = parts_at(level)
    assert parts.codec.nbytes(parts.algorithm.forecast()) == pytest.approx(expected, rel=1e-3)


def test_sparse_pays_from_level_4_on() -> None:
    """Fig. 2: the benefit comes only at levels of at least 4."""
    sizes = [parts.codec.nbytes(parts.algorithm.forecast()) for parts in map(parts_at, range(5))]
    assert sizes[3] > sizes[0] > sizes[4]


def test_eq_2_breaks_even_at_half_density_with_16_bit_indices() -> None:
    codec = Coo(CooOptions(dense_when="smaller"))
    for stored, sparse in ((44999, True), (45001, False)):
        info = TensorInfo(name="w", shape=(300, 300), dtype="float32", nonzero=stored)
        nbytes = codec.nbytes(Manifest(tensors=(info,)))
        assert (nbytes < 4 * info.size) is sparse


def test_parameters_left_at_levels_20_and_30() -> None:
    """Section 5.1.3: 1.35 % at level 20; section 6.1: 0.3 % at level 30."""
    for level, percent in ((20, 1.35), (30, 0.30)):
        manifest = parts_at(level).algorithm.forecast()
        assert 100 * manifest.nonzero / manifest.size == pytest.approx(percent, abs=0.005)
        assert manifest.size == 266_610


@pytest.mark.parametrize(("level", "compute_s", "send_s"), [(1, 1.87, 10.57), (30, 0.07, 0.48)])
def test_one_federation_lasts_what_fig_2_says(level: int, compute_s: float, send_s: float) -> None:
    changes = [f"learning.algorithm.level={level}", "learning.dataset.name=digits"]
    _, tape = simfl.plan(simfl.load("pi_lenet", changes))
    begin = next(span.end_s for span in tape.spans if span.verb == "initial")
    end = next(span.end_s for span in tape.spans if span.verb == "aggregate")
    computation = max(s.end_s - s.start_s for s in tape.spans if s.verb == "train")
    assert computation == pytest.approx(compute_s, rel=0.05)
    assert end - begin - computation == pytest.approx(send_s, rel=0.05)


def conv_femnist(fc_nonzero: int | None) -> Workload:
    """Five steps of 20 on Conv-FEMNIST: MACs of 5 x 5 convolutions at 24 x 24 and 8 x 8."""
    first = LayerWork(
        name="conv1", kind=Kind.CONV, macs=800 * 24 * 24, products=1, weights=800, nonzero=800
    )
    second = LayerWork(
        name="conv2", kind=Kind.CONV, macs=102400 * 8 * 8, weights=102400, nonzero=102400
    )
    fc = 2048 * 1024 + 1024 * 512 + 512 * 62
    storage = Storage.DENSE if fc_nonzero is None else Storage.COO
    stored = fc if fc_nonzero is None else fc_nonzero
    matrices = LayerWork(
        name="fc", kind=Kind.LINEAR, macs=fc, weights=fc, nonzero=stored, storage=storage
    )
    layers = (first, second, matrices)
    return Workload(layers=layers, steps=5, samples=100, passes=Passes.TRAIN)


@pytest.mark.parametrize(
    ("fc_nonzero", "seconds", "error"),
    [(None, 5.68, 0.02), (2125723, 13.65, 0.03), (4599, 3.97, 0.08)],
)
def test_pi_4_computes_conv_femnist_about_as_measured(
    fc_nonzero: int | None, seconds: float, error: float
) -> None:
    """Fig. 12. The dense figure sets the dense rate, the slope of the others the sparse cost."""
    assert load_device("pi4").seconds(conv_femnist(fc_nonzero)) == pytest.approx(seconds, rel=error)


@pytest.mark.parametrize(
    ("samples", "seconds", "error"),
    [(200, 10, 0.01), (400, 16, 0.08), (600, 24, 0.08), (800, 30, 0.08), (60000, 2158, 0.01)],
)
def test_server_trains_fifty_epochs_about_as_measured(
    samples: int, seconds: float, error: float
) -> None:
    """Section 6.5; the first and last set the figures, those between are predicted."""
    work = Workload(steps=50 * samples // 20, samples=50 * samples, sessions=1)
    assert load_device("g3s_xlarge").seconds(work) == pytest.approx(seconds, rel=error)


@pytest.mark.data
@pytest.mark.slow
def test_server_samples_alone_give_about_the_papers_baseline(mnist: Path) -> None:
    """Table 4, baseline: 83.2 % at level 5, by 200 samples at the server and no client."""
    parts = build(simfl.load("pi_lenet", ["learning.algorithm.level=1"]), mnist)
    initial = parts.algorithm.initial()
    assert parts.algorithm.score(initial).accuracy > 0.6
