import pytest
from pydantic import ValidationError

from simfl.cost.transport import FLUID, HEADER_BYTES, Transport


def test_a_full_segment_fills_an_ethernet_packet() -> None:
    assert Transport().mss_bytes + HEADER_BYTES == 1500


def test_defaults_are_linux_tcp_over_warm_connections() -> None:
    transport = Transport()
    assert (transport.kind, transport.congestion_control) == ("tcp", "cubic")
    assert transport.connection_setup == "warm"
    switches = ("headers", "slow_start", "windows", "acknowledgements", "loss")
    assert all(getattr(transport, name) for name in switches)
    assert FLUID.kind == "fluid"


@pytest.mark.parametrize("wrong", [{"mss_bytes": 20}, {"initial_window": 0}, {"kind": "udp"}])
def test_what_no_tcp_has(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Transport.model_validate(wrong)
