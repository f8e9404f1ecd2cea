"""Asks a server again and again, draws what it says, and does what keys ask for."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console, Group
from rich.live import Live

from epollo.control.client import ControlClient
from epollo.errors import ControlError
from epollo.top.keys import DOWN, UP, keys, pressed
from epollo.top.rates import Late, Rates, Sample, rates
from epollo.top.screen import KEYS, Picture, draw

PERIOD = 1.0  # seconds
_ROWS = 50  # connections that are asked for
_ONCE_ROWS = 20
_MESSAGE_SECONDS = 4.0
_EMPTY: Mapping[str, Any] = {"ready_line": "", "stage": "serves", "uptime": 0.0, "workers": []}


class Viewer:
    """The last answers of the server at ``path``, and the state of the screen."""

    def __init__(self, path: str, sort: str = "unsent") -> None:
        self.sort: str = sort
        self.selected: str = ""
        self._path = path
        self._client: ControlClient | None = None
        self._sample: Sample | None = None
        self._rates = Rates(0.0, {}, {})
        self._late = Late()
        self._connections: Sequence[Mapping[str, Any]] = ()
        self._total = 0
        self._trouble = ""
        self._message = ""
        self._message_until = 0.0
        self._asked = ""  # the connection that is closed if the answer is y
        self.over: bool = False

    def refresh(self) -> None:
        """Ask for everything. A server that cannot be asked is told, and tried again the next
        time. Raises ControlError only if it was never reached."""
        self._try(self._ask)

    def _try(self, ask: Callable[[], object]) -> None:
        try:
            ask()
            self._trouble = ""
        except ControlError as error:
            self.close()
            if self._sample is None:
                raise
            self._trouble = f"tried again each second: {error}"
            self._rates = Rates(0.0, {}, {})

    def _ask(self) -> None:
        if self._client is None:
            self._client = ControlClient(self._path)
        sample = Sample(time.monotonic(), self._client.ask("figures"))
        self._ask_connections()
        same = self._sample is not None and self._sample.answer["pid"] == sample.answer["pid"]
        self._rates = rates(self._sample if same else None, sample)
        self._late.add(sample.at, self._rates)
        self._sample = sample

    def _ask_connections(self) -> None:
        if self._client is not None:
            listed = self._client.ask("connections", sort=self.sort, limit=_ROWS)
            self._connections, self._total = listed["connections"], listed["total"]

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def picture(self, rows: int = _ROWS) -> Picture:
        """All that is drawn now."""
        message = self._message if time.monotonic() < self._message_until else ""
        return Picture(
            answer=_EMPTY if self._sample is None else self._sample.answer,
            rates=self._rates,
            late=self._late.reasons,
            connections=self._connections[:rows],
            total=self._total,
            sort=self.sort,
            selected=self.selected,
            message=message,
            trouble=self._trouble,
        )

    def press(self, key: str) -> None:
        """Do what the key asks for."""
        if self._asked:
            self._confirm(key)
        elif key in ("q", "Q", "\x03"):
            self.over = True
        elif key in KEYS:
            self.sort = KEYS[key]
            self._try(self._ask_connections)
        elif key in (UP, DOWN):
            self._select(1 if key == DOWN else -1)
        elif key == "k":
            self._ask_to_close()

    def _select(self, by: int) -> None:
        ids = [row["id"] for row in self._connections]
        if self.selected in ids:
            at = ids.index(self.selected) + by
            self.selected = ids[at] if 0 <= at < len(ids) else self.selected
        elif ids:
            self.selected = ids[0]

    def _ask_to_close(self) -> None:
        row = next((each for each in self._connections if each["id"] == self.selected), None)
        if row is None:
            self._say("select a connection first, with the arrow keys")
            return
        self._asked = self.selected
        self._say(f"close {row['id']} of {row['peer']} at once? y or n", seconds=60.0)

    def _confirm(self, key: str) -> None:
        connection, self._asked = self._asked, ""
        if key not in ("y", "Y") or self._client is None:
            self._say("")
            return
        try:
            self._client.ask("close", connection=connection, abort=True)
            self._say(f"{connection} is closed")
        except ControlError as error:
            self._say(str(error))
        self.selected = ""
        self._try(self._ask_connections)

    def _say(self, text: str, seconds: float = _MESSAGE_SECONDS) -> None:
        self._message, self._message_until = text, time.monotonic() + seconds


def show_once(viewer: Viewer, console: Console) -> None:
    """One screen, of the time between two samples. Raises ControlError."""
    try:
        viewer.refresh()
        time.sleep(PERIOD)
        viewer.refresh()
        for line in draw(viewer.picture(_ONCE_ROWS), console.width, None):
            console.print(line)
    finally:
        viewer.close()


def show(viewer: Viewer, console: Console) -> None:
    """The live view, until q or Ctrl-C. Raises ControlError if the server cannot be reached at the
    beginning."""
    viewer.refresh()
    due = time.monotonic() + PERIOD
    try:
        with keys(), Live(console=console, screen=True, auto_refresh=False) as live:
            while not viewer.over:
                width, height = console.size
                lines = draw(viewer.picture(), width, height)
                live.update(Group(*lines), refresh=True)
                for key in pressed(max(0.0, due - time.monotonic())):
                    viewer.press(key)
                if time.monotonic() >= due:
                    viewer.refresh()
                    due = max(due + PERIOD, time.monotonic())
    except (KeyboardInterrupt, EOFError):
        pass
    finally:
        viewer.close()
