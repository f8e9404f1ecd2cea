"""Every protocol that is known is served: by a name, a spec, or a few lines of one's own."""

from __future__ import annotations

import inspect

import pytest

from epollo.framing import Sized, parse
from epollo.testing import check_framing
from tests.framing import own_framings
from tests.framing.rows import ROWS, Row

every_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row.protocol))

MOST_LINES = 9


@every_row
def test_its_frames_are_cut_whole_bytewise_at_every_split_and_from_hostile_bytes(row: Row) -> None:
    check_framing(row.framing, row.frames, row.messages)


@every_row
def test_its_messages_are_sent_as_the_frames_that_they_came_in(row: Row) -> None:
    framing = parse(row.framing)
    assert [framing.encode(message) for message in row.messages] == row.frames


def test_a_framing_of_ones_own_has_few_lines() -> None:
    kinds = [kind for kind in vars(own_framings).values() if inspect.isclass(kind)]
    own = [kind for kind in kinds if issubclass(kind, Sized) and kind is not Sized]
    assert own
    for kind in own:
        lines = inspect.getsource(kind.measure).splitlines()[1:]
        assert len(lines) <= MOST_LINES, kind
