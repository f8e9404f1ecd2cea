"""What one side sends and the other does not take: each ends with its reason, none in silence."""

from __future__ import annotations

import pytest

import epollo
from epollo import CloseReason
from tests.engines import Engine
from tests.interop.support import program
from tests.support import DEADLINE, Recorder


@pytest.mark.parametrize(
    ("name", "what", "framing"),
    [
        ("erlang", "4", "erlang4"),
        ("erlang", "line", "line"),
        ("twisted", "Int32", "u32"),
        ("twisted", "Netstring", "netstring"),
    ],
)
def test_a_message_over_max_frame_closes_behind_the_reply_before_it(
    engine: Engine, name: str, what: str, framing: str
) -> None:
    handler = Recorder()
    messages = [b"taken", b"x" * 1_000_000, b"never read"]
    with engine.server(handler, framing=framing, max_frame=1000) as server:
        assert program(name).ask(what, server.addresses[0], messages) == [b"taken"]
        assert handler.end() is CloseReason.FRAME_TOO_LARGE


def test_erlang_sends_a_message_over_its_length_field_and_it_is_noticed(engine: Engine) -> None:
    """{packet,1} sends 300 bytes as 44, and then what is no frame."""
    handler = Recorder()
    with engine.server(handler, framing="erlang1") as server:
        program("erlang").ask("1", server.addresses[0], [b"x" * 300])
        assert handler.end() is CloseReason.TRUNCATED
    assert handler.message() == b"x" * 44


@pytest.mark.parametrize(("what", "framing"), [("Int32", "u32"), ("Netstring", "netstring")])
def test_a_message_over_their_limit_is_connection_closed(what: str, framing: str) -> None:
    with (
        program("twisted").echoing(what) as server,
        epollo.connect(server, framing, DEADLINE, max_frame=20 << 20) as client,
    ):
        assert client.request(b"taken") == b"taken"
        with pytest.raises(epollo.ConnectionClosed):
            client.request(bytes((16 << 20) + 1))
