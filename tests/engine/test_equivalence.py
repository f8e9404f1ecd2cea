"""Two engines, one behaviour: the same messages, errors, replies and ends, whatever comes.

`fuzz` makes the streams and compares; here is the everyday share of it. `python -m fuzz` has more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epollo.engine import CloseReason, available
from epollo.framing import parse

if "native" not in available():
    pytest.skip("the native engine is not built", allow_module_level=True)

from epollo.engine.native.decoder import Decoder
from fuzz import cutting, loops, run
from fuzz.cutting import FedFrom, steps
from fuzz.difference import Difference
from fuzz.scenes import Deed, Kind, a_scene
from fuzz.streams import FAMILIES, a_stream
from tests.framing.framings import FRAMINGS, streams
from tests.framing.support import chunkings

STREAMS = range(3000)
SCENES = range(400)
choices = st.randoms(use_true_random=False)


@settings(max_examples=150)
@given(chance=choices)
def test_any_stream_is_cut_alike(chance: Random) -> None:
    cutting.agree(chance)


@settings(max_examples=100)
@given(spec=st.sampled_from(FRAMINGS), max_frame=st.integers(100, 200), stream=streams)
def test_a_short_stream_is_cut_alike_however_it_comes(
    spec: str, max_frame: int, stream: bytes
) -> None:
    framing = parse(spec, max_frame)
    for chunks in chunkings(stream):
        python = steps(framing.decoder(), [*chunks])
        assert steps(FedFrom(framing.decoder()), [*chunks]) == python
        assert steps(Decoder(framing), [*chunks]) == python, chunks


def test_streams_by_seed_are_cut_alike_and_end_in_all_ways() -> None:
    ends: Counter[tuple[str, str]] = Counter()
    for seed in STREAMS:
        _, family, outcome = replayable("decoders", run.through_decoders, seed)
        ends[family, outcome] += 1
    assert {family for family, _ in ends} == set(FAMILIES)
    sized = {"FrameCorrupt", "FrameTooLarge", "FrameTruncated", "well"}
    assert {end for family, end in ends if family == "lengthprefix"} == sized
    assert {end for family, end in ends if family == "lengthfield"} == sized
    assert {end for family, end in ends if family == "varint"} == sized
    assert {end for family, end in ends if family == "netstring"} == sized
    for family in ("own", "delimiter", "line"):
        assert {end for each, end in ends if each == family} >= sized - {"FrameCorrupt"}


def test_scenes_by_seed_come_to_the_same_and_end_for_all_reasons() -> None:
    ends: Counter[tuple[str, str]] = Counter()
    for seed in SCENES:
        _, kind, reason = replayable("loops", run.through_loops, seed)
        ends[kind, reason] += 1
    assert {kind for kind, _ in ends} == set(Kind)
    out_of_reach = {
        CloseReason.REFUSED,  # which is for connects
        CloseReason.IDLE_TIMEOUT,  # and these are the server's, above the engines
        CloseReason.FRAME_TIMEOUT,
        CloseReason.WRITE_TIMEOUT,
        CloseReason.TLS_ERROR,
        CloseReason.PROXY_ERROR,
        CloseReason.MEMORY,
        CloseReason.BAD_MESSAGE,  # an error of the handler by another name
    }
    assert {reason for _, reason in ends} == set(CloseReason) - out_of_reach


def replayable(
    through: str, play: Callable[[int], tuple[str, str, str]], seed: int
) -> tuple[str, str, str]:
    try:
        return play(seed)
    except Difference as error:
        replay = f"python -m fuzz --streams 1 --seed {seed} --through {through}"
        raise AssertionError(f"{error}\n  replay: {replay}") from None


def test_a_seed_is_a_stream_and_a_scene() -> None:
    for seed in range(50):
        one, two = a_stream(Random(seed)), a_stream(Random(seed))
        assert (one.framing.name, one.chunks) == (two.framing.name, two.chunks)
        assert str(a_scene(Random(seed))) == str(a_scene(Random(seed)))


def test_streams_reach_the_native_engines_large_reads_and_every_deed() -> None:
    sizes = [len(chunk) for seed in STREAMS for chunk in a_stream(Random(seed)).chunks]
    assert min(sizes) == 1
    assert max(sizes) > 128 << 10
    deeds = {deed for seed in SCENES for deed in a_scene(Random(seed)).deeds}
    lasts = {scene.last[1] for seed in SCENES if (scene := a_scene(Random(seed))).last}
    assert deeds | lasts == set(Deed)


def test_a_difference_is_found_and_told_with_the_command_that_replays_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Deaf(Decoder):
        def feed(self, data: Any) -> list[bytes]:
            super().feed(data)
            return []

    monkeypatch.setattr(cutting, "NativeDecoder", Deaf)
    assert run.main(["--streams", "20", "--seed", "7", "--jobs", "1", "--through", "decoders"]) == 1
    told = capsys.readouterr()
    assert "the decoders differ at call" in told.err
    assert "replay: python -m fuzz --streams 1 --seed " in told.err
    monkeypatch.undo()
    assert run.main(["--streams", "1", "--seed", "7"]) == 0
    assert "1 streams in 0 s: 1 through the decoders" in capsys.readouterr().out


def test_a_scene_that_differs_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    play = loops.play

    def forgetful(scene: Any, engine: str) -> loops.Record:
        record = play(scene, engine)
        if engine == "native":
            record.events.append("eof")
        return record

    monkeypatch.setattr(loops, "play", forgetful)
    with pytest.raises(Difference, match=r"the loops differ\n  scene: "):
        loops.agree(Random(1))


@pytest.mark.parametrize("max_frame", [1 << 40, (1 << 63) - 1, 1 << 70])
@pytest.mark.parametrize("length", [1 << 39, (1 << 63) - 100, (1 << 63) - 8, (1 << 63) - 1])
def test_a_frame_too_large_for_memory_waits_for_its_bytes(length: int, max_frame: int) -> None:
    """They may never come: a length alone, which max_frame allows, is no error."""
    framing = parse("u64", max_frame)
    chunks: list[Any] = [length.to_bytes(8, "big") + b"abc", b"def"]
    assert steps(Decoder(framing), chunks) == steps(framing.decoder(), chunks)
