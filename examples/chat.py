"""A chat: rooms that people join, lines that all in the room see.

    python examples/chat.py
    epollo serve examples.chat:Chat --framing line --max-frame 512
    nc 127.0.0.1 8091

`/nick NAME` says who you are, `/join ROOM` where; `/leave` leaves. All else goes to the room.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from itertools import count

import epollo

MAX_LINE = 512  # bytes, with the nick that is put before the text
MAX_TEXT = 400  # bytes
MAX_NAME = 20  # characters of a nick or a room


@dataclass
class Person:
    """What is remembered of a connection."""

    nick: str
    room: str = ""


class Chat:
    """A room is a group of connections; `epollo` forgets who has gone."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._nicks: set[str] = set()

    def started(self, server: epollo.Server) -> None:
        self._server = server

    def connected(self, connection: epollo.Connection) -> None:
        nicks = (f"guest{number}" for number in self._numbers)
        nick = next(nick for nick in nicks if nick not in self._nicks)
        self._nicks.add(nick)
        connection.state = Person(nick)
        connection.send(f"* you are {nick}; /nick, /join, /leave".encode())

    def received(self, message: bytes, connection: epollo.Connection) -> bytes | None:
        """One line. What is answered here, the others do not see."""
        try:
            text = message.decode().strip()
        except UnicodeDecodeError:
            return b"! a line is text in UTF-8"
        if not text:
            return None
        if not text.isprintable():  # nobody commands the terminals of the others
            return b"! a line is printable text"
        person: Person = connection.state
        if text.startswith("/"):
            command, _, name = text[1:].partition(" ")
            return self._obey(command, name.strip(), connection)
        if len(message) > MAX_TEXT:
            return f"! a line has {MAX_TEXT} bytes at most".encode()
        if not person.room:
            return b"! join a room first: /join ROOM"
        self._say(person, f"{person.nick}: {text}")
        return None

    def disconnected(self, connection: epollo.Connection, reason: epollo.CloseReason) -> None:
        self._leave(connection)
        self._nicks.discard(connection.state.nick)

    def _obey(self, command: str, name: str, connection: epollo.Connection) -> bytes | None:
        person: Person = connection.state
        if command in ("nick", "join") and not (name.isalnum() and len(name) <= MAX_NAME):
            return f"! a name is letters and digits, {MAX_NAME} at most".encode()
        if command == "nick":
            return self._rename(person, name)
        if command == "join":
            self._leave(connection)
            connection.join(name)
            person.room = name
            self._say(person, f"* {person.nick} is here")
            return None
        if command == "leave" and not name:
            self._leave(connection)
            return b"* you are in no room"
        return b"! there are /nick NAME, /join ROOM and /leave"

    def _rename(self, person: Person, nick: str) -> bytes | None:
        if nick in self._nicks:
            return f"! {nick} is taken".encode()
        old, person.nick = person.nick, nick
        self._nicks ^= {old, nick}
        self._say(person, f"* {old} is {nick} now")
        return None if person.room else f"* you are {nick}".encode()

    def _leave(self, connection: epollo.Connection) -> None:
        person: Person = connection.state
        if person.room:
            connection.leave(person.room)  # no error where it is closed, and has left
            self._say(person, f"* {person.nick} has left")
            person.room = ""

    def _say(self, person: Person, text: str) -> None:
        if person.room:
            self._server.publish(person.room, text.encode())


if __name__ == "__main__":
    epollo.serve(Chat(), *sys.argv[1:2], framing="line", max_frame=MAX_LINE)
