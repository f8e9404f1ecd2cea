"""Names that were given up for the field's own terms do not come back; see docs/glossary.md."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.documents import ROOT
from tests.passages import code

SOURCES = ROOT / "src"

GIVEN_UP = {
    "soil": "mark_pending",
    "dirty": "pending",
    "unsettle": "mark_stale",
    "decide": "update_state",
    "bury": "schedule_close",
    "bury_dead": "close_pending",
    "look_away": "disable",
    "unasked": "disabled",
    "heard": "last_activity",
    "begun": "frame_started",
    "stuck": "write_progress",
    "flooded": "over_high_water",
    "mind_marks": "check_watermarks",
    "put_off": "on_event_while_paused",
    "owes": "has_pending_output",
    "midway": "has_partial_frame",
    "Greeting": "Handshake",
    "greet": "start_handshake",
    "calling": "speaks_first",
    "passive": "handshake_only",
    "Housekeeping": "BaseLoop",
    "Calls": "BaseLoop",
    "Watcher": "LoopInterface",
    "Source": "EventSource",
    "Plan": "ConnectionContext",
    "Turn": "LoopBuffers",
    "Stretch": "Cursor",
    "strange": "needs_fallback",
    "judge": "fallback",
    "Cutter": "StreamDecoder",
    "Rule": "FrameFormat",
    "Reader": "NativeProtocol",
    "hear": "on_message",
    "Flights": "PendingCalls",
    "Flight": "PendingCall",
    "land": "complete",
    "Spare": "ParkedTask",
    "Steps": "EagerRunner",
    "go_on": "resume",
    "in_turn": "reply_in_order",
    "Guest": "AsyncioAdapter",
    "hosting": "AsyncioAdapter",
    "Runner": "Executor",
    "Direct": "InlineExecutor",
    "Service": "ApplicationProtocol",
    "Admission": "ConnectionLimiter",
    "Deadlines": "TimeoutSweeper",
    "Background": "ServerThread",
    "Introduction": "ProxyHeaderSender",
    "leaving": "interrupts",
    "companion": "local_server",
    "Conversation": "BenchConnection",
    "Exchange": "Pipeline",
    "Ledger": "RunCounters",
    "Tally": "MessageCounters",
    "Room": "Backend",
    "Forgone": "ExpiredRequests",
    "Pacing": "Schedule",
    "Share": "Shard",
    "orders": "shard_messages",
    "patience": "timeout",
    "lacking": "ramp_remaining",
    "mistaken": "last_wrong",
    "carried": "late_replies",
    "right": "correct",
    "Link": "AsyncConnection",
    "Wire": "SyncTransport",
    "Target": "Endpoint",
    "Inbox": "MessageQueue",
    "ReplyTimeout": "ClientTimeout",
    "ConnectFailed": "ConnectError",
    "TLSFailed": "TLSHandshakeError",
    "take": "on_batch",
    "filled": "ramped_up",
    "rest": "finish_if_idle",
}
"""Each with the name that came instead."""

ONLY_IN = {
    "Turn": ("epollo/engine/",),
    "filled": ("epollo/bench/run/",),
    "rest": ("epollo/bench/run/",),
    "take": (
        "epollo/bench/run/native/exchange",
        "epollo/bench/run/native/pipeline",
        "epollo/engine/native/protocol",
    ),
}
"""Words that are good names elsewhere, and the files in which they had another meaning."""

EXCEPTIONS = {  # public names that are deprecated, and a class of the standard library
    "ReplyTimeout": ("epollo/__init__.py", "epollo/errors.py"),
    "ConnectFailed": ("epollo/__init__.py", "epollo/errors.py"),
    "TLSFailed": ("epollo/__init__.py", "epollo/errors.py"),
    "Runner": ("epollo/lab/peers/serving.py",),  # asyncio's
}
"""Names that these files may still have."""


def test_no_given_up_name_is_left() -> None:
    found = Counter(
        f"{file}: {name} (now {GIVEN_UP[name]})"
        for path in _sources()
        for name in _names(path)
        if _is_given_up(name, file := str(path.relative_to(SOURCES)))
    )
    left = [f"{place}, {n} times" for place, n in sorted(found.items())]
    assert not left, "\n".join(left)


def test_an_identifier_is_found_wherever_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(
        '"""not this"""\n'
        "class A:  # nor this\n"
        '    __slots__ = ("_slot",)\n'
        "    def b(self, *, c):\n"
        '        return f"no {self._d!r}"\n'
    )
    found = set(_names(path)) - {"class", "def", "return", "r"}
    assert found == {"module", "A", "__slots__", "slot", "b", "self", "c", "d"}


def test_a_name_of_a_module_of_cython_is_found(tmp_path: Path) -> None:
    path = tmp_path / "stuck.pxd"
    path.write_text("cdef class A:\n    cdef uint8_t *_flags  # and so on\n")
    found = set(_names(path)) - {"cdef", "class"}
    assert found == {"stuck", "A", "uint8_t", "flags"}


def _sources() -> Iterator[Path]:
    suffixes = (".py", ".pyi", ".pyx", ".pxd")
    return (path for path in sorted(SOURCES.rglob("*")) if path.suffix in suffixes)


def _names(path: Path) -> Iterator[str]:
    """Its own name and the identifiers in it, without the underscore of private ones."""
    yield path.stem
    names = re.findall(r"\b[A-Za-z_]\w*", code(path))
    if path.suffix == ".py":
        names += _slots(path)
    yield from (name if name.startswith("__") else name.lstrip("_") for name in names)


def _slots(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Assign | ast.AnnAssign) and "slots" in ast.unparse(node).lower():
            for part in ast.walk(node):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.value


def _is_given_up(name: str, file: str) -> bool:
    anywhere = name in GIVEN_UP and name not in ONLY_IN and file not in EXCEPTIONS.get(name, ())
    return anywhere or file.startswith(ONLY_IN.get(name, ()))
