"""A syslog sink: what other machines log comes over TCP, and is written to a file.

    python examples/syslog_sink.py 127.0.0.1:5514 messages.log
    epollo serve examples.syslog_sink:Sink --framing examples.syslog_sink:Either --max-frame 64KiB
    logger --tcp --server 127.0.0.1 --port 5514 hello

RFC 6587 for the frames, RFC 5424 for the messages; RFC 3164 tells what older programs send.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import epollo
from epollo import framing

FACILITIES = [
    *("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news"),
    *("uucp", "cron", "authpriv", "ftp", "ntp", "audit", "alert", "clock"),
    *(f"local{number}" for number in range(8)),
]
SEVERITIES = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"]
NOTICE = 8 + 5  # of the facility user: for what has no priority (RFC 3164, 4.3.3)

PRIORITY = re.compile(rb"<(0|[1-9][0-9]{0,2})>")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
MAX_FRAME = "64KiB"


class Either(framing.Sized):
    """A length and a blank before each message, or LF behind it: its first byte tells which."""

    filler = b"\n"

    def measure(self, header: framing.Header) -> int | None:
        if not header[:1].isdigit():
            end = header.find(b"\n", header.state or 0)
            header.state = len(header)
            return end + 1 or None
        length, blank, _ = header[:10].partition(b" ")
        if header[0] == ord("0") or not length.isdigit() or (len(length) == 10):
            raise epollo.FrameCorrupt("a frame does not begin with its length and a blank")
        return len(length) + 1 + int(length) if blank else None


class Sink:
    """Writes a line for each message: the peer, the facility, the severity, and the rest."""

    def __init__(self, path: str = "messages.log") -> None:
        self.file = Path(path).open("a", encoding="utf-8", buffering=1)  # noqa: SIM115

    def received(self, frame: bytes, connection: epollo.Connection) -> None:
        message = frame.partition(b" ")[2] if frame[:1].isdigit() else frame
        message = message.rstrip(b"\r\n\0")  # rsyslog ends them with LF behind a length, too
        priority = PRIORITY.match(message)
        code, start = (int(priority[1]), priority.end()) if priority else (NOTICE, 0)
        if code >= 8 * len(FACILITIES):
            code, start = NOTICE, 0
        level = f"{FACILITIES[code // 8]}.{SEVERITIES[code % 8]}"
        text = message[start:].decode("utf-8", "backslashreplace")
        self.file.write(f"{connection.peername} {level} {CONTROL.sub(escaped, text)}\n")

    def stopped(self, server: epollo.Server) -> None:
        self.file.close()


def escaped(control: re.Match[str]) -> str:
    """A message stays on its line, and commands no terminal."""
    return f"\\x{ord(control[0]):02x}"


if __name__ == "__main__":
    epollo.serve(Sink(*sys.argv[2:3]), *sys.argv[1:2], framing=Either, max_frame=MAX_FRAME)
