"""The chat, with people who type."""

from __future__ import annotations

from typing import Self

from tests.examples.support import both_ways
from tests.support import Peer, ServerProcess

every_way = both_ways("chat", "Chat", "--framing", "line", "--max-frame", "512")


class Person(Peer):
    """Someone with a nick, in a room."""

    def __init__(self, server: ServerProcess, nick: str) -> None:
        super().__init__(server.address)
        self.nick = nick

    def __enter__(self) -> Self:
        assert self.line().startswith("* you are guest")
        assert self.ask_line(f"/nick {self.nick}") == f"* you are {self.nick}"
        return self

    def line(self) -> str:
        """The next line; "" where the stream ends before."""
        data = bytearray()
        while not data.endswith(b"\n") and (byte := self.receive(1)):
            data += byte
        return data.decode().rstrip("\r\n")

    def ask_line(self, text: str) -> str:
        self.send(text.encode() + b"\n")
        return self.line()

    def join(self, room: str) -> None:
        assert self.ask_line(f"/join {room}") == f"* {self.nick} is here"


@every_way
def test_a_line_goes_to_all_in_the_room_and_to_nobody_else(server: ServerProcess) -> None:
    with Person(server, "ann") as ann, Person(server, "bob") as bob, Person(server, "cy") as cy:
        ann.join("tea")
        cy.join("coffee")
        bob.join("tea")
        assert ann.line() == "* bob is here"
        assert ann.ask_line("höre!") == "ann: höre!"
        assert bob.line() == "ann: höre!"
        assert cy.ask_line("alone?") == "cy: alone?"  # the first that was said in its room


@every_way
def test_who_leaves_or_hangs_up_is_missed(server: ServerProcess) -> None:
    with Person(server, "ann") as ann:
        ann.join("tea")
        with Person(server, "bob") as bob:
            bob.join("tea")
            assert bob.ask_line("/leave") == "* you are in no room"
            assert bob.ask_line("hello") == "! join a room first: /join ROOM"
            bob.join("tea")
            assert bob.ask_line("/nick ann") == "! ann is taken"
            assert bob.ask_line("/nick rob") == "* bob is rob now"
        expected = ["bob is here", "bob has left", "bob is here", "bob is rob now", "rob has left"]
        assert [ann.line() for _ in expected] == [f"* {each}" for each in expected]
        with Person(server, "rob"):  # the nick is free again
            assert ann.ask_line("bye") == "ann: bye"


@every_way
def test_what_the_others_should_not_see_is_refused(server: ServerProcess) -> None:
    with Person(server, "ann") as ann, Person(server, "guest4") as bob:
        ann.join("tea")
        bob.join("tea")
        assert ann.line() == "* guest4 is here"
        assert bob.ask_line("\x1b[2J") == "! a line is printable text"
        bob.send(b"\xff\n")
        assert bob.line() == "! a line is text in UTF-8"
        for name in ("", "a b", "x" * 21):
            assert bob.ask_line(f"/nick {name}") == "! a name is letters and digits, 20 at most"
        assert bob.ask_line("/dance") == "! there are /nick NAME, /join ROOM and /leave"
        assert ann.ask_line("quiet") == "ann: quiet"


@every_way
def test_the_longest_line_is_said_and_guests_never_share_a_nick(server: ServerProcess) -> None:
    with Person(server, "guest3") as ann, Person(server, "𠀀" * 20) as bob:
        bob.join("tea")
        assert bob.ask_line("x" * 400) == f"{bob.nick}: {'x' * 400}"
        assert bob.ask_line("x" * 401) == "! a line has 400 bytes at most"
        with Peer(server.address) as guest:
            assert guest.receive(17) == b"* you are guest4;"
        assert ann.ask_line("/nick ann") == "* you are ann"
