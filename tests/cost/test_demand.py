"""What steps ask of a device, held against counts by hand."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simfl.cost.compact import Anchor, Compact, Kernels
from simfl.cost.demand import Plain, demand
from simfl.work import Kind, LayerWork, Passes, Storage, Workload

ALL = tuple(Kernels.model_fields)
SOURCE = {"kind": "measured", "source": "the bench in the corner", "log_sd": 0.1}
LINEAR = LayerWork(
    name="fc.weight",
    kind=Kind.LINEAR,
    macs=6000,
    products=2,
    inputs=100,
    outputs=60,
    weights=6000,
    parameters=6060,
    tensors=2,
    nonzero=6000,
)
# 8 -> 16 channels, 3 x 3, on 10 x 10
CONV = LayerWork(
    name="conv.weight",
    kind=Kind.CONV,
    macs=115_200,
    products=2,
    inputs=800,
    outputs=1600,
    channels=8,
    window=9,
    weights=1152,
    parameters=1152,
    tensors=1,
    nonzero=1152,
)
POINTWISE = replace(CONV, macs=12_800, window=1, weights=128, parameters=128, nonzero=128)
RELU = LayerWork(name="relu", kind=Kind.ACTIVATION, products=1, inputs=1600, outputs=1600)


def asked(*layers: LayerWork, batch: int = 4, steps: int = 1, **options: Any) -> dict[str, float]:
    options = {"training": True, "known": ALL} | options
    found = demand(layers, samples=batch * steps, steps=steps, **options)
    return {name: count for name, count in found.items() if count}


def test_a_linear_layer() -> None:
    assert (
        asked(LINEAR)
        == {
            "step": 1,
            "call": 1,
            "tensor": 2,
            # forward, by weights, by inputs: 2 FLOP each
            "dense_rate": 6 * 6000 * 4,
            # read twice, gradient written; gradient and weight read, weight written
            "weight_rate": 6 * 4 * 6000,
            # its gradients are more than twice the largest tensor... which is their own
        }
        | {}
    )


def test_a_forward_pass_reads_weights_once_and_updates_nothing() -> None:
    assert asked(LINEAR, training=False) == {
        "step": 1,
        "call": 1,
        "dense_rate": 2 * 6000 * 4,
        "weight_rate": 4 * 6000,
    }


def test_the_first_layer_passes_no_gradient_on() -> None:
    first = asked(replace(LINEAR, products=1))
    assert first["dense_rate"] == 4 * 6000 * 4
    assert first["weight_rate"] == 5 * 4 * 6000


def test_a_convolution() -> None:
    flops = 6 * 115_200 * 4
    assert asked(CONV) == {
        "step": 1,
        "conv_call": 1,
        "tensor": 1,
        "conv_rate": flops,
        "conv_weight_rate": 6 * 4 * 1152,
        "conv_element": 2400 * 4,
        "conv_inputs": flops / 8,
        "conv_outputs": flops / 16,
        "conv_positions": flops / 100,
    }
    # its input is read, and no gradient of it made
    assert asked(replace(CONV, products=1))["conv_element"] == 2000 * 4


@pytest.mark.parametrize(
    ("channels", "filters", "block", "filled"),
    [
        (8, 16, 1, 1.0),
        (8, 16, 16, 1.0),
        # whole blocks of filters, and of channels where there are more than a block of them
        (8, 12, 16, 16 / 12),
        (16, 17, 16, 32 / 17),
        (20, 16, 16, 32 / 20),
        (20, 24, 8, 24 / 20),
    ],
)
def test_channels_are_computed_in_whole_blocks(
    channels: int, filters: int, block: int, filled: float
) -> None:
    weights = 9 * channels * filters
    odd = replace(CONV, channels=channels, weights=weights, macs=100 * weights)
    found = asked(odd, block=block)
    assert found["conv_rate"] == pytest.approx(filled * 4 * 6 * odd.macs)
    assert found["conv_weight_rate"] == asked(odd)["conv_weight_rate"]


def test_a_plain_product_unfolds_its_input() -> None:
    # 72 numbers for each of 100 positions; again for the gradients of weights and inputs
    forward = asked(CONV, batch=1, plain="lone", block=16, training=False)
    assert forward["unfold_element"] == 7200
    assert forward["dense_rate"] == 2 * CONV.macs, "of no blocks"
    assert asked(CONV, batch=1, plain="lone")["unfold_element"] == 3 * 7200
    assert "unfold_element" not in asked(POINTWISE, batch=1, plain="lone")
    assert "unfold_element" not in asked(CONV, batch=2, plain="lone")


def test_without_a_rate_of_their_own_convolutions_are_products() -> None:
    found = asked(CONV, known={"step", "dense_rate"})
    assert found["dense_rate"] == 6 * 115_200 * 4
    assert not {name for name in found if name.startswith("conv")}
    depthwise = replace(CONV, kind=Kind.DEPTHWISE, channels=1)
    assert asked(depthwise, known={"dense_rate"})["dense_rate"] == 6 * 115_200 * 4
    assert asked(depthwise)["depthwise_element"] == 2400 * 4


@pytest.mark.parametrize(
    ("layer", "batch", "plain", "product"),
    [
        (CONV, 1, "none", False),
        (CONV, 1, "lone", True),
        (CONV, 2, "lone", False),
        (CONV, 1, "lone_and_pointwise", True),
        # too large, by window or by numbers
        (replace(CONV, window=25), 1, "lone", False),
        (replace(CONV, inputs=20_481), 1, "lone", False),
        (POINTWISE, 15, "lone", False),
        (POINTWISE, 15, "lone_and_pointwise", True),
        (POINTWISE, 16, "lone_and_pointwise", False),
        # strided: half of the positions each way
        (replace(POINTWISE, macs=3200), 15, "lone_and_pointwise", False),
    ],
)
def test_which_convolutions_are_plain_products(
    layer: LayerWork, batch: int, plain: Plain, product: bool
) -> None:
    found = asked(layer, batch=batch, plain=plain)
    assert ("dense_rate" in found) == product
    assert ("conv_rate" in found) != product


@pytest.mark.parametrize(
    ("layer", "counts"),
    [
        (RELU, {"element": 6400}),
        (replace(RELU, kind=Kind.NORM), {"norm_element": 6400}),
        (replace(RELU, kind=Kind.POOL, outputs=400, name="max_pool2d"), {"pool_element": 1600}),
        (replace(RELU, kind=Kind.POOL, outputs=400, name="avg_pool2d"), {"mean_element": 1600}),
        (replace(RELU, kind=Kind.OTHER, name="add"), {"move_element": 12_800}),
    ],
)
def test_what_has_no_weights(layer: LayerWork, counts: dict[str, float]) -> None:
    assert asked(layer) == {"step": 1, "call": 1} | counts


def test_a_mask_costs_its_weights_twice_called() -> None:
    masked = replace(LINEAR, storage=Storage.MASKED)
    assert asked(masked) == asked(LINEAR) | {"call": 3, "mask_element": 6000}
    # a device whose figures are of whole networks: as dense
    plain = {"call", "dense_rate"}
    assert asked(masked, known=plain) == asked(LINEAR, known=plain)


@pytest.mark.parametrize("held", [Storage.COO, Storage.CSR])
def test_a_sparse_layer_costs_what_it_stores(held: Storage) -> None:
    layer, name = replace(LINEAR, storage=held, nonzero=500), held.value
    assert asked(layer) == {
        "step": 1,
        "tensor": 2,
        f"{name}_call": 1,
        f"{name}_entry": 500,
        f"{name}_weight": 2000,
        f"{name}_back": 500,
        "sparse_element": 640,
    }
    assert asked(layer, known={"call", f"{name}_weight"})["call"] == 1
    first = asked(replace(layer, products=1))
    assert f"{name}_back" not in first
    assert f"{name}_back" not in asked(layer, training=False)


def test_numbers_beyond_the_cache_are_cold() -> None:
    # 2 x 1600 numbers of 4 samples are 51,200 bytes: half of them and the cache
    assert asked(RELU, cache_bytes=51_200)["cold_element"] == 12_800 / 2
    assert asked(RELU, cache_bytes=1)["cold_element"] == pytest.approx(12_800, rel=1e-4)
    warm = asked(LINEAR, training=False, cache_bytes=24_000)
    assert warm["weight_rate"] == 4 * 6000 / 2
    assert asked(LINEAR, cache_bytes=24_000)["weight_rate"] == 6 * 4 * 6000


def test_blocks_of_32_mib_come_anew_from_the_system() -> None:
    numbers = 8 * 2**20
    big = replace(RELU, inputs=numbers, outputs=numbers)
    # the output, and the gradient of the input
    assert asked(big, batch=1)["page"] == 2 * 4 * numbers / 4096
    assert asked(big, batch=1, training=False)["page"] == 4 * numbers / 4096
    assert "page" not in asked(replace(big, inputs=numbers - 1, outputs=numbers - 1), batch=1)


def test_gradients_go_back_to_the_system_where_no_tensor_is_half_as_large() -> None:
    three = [replace(LINEAR, name=str(i)) for i in range(3)]
    assert asked(*three)["page"] == 3 * 4 * 6060 / 4096
    assert "page" not in asked(*three[:2], replace(RELU, outputs=8000))
    assert "page" not in asked(*three, training=False)


work = st.builds(
    lambda kind, batch: (kind, batch),
    st.sampled_from([LINEAR, CONV, POINTWISE, RELU, replace(LINEAR, storage=Storage.COO)]),
    st.integers(1, 200),
)


@given(work, st.integers(1, 50), st.booleans())
def test_so_many_steps_cost_so_many_times_one(
    one: tuple[LayerWork, int], steps: int, training: bool
) -> None:
    layer, batch = one
    options: dict[str, Any] = {"training": training, "cache_bytes": 1000, "plain": "lone"}
    alone = asked(layer, RELU, batch=batch, **options)
    many = asked(layer, RELU, batch=batch, steps=steps, **options)
    assert many == pytest.approx({name: steps * n for name, n in alone.items()})


@given(work, st.booleans())
def test_training_asks_no_less_than_a_forward_pass(
    one: tuple[LayerWork, int], cached: bool
) -> None:
    layer, batch = one
    options: dict[str, Any] = {"cache_bytes": 10_000 * cached}
    forward = asked(layer, batch=batch, training=False, **options)
    training = asked(layer, batch=batch, **options)
    assert all(training[name] >= count for name, count in forward.items())


def compact(**options: Any) -> Compact:
    kernels = {
        "step": {"value": "1 ms", **SOURCE},
        "dense_rate": {"value": "2 Gflop/s", **SOURCE},
        "conv_rate": {"value": "1 Gflop/s", **SOURCE},
        "conv_outputs": {"value": 16, **SOURCE},
        "weight_rate": {"value": "1 GB/s", **SOURCE},
    }
    return Compact.model_validate({"kind": "compact", "train": kernels} | options)


def test_rates_divide_and_ratios_multiply_the_time_of_their_rate() -> None:
    steps = Workload(layers=(CONV,), samples=40, steps=10)
    flops = 6 * 115_200 * 40
    # 16 output channels: twice as long
    assert compact().seconds(steps) == pytest.approx(0.01 + 2 * flops / 1e9)
    steps = replace(steps, layers=(LINEAR,))
    alone = 0.01 + 6 * 6000 * 40 / 2e9 + 10 * 24 * 6000 / 1e9
    assert compact().seconds(steps) == pytest.approx(alone)


def test_inference_has_figures_of_its_own_or_a_third_of_trainings() -> None:
    forward = Workload(layers=(LINEAR,), samples=40, steps=10, passes=Passes.FORWARD)
    third = 0.01 + (6 * 6000 * 40 / 2e9 + 10 * 24 * 6000 / 1e9) / 3
    assert compact().seconds(forward) == pytest.approx(third)
    own = compact(inference={"dense_rate": {"value": "1 Gflop/s", **SOURCE}})
    assert own.seconds(forward) == pytest.approx(2 * 6000 * 40 / 1e9)
    # figures of inference say nothing of training
    only = compact(inference={"dense_rate": {"value": "1 Gflop/s", **SOURCE}}, train=None)
    assert only.seconds(forward) == pytest.approx(2 * 6000 * 40 / 1e9)


@pytest.mark.parametrize(
    ("samples", "ratio"), [(2, 2.0), (64, 0.5), (1, 2.0), (500, 0.5), (11.313708, 1.0)]
)
def test_anchors_hold_between_their_batches(samples: float, ratio: float) -> None:
    anchors = [
        Anchor.model_validate({"model": "net", "batch": b, "ratio": {"value": r, **SOURCE}})
        for b, r in [(64, 0.5), (2, 2.0)]
    ]
    steps = Workload(model="net", layers=(LINEAR,), samples=samples, steps=1)  # type: ignore[arg-type]
    plain, anchored = compact(), compact(anchors=anchors)
    assert anchored.seconds(steps) == pytest.approx(ratio * plain.seconds(steps), rel=1e-6)
    for other in (replace(steps, model="other"), replace(steps, passes=Passes.FORWARD)):
        assert anchored.seconds(other) == plain.seconds(other)
