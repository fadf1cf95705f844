"""Which carrier a network has: decided by the scenario alone, never by the machine."""

from __future__ import annotations

from simfl.cost.carrier import Carrier, Ways
from simfl.cost.fair_carrier import FairCarrier
from simfl.cost.framing import UNFRAMED, Framing
from simfl.cost.transport import CROWD, Transport
from simfl.cost.wires import Wires


def carrier(
    wires: Wires, transport: Transport, framing: Framing = UNFRAMED, *, seed: int, senders: int
) -> Carrier:
    """TCP flows that follow their windows; or a fluid, where the scenario asks or is too large.

    Args:
        wires: links and paths.
        transport: TCP or a fluid, and which of TCP's effects.
        framing: what the application puts around a message.
        seed: of losses and jitter.
        senders: how many nodes may send at once.
    """
    ways = Ways(wires, transport, framing, seed=seed)
    follow = senders <= CROWD if transport.windows == "auto" else transport.windows
    if transport.kind == "fluid" or not follow:
        return FairCarrier(ways)
    # compiled code, which only these networks need
    from simfl.cost.window_carrier import WindowCarrier

    return WindowCarrier(ways, seed=seed)
