"""What other programs and specifications call a frame, by the framing that serves it."""

from __future__ import annotations

import pytest

from epollo.framing import parse
from epollo.framing.protocols import PROTOCOLS
from tests.documents import ROOT
from tests.framing.rows import ROWS
from tests.framing.support import assert_cuts, decoders, outcome
from tests.framing.vectors import VECTORS


def pairs(spec: str) -> list[tuple[bytes, bytes]]:
    return [(bytes.fromhex(frame), bytes.fromhex(message)) for frame, message in VECTORS[spec]]


def test_every_name_has_frames() -> None:
    assert set(PROTOCOLS) <= {*VECTORS, *(row.framing for row in ROWS)}


@pytest.mark.parametrize("spec", VECTORS)
def test_frames_are_cut_whole_bytewise_and_at_every_split(spec: str) -> None:
    frames, messages = zip(*pairs(spec), strict=True)
    assert_cuts(parse(spec), b"".join(frames), list(messages))
    assert_cuts(parse(spec), b"".join(frames) * 3, list(messages) * 3)


@pytest.mark.parametrize("spec", VECTORS)
def test_messages_are_sent_as_the_frames_that_they_came_in(spec: str) -> None:
    for frame, message in pairs(spec):
        assert parse(spec).encode(message) == frame


@pytest.mark.parametrize("spec", VECTORS)
def test_an_end_inside_a_frame_is_told(spec: str) -> None:
    frame = pairs(spec)[0][0]
    for decoder in decoders(parse(spec)):
        assert decoder.feed(frame[:-1]) == []
    messages, error, _ = outcome(parse(spec), [frame[:-1]])
    assert (messages, error is None) == ([], False)


@pytest.mark.parametrize("spec", PROTOCOLS)
def test_a_name_is_a_framing_that_the_documentation_names(spec: str) -> None:
    assert parse(spec).name == spec
    text = (ROOT / "docs" / "framing.md").read_text()
    row = next(line for line in text.splitlines() if line.startswith(f"| `{spec}` |"))
    assert f"`{PROTOCOLS[spec].framing}`" in row
    assert PROTOCOLS[spec].source in row
