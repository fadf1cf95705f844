"""What one flow takes of the links on its path: headers, air time, acknowledgements, round trip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Final

from simfl.cost.transport import HEADER_BYTES, Transport
from simfl.cost.wires import Hop, Link, Path, capacity_of

# RFC 9293, section 3.8.6.3: one acknowledgement for every second segment
_ACKNOWLEDGEMENTS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Route:
    """A path as a flow of full segments sees it.

    Attributes:
        usage: of each hop's capacity by a payload bit: above 1 on a wire, for headers; air seconds
            in a cell.
        back_usage: of each hop on the way back, for the acknowledgements of a payload bit.
        rtt_s: round trip of one segment and its acknowledgement while all queues are empty.
        setup_s: of a connection: one round trip of packets without payload.
        out_s: from the narrowest hop's last bit to its arrival, all queues empty.
        loss: chance that a segment is lost.
        burst: segments that the narrowest hop sends together (a cell's aggregate; else the two
            that one acknowledgement lets go).
    """

    usage: tuple[float, ...]
    back_usage: tuple[float, ...]
    rtt_s: float
    setup_s: float
    out_s: float
    loss: float
    burst: float


def route_of(links: Sequence[Link], path: Path, transport: Transport) -> Route:
    """Count a path's headers, air time, delays and loss.

    A cell's channel access is paid once for as many packets as it aggregates (Heusse et al.,
    INFOCOM 2003, with 802.11n's aggregation); a wire stores a packet before it sends it on, so a
    segment's own time on every hop but the slowest is latency.
    """
    headers = transport.kind == "tcp" and transport.headers
    data = transport.mss_bytes + (HEADER_BYTES if headers else 0)
    reply = HEADER_BYTES if headers and transport.acknowledgements else 0
    payload_bits = 8 * transport.mss_bytes
    usage, back = [], []
    for hop in path.out:
        link = links[hop.link]
        accesses = 1 / link.cell.aggregation if link.cell else 0.0
        usage.append(_held(link, hop, data, headers, accesses) / payload_bits)
    for hop in path.back:
        link = links[hop.link]
        # replies to one aggregate go together, in one access of their own
        accesses = min(1.0, 1 / (_ACKNOWLEDGEMENTS * link.cell.aggregation)) if link.cell else 0.0
        held = _ACKNOWLEDGEMENTS * _held(link, hop, reply, headers, accesses)
        back.append(held / payload_bits if reply else 0.0)
    alone = [_alone_s(links[hop.link], hop, data) for hop in path.out]
    replies = [_alone_s(links[hop.link], hop, reply) for hop in path.back]
    out_s = sum(links[hop.link].latency_s for hop in path.out)
    back_s = sum(links[hop.link].latency_s for hop in path.back)
    return Route(
        usage=tuple(usage),
        back_usage=tuple(back),
        rtt_s=out_s + back_s + sum(alone) + sum(replies),
        setup_s=out_s + back_s + 2 * sum(replies),
        out_s=out_s + sum(alone) - max(alone, default=0.0),
        loss=1 - prod(1 - links[hop.link].loss for hop in path.out),
        burst=max(
            (float(cell.aggregation) for hop in path.out if (cell := links[hop.link].cell)),
            default=2.0,
        ),
    )


def _held(link: Link, hop: Hop, packet_bytes: int, headers: bool, accesses: float) -> float:
    """Bits of a wire that one packet takes, or seconds of air with so many channel accesses."""
    bits = 8 * (packet_bytes + (link.overhead_bytes if headers else 0))
    if link.cell is None:
        return bits
    return bits / link.cell.station_bps[hop.station] + accesses * link.cell.access_s


def _alone_s(link: Link, hop: Hop, packet_bytes: int) -> float:
    """How long one packet holds a link that is otherwise idle."""
    held = _held(link, hop, packet_bytes, True, 1.0)
    capacity = capacity_of(link, 0.0)
    return held / capacity if capacity > 0 else 0.0
