"""A scenario made shorter, and saying so: fewer rounds, fewer clients."""

from __future__ import annotations

from simfl.errors import ScenarioError
from simfl.scenario.override import Override
from simfl.scenario.schema import Scenario

_PARTS = ("rounds", "clients")


def parse(text: str) -> dict[str, float]:
    """Read a scale: one share for both, or ``rounds=0.1,clients=0.5``.

    >>> parse("0.1"), parse("clients=0.5")
    ({'rounds': 0.1, 'clients': 0.1}, {'clients': 0.5})

    Raises:
        ScenarioError: not of that form, or a share that is not above 0 and at most 1.
    """
    given = {} if "=" in text else dict.fromkeys(_PARTS, text)
    if not given:
        for pair in text.split(","):
            part, _, value = pair.partition("=")
            given[part.strip()] = value
    try:
        found = {part: float(value) for part, value in given.items()}
    except ValueError:
        found = {}
    if not found or set(found) - set(_PARTS) or not all(0 < x <= 1 for x in found.values()):
        raise ScenarioError(
            f"--scale {text}: give a share above 0 and up to 1, as 0.1, or rounds=0.1,clients=0.5"
        )
    return found


def shortened(scenario: Scenario, *, rounds: float = 1.0, clients: float = 1.0) -> list[Override]:
    """The changes that shorten a scenario.

    Rounds: the protocol's, and what the algorithm counts in them for the whole training (its
    options' ``spans_rounds``), so that schedules end where they did. Clients: every group's count
    but the server's and the aggregators', and the protocol's own numbers of them; each client holds
    as much data as before.

    Returns:
        Overrides, one of which says in ``scaled`` what was done; none where nothing changes.
    """
    changes: dict[tuple[str, ...], object] = {}
    told = []
    before = getattr(scenario.protocol.options, "rounds", None)
    if rounds < 1 and before is not None:
        changes["protocol", "rounds"] = after = _scaled(before, rounds)
        told.append(f"{after:,} of {before:,} rounds")
        options = scenario.learning.algorithm.options
        for name in getattr(options, "spans_rounds", ()):
            value = getattr(options, name)
            if value is not None:
                changes["learning", "algorithm", name] = _scaled(value, rounds)
    if clients < 1:
        many = scenario.platform.clients
        devices = scenario.platform.devices
        groups = [g for g, of in devices.items() if g != "server" and of.role == "train"]
        counts = {g: _scaled(scenario.platform.devices[g].count, clients) for g in groups}
        for group, count in counts.items():
            changes["platform", "devices", group, "count"] = count
        for name in ("cohort", "concurrency", "buffer"):
            some = getattr(scenario.protocol.options, name, None)
            if some is not None:
                changes["protocol", name] = _scaled(some, clients)
        partition = scenario.learning.dataset.partition
        if getattr(partition.options, "parts", 0) is None:
            changes["learning", "dataset", "partition"] = {**partition.written(), "parts": many}
        told.append(f"{sum(counts.values()):,} of {many:,} clients")
    if told:
        changes[("scaled",)] = ", ".join(told)
    return [
        Override(path, value, f"--scale: {'.'.join(path)}={value}")
        for path, value in changes.items()
    ]


def _scaled(count: int, share: float) -> int:
    return max(1, round(count * share))
