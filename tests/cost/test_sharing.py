from collections.abc import Hashable, Mapping
from fractions import Fraction
from itertools import permutations
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simfl.cost.sharing import Route, max_min_rates

Flows = tuple[list[dict[str, float]], dict[str, float]]


@st.composite
def networks(draw: st.DrawFn) -> Flows:
    """Up to 7 flows over up to 4 resources; wires and air, from bits to Gbit/s."""
    names = draw(st.lists(st.sampled_from("abcd"), min_size=1, unique=True))
    sizes = st.sampled_from([1.0, 2.0, 3.0, 10.0, 2e6, 1e9]) | st.floats(1e-3, 1e9)
    usages = st.sampled_from([1.0, 2.0, 1 / 36e6, 1 / 18e6]) | st.floats(1e-3, 1e3)
    capacity = {name: draw(sizes) for name in names}
    route = st.dictionaries(st.sampled_from(names), usages, min_size=1)
    return draw(st.lists(route, min_size=1, max_size=7)), capacity


def load(rates: list[float], routes: list[Route], resource: Hashable) -> float:
    return sum(r * route.get(resource, 0) for r, route in zip(rates, routes, strict=True))


def reference(routes: list[Route], capacity: Mapping[Hashable, float]) -> list[Fraction]:
    """Exactly, one flow at a time: the one whose fair share of its worst resource is least."""
    exact = [{name: Fraction(usage) for name, usage in route.items()} for route in routes]
    fixed: dict[int, Fraction] = {}
    while len(fixed) < len(routes):

        def level(name: Hashable) -> Fraction:
            spent = sum(rate * exact[f].get(name, 0) for f, rate in fixed.items())
            wanted = sum(exact[f].get(name, 0) for f in range(len(exact)) if f not in fixed)
            return (Fraction(capacity[name]) - spent) / wanted

        shares = {
            flow: min(level(name) for name in exact[flow])
            for flow in range(len(exact))
            if flow not in fixed
        }
        flow = min(shares, key=lambda f: shares[f])
        fixed[flow] = shares[flow]
    return [fixed[flow] for flow in range(len(routes))]


@given(networks())
def test_as_the_slow_exact_reference(flows: Flows) -> None:
    rates = max_min_rates(*flows)
    assert rates == pytest.approx([float(rate) for rate in reference(*flows)], rel=1e-9)


@given(networks())
def test_feasible_fair_and_work_conserving(flows: Flows) -> None:
    routes, capacity = flows
    rates = max_min_rates(routes, capacity)
    loads = {name: load(rates, routes, name) for name in capacity}
    for name, size in capacity.items():
        assert loads[name] <= size * (1 + 1e-9)
    for rate, route in zip(rates, routes, strict=True):
        assert rate > 0
        # Bertsekas and Gallager: each flow has a full resource on which nobody has more
        assert any(
            loads[name] >= capacity[name] * (1 - 1e-9)
            and all(
                other <= rate * (1 + 1e-9)
                for other, theirs in zip(rates, routes, strict=True)
                if name in theirs
            )
            for name in route
        )


@given(networks(), st.randoms(use_true_random=False))
def test_the_order_of_flows_and_resources_does_not_matter(flows: Flows, random: Random) -> None:
    routes, capacity = flows
    order = list(range(len(routes)))
    random.shuffle(order)
    names = list(capacity)
    random.shuffle(names)
    shuffled = max_min_rates([routes[i] for i in order], {name: capacity[name] for name in names})
    rates = max_min_rates(routes, capacity)
    assert shuffled == pytest.approx([rates[i] for i in order], rel=1e-9)


@given(networks(), st.floats(1e-3, 1e3))
def test_twice_the_capacity_is_twice_the_rate(flows: Flows, factor: float) -> None:
    routes, capacity = flows
    more = max_min_rates(routes, {name: size * factor for name, size in capacity.items()})
    assert more == pytest.approx([r * factor for r in max_min_rates(routes, capacity)], rel=1e-9)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 100])
def test_n_flows_share_one_link_alike(n: int) -> None:
    assert max_min_rates([{"a": 1.0}] * n, {"a": 10e6}) == pytest.approx([10e6 / n] * n)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_the_line_network(order: tuple[int, ...]) -> None:
    # one long flow over two links, one short flow on each: the textbook's example
    routes = [{"a": 1.0, "b": 1.0}, {"a": 1.0}, {"b": 1.0}]
    rates = max_min_rates([routes[i] for i in order], {"a": 1.0, "b": 4.0})
    assert [rates[order.index(i)] for i in range(3)] == [0.5, 0.5, 3.5]


def test_stations_of_a_cell_get_equal_throughput() -> None:
    # 1 / (1/36 + 1/18) = 12 Mbit/s each: the slow station holds the air twice as long
    slow, fast = {"air": 1 / 18e6}, {"air": 1 / 36e6}
    assert max_min_rates([slow, fast], {"air": 1.0}) == pytest.approx([12e6, 12e6], rel=1e-12)
    assert max_min_rates([slow], {"air": 1.0}) == pytest.approx([18e6], rel=1e-12)


def test_a_flow_limited_elsewhere_leaves_the_rest_to_others() -> None:
    routes = [{"core": 1.0, "dsl": 1.0}, {"core": 1.0}, {"core": 1.0}]
    assert max_min_rates(routes, {"core": 10.0, "dsl": 1.0}) == [1.0, 4.5, 4.5]


def test_no_flow_no_rate() -> None:
    assert max_min_rates([], {"a": 1.0}) == []


def test_arguments_are_not_changed() -> None:
    routes, capacity = [{"a": 1.0}], {"a": 2.0}
    max_min_rates(routes, capacity)
    assert (routes, capacity) == ([{"a": 1.0}], {"a": 2.0})
