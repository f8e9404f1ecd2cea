"""Framed u32 echo servers on other libraries, each as that library's users would write it.

All call the Python function `handler.handle` once for each message. None limits the memory that a
message takes or counts anything, which is in their favour. Each is a program:
`python -m epollo.lab.peers.NAME PORT`; port 0 is any free port. It prints one line,
`NAME: serving on 127.0.0.1:PORT`, and ends on SIGTERM with status 0.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib.util import find_spec


@dataclass(frozen=True, slots=True)
class Peer:
    """One of the programs.

    Attributes:
        name: its name in options and results; its module has an underscore for each hyphen.
        label: its name in tables.
        needs: the package that it needs, by its name in pip and in `import`; None: none.
    """

    name: str
    label: str
    needs: str | None = None

    @property
    def installed(self) -> bool:
        """Is its package installed?"""
        return self.needs is None or find_spec(self.needs) is not None

    @property
    def command(self) -> tuple[str, ...]:
        """The command that starts it on a free port, with this Python."""
        return (sys.executable, "-m", f"{__name__}.{self.name.replace('-', '_')}", "0")


PEERS = (
    Peer("uvloop-protocol", "uvloop Protocol", "uvloop"),
    Peer("uvloop-protocol-tuned", "uvloop Protocol, tuned", "uvloop"),
    Peer("uvloop-streams", "uvloop streams", "uvloop"),
    Peer("asyncio-protocol", "asyncio Protocol"),
    Peer("asyncio-streams", "asyncio streams"),
    Peer("twisted-int32", "Twisted Int32StringReceiver", "twisted"),
    Peer("gevent-streamserver", "gevent StreamServer", "gevent"),
    Peer("socketserver-threads", "socketserver, threads"),
)
