"""What carries a message over wires, as switches: each of TCP's effects can be left out.

Here stand only the names and what they mean; `simfl.cost` has the formulas where they are applied.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from simfl.options import Options, Positive

HEADER_BYTES: Final = 52
"""IPv4 (20, RFC 791) and TCP (20, RFC 9293) with timestamps (12, RFC 7323), per segment."""


CROWD: Final = 300
"""How many nodes may send at once for ``windows: auto`` to follow them. Each event costs a look
at all flows under way: 100 at once take some 1 ms a flow here, 1,000 some 4 ms."""


class Transport(Options):
    """TCP as Linux ships it, or a fluid.

    Attributes:
        kind: ``tcp``; ``fluid`` has none of the effects below: bits at the fair rate, after the
            path's latency.
        congestion_control: how a sender's window grows and shrinks: CUBIC (RFC 9438, Linux's
            default), Reno (RFC 5681) or BBR (Cardwell et al., ACM Queue 2016).
        connection_setup: ``cold``: every message pays TCP's handshake first, a round trip (RFC
            9293, section 3.5); ``warm``: the connections stand open and idle, which gRPC's
            channels do.
        headers: TCP's and IP's headers and the link's overhead take their share of every link.
        slow_start: a connection begins with ``initial_window`` segments and doubles them each
            round trip (RFC 5681, section 3.1).
        windows: follow each flow's congestion window, round trip by round trip: its growth, the
            queues it fills, its losses, and how it comes to share a link with others. ``auto``: in
            networks in which up to `CROWD` nodes send at once. Without, flows share by max-min
            fairness at once, and slow start and loss are closed forms.
        acknowledgements: what comes back takes its share of the links on the way back, one for
            every two segments (RFC 9293, section 3.8.6.3).
        loss: lost packets make the sender slow down (Mathis et al., CCR 1997; RFC 9438).
        weighted_by_rtt: where windows are not followed, flows get shares by the inverse of their
            round trip times (Lakshman and Madhow, IEEE/ACM ToN 1997) rather than equal ones.
        mss_bytes: payload of a segment: Ethernet's 1,500 less `HEADER_BYTES`.
        initial_window: segments (RFC 6928).
        receive_window_bytes: the most that Linux's receiver tunes itself to, the third value of
            ``net.ipv4.tcp_rmem`` (kernel documentation, ip-sysctl), 6 MiB.
    """

    kind: Literal["tcp", "fluid"] = "tcp"
    congestion_control: Literal["cubic", "reno", "bbr"] = "cubic"
    connection_setup: Literal["warm", "cold"] = "warm"
    headers: bool = True
    slow_start: bool = True
    windows: Literal["auto"] | bool = "auto"
    acknowledgements: bool = True
    loss: bool = True
    weighted_by_rtt: bool = False
    mss_bytes: Annotated[int, Field(ge=88, le=65_483)] = 1448
    initial_window: Positive = 10
    receive_window_bytes: Positive = 6_291_456


FLUID: Final = Transport(kind="fluid")
"""Nothing but rates and latency."""
