"""The raw framing."""

from __future__ import annotations

from epollo.framing import parse


def test_raw_returns_its_input() -> None:
    decoder = parse("raw").decoder()
    assert decoder.feed(b"anything") == [b"anything"]
    assert decoder.feed(b"") == []
    assert decoder.feed_from(memoryview(b"anything"), 3) == [b"any"]
    decoder.eof()
    assert parse("raw").encode(b"anything") == b"anything"


def test_max_frame_does_not_limit_raw() -> None:
    framing = parse("raw", max_frame=3)
    assert framing.decoder().feed(b"anything") == [b"anything"]
    assert framing.encode(b"anything") == b"anything"
