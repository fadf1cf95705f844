from collections.abc import Sequence

import pytest

from simfl.cost.audit import AuditedFlows
from simfl.cost.bundles import Bundles
from simfl.cost.compiled import CompiledFlows
from simfl.errors import CostError


def played(flows: AuditedFlows) -> float:
    """Two flows, a cut, an outage of one second; gives the time of the last end."""
    flows.start(0.0, (0, 1), (1.0, 1.0), 30.0)
    cut = flows.start(0.0, (0,), (1.5,), 60.0)
    assert flows.next_end_s() == pytest.approx(7.5)
    flows.set_capacity(1.0, 1, 0.0)
    flows.next_end_s()
    flows.set_capacity(2.0, 1, 6.0)
    flows.next_end_s()
    flows.cut(3.0, cut)
    # 4 a second until 1 s, nothing, 4 until 3 s; 22 left at 6
    end_s = flows.next_end_s()
    assert end_s == pytest.approx(3 + 22 / 6)
    assert flows.ended(end_s) == [0]
    assert len(flows) == 0
    return end_s


def test_books_that_agree() -> None:
    flows = AuditedFlows(Bundles([10.0, 6.0]), [10.0, 6.0])
    end_s = played(flows)
    # the other flow: 4, 10 / 1.5, 4 in three seconds, 1.5 on the link for each
    assert flows.carried(end_s) == pytest.approx([30 + 6 + 10 + 6, 30])
    assert flows.peak == pytest.approx([1.0, 1.0])


def test_the_peak_is_the_highest_share() -> None:
    flows = AuditedFlows(Bundles([10.0, 40.0]), [10.0, 40.0])
    flows.start(0.0, (0, 1), (1.0, 1.2), 30.0)
    flows.next_end_s()
    assert flows.peak == pytest.approx([1.0, 0.3])


class Greedy(Bundles):
    """A link's flows take a tenth too much."""

    def rate_bps(self, flow: int) -> float:
        return 1.1 * super().rate_bps(flow)


class Forgetful(Bundles):
    """What is cut is not counted."""

    def carried(self, now_s: float) -> list[float]:
        return [0.5 * it for it in super().carried(now_s)]


def test_a_link_above_its_capacity_is_told() -> None:
    flows = AuditedFlows(Greedy([10.0, 6.0]), [10.0, 6.0])
    flows.start(0.0, (0,), (1.0,), 30.0)
    with pytest.raises(CostError, match=r"link 0 carries 11 of 10 at 0 s, by flows \[0\]"):
        flows.next_end_s()


def test_books_that_disagree_are_told() -> None:
    flows = AuditedFlows(Forgetful([10.0]), [10.0])
    flows.start(0.0, (0,), (1.0,), 30.0)
    flows.next_end_s()
    with pytest.raises(CostError, match="link 0 has carried 5 by its flows' sizes and 10 by its"):
        flows.carried(1.0)


def test_the_engine_may_change_under_audit() -> None:
    n = 300
    capacity: Sequence[float] = [1.0 + i % 7 for i in range(n)]
    flows = AuditedFlows(Bundles(capacity), capacity)
    for i in range(n):
        flows.start(0.0, tuple(sorted({i, (i + 1) % n, (i + 5) % n})), (1.0,) * 3, 10.0 + i)
    assert flows.next_end_s() > 0
    assert isinstance(flows._flows, CompiledFlows)
    last_s = 0.0
    while len(flows):
        last_s = flows.next_end_s()
        flows.ended(last_s)
    assert sum(flows.carried(last_s)) == pytest.approx(3 * sum(10.0 + i for i in range(n)))
