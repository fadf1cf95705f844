import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from simfl.cost.framing import Framing


def varint(number: int) -> bytes:
    """As Protocol Buffers, Encoding, gives it."""
    digits = []
    while number > 127:
        digits.append(number & 127 | 128)
        number >>= 7
    return bytes([*digits, number])


def in_frames(body: bytes) -> int:
    """Length of HTTP/2 DATA frames of a body, one by one; an empty body has one (END_STREAM)."""
    total = 0
    while True:
        chunk, body = body[:16_384], body[16_384:]
        total += 9 + len(chunk)
        if not body:
            return total


@given(st.integers(0, 300_000))
def test_grpc_is_as_long_as_the_bytes_written_out(nbytes: int) -> None:
    field = b"\x0a" + varint(nbytes) + bytes(nbytes)
    message = b"\0" + len(field).to_bytes(4, "big") + field
    assert Framing(kind="grpc").wire_bytes(nbytes) == in_frames(message)
    assert Framing(kind="http2").wire_bytes(nbytes) == in_frames(bytes(nbytes))
    assert Framing().wire_bytes(nbytes) == nbytes


def test_flower_wraps_each_tensor() -> None:
    arrays = [bytes(128 + 1000)] * 6
    fields = b"".join(b"\x0a" + varint(len(array)) + array for array in arrays)
    body = b"\x0a" + varint(len(fields)) + fields
    whole = in_frames(b"\0" + len(body).to_bytes(4, "big") + body)
    assert Framing(kind="flower", tensors=6).wire_bytes(6000) == whole


def test_time_of_writing_and_reading_is_charged_only_if_given() -> None:
    assert Framing(kind="grpc").seconds(10**9) == 0.0
    assert Framing.model_validate({"serialisation": "200 MB/s"}).seconds(10**8) == 0.5
    both = Framing.model_validate({"serialisation": "200 MB/s", "handling": "10 ms"})
    assert (both.seconds(0), both.seconds(10**8)) == (0.01, 0.51)


def test_text_stands_for_the_kind() -> None:
    assert Framing.model_validate("grpc") == Framing(kind="grpc")
    with pytest.raises(ValidationError, match="give tensors, how many the model has"):
        Framing.model_validate("flower")
