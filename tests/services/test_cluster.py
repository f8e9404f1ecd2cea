"""Three nodes, each with a server of NATS, behind HAProxy: 3,000 members have every message once,
and after a failure they lack what the promise says, as the counters do (docs/clusters.md)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.services.cluster import Cluster, Node, cluster
from tests.services.crowd import Crowd, Member, by_sender
from tests.support import stop_process

pytestmark = [pytest.mark.services, pytest.mark.timeout(400)]
pytest.importorskip("nats")

MEMBERS = int(os.environ.get("CLUSTER_MEMBERS", "3000"))
ALL = ("node-1", "node-2", "node-3")
SECONDS = 60.0
BATCH = 250  # members that connect again at a time


@pytest.fixture
def system(tmp_path: Path) -> Iterator[Cluster]:
    with cluster(tmp_path) as system:
        yield system


@pytest.fixture
def crowd(system: Cluster) -> Iterator[Crowd]:
    crowd = Crowd(system.front)
    try:
        crowd.enter(MEMBERS)
        yield crowd
    finally:
        crowd.close()


class Sender:
    """A member that says its name and a number, again and again."""

    def __init__(self, name: str, member: Member) -> None:
        self.name, self.member, self.said = name.encode(), member, 0

    def say(self, count: int = 1) -> None:
        for _ in range(count):
            self.member.line.say(b"%s %d" % (self.name, self.said))
            self.said += 1


def senders(crowd: Crowd, nodes: Sequence[str] = ALL, tag: str = "") -> dict[str, Sender]:
    """One at each node, by the node's name, once all members have what each of them says."""
    found = {node: Sender(f"{tag}{node}", crowd.at(node)[0]) for node in nodes}
    for node, sender in found.items():
        probe = Sender(f"probe-{tag}{node}", sender.member)
        start = probe.name + b" "

        def all_have_it(start: bytes = start) -> bool:
            return all(
                any(text.startswith(start) for text in member.line.got)
                for member in crowd.members
                if not member.line.over
            )

        while not all_have_it():
            probe.say()
            for _ in range(5):
                crowd.receive(0.2)
    return found


def until_last(crowd: Crowd, speakers: Sequence[Sender], members: Sequence[Member]) -> None:
    """Until all ``members`` have the last message of each of ``speakers``."""
    last = [b"%s %d" % (sender.name, sender.said - 1) for sender in speakers]

    def is_here(member: Member) -> bool:
        recent = member.line.got[-200:]
        return all(text in recent for text in last)

    crowd.until(lambda: all(is_here(member) for member in members), SECONDS)


def numbers(member: Member, sender: Sender) -> list[int]:
    return by_sender(member.got).get(sender.name, [])


def lacking(member: Member, sender: Sender) -> int:
    """How many of the sender's messages the member lacks. Those that it has are in order, and none
    of them twice over one connection."""
    got = numbers(member, sender)
    assert got == sorted(set(got))
    for line in member.lines:
        of_line = by_sender(line.got).get(sender.name, [])
        assert of_line == sorted(set(of_line))
    return sender.said - len(got)


def test_every_member_has_every_message_exactly_once(system: Cluster, crowd: Crowd) -> None:
    assert set(crowd.nodes()) == set(ALL)
    assert max(crowd.nodes().values()) - min(crowd.nodes().values()) <= 2, "leastconn"
    speakers = list(senders(crowd).values())
    for _ in range(20):
        for sender in speakers:
            sender.say(2)
        crowd.receive(0)
    until_last(crowd, speakers, crowd.members)
    for member in crowd.members:
        for sender in speakers:
            assert numbers(member, sender) == list(range(40))
    assert [node.missed for node in system.nodes] == [0, 0, 0]
    for node in system.nodes:
        assert node.broker("connections_lost") == node.broker("dropped_messages") == 0


def test_a_server_of_nats_is_killed(system: Cluster, crowd: Crowd) -> None:
    """What it had not passed on is lost, and its node misses what the others say meanwhile. Both
    sides know how many, and all goes on."""
    speakers = senders(crowd)
    first, others = system.nodes[0], system.nodes[1:]
    sent = first.broker("sent_messages")
    stop_process(system.nats[0].pid)
    speakers["node-1"].say(5)
    crowd.until(lambda: first.broker("sent_messages") == sent + 5)
    for node in others:
        speakers[node.name].say(5)
    crowd.until(
        lambda: all(
            numbers(member, speakers[node.name]) == list(range(5))
            for node in others
            for member in crowd.at(node.name)
        )
    )
    system.nats[0].kill()
    crowd.until(lambda: first.broker("connections_lost") and first.broker("connections"))
    last = senders(crowd, tag="later-")
    for sender in last.values():
        sender.say(10)
    until_last(crowd, list(last.values()), crowd.members)

    for node in system.nodes:
        lost = {lost_by(member, speakers.values()) for member in crowd.at(node.name)}
        assert len(lost) == 1, "the members at a node lack the same"
        here = speakers[node.name]
        assert all(lacking(member, here) == 0 for member in crowd.at(node.name))
        count = lost.pop()
        assert count == (10 if node is first else 5)
        crowd.until(lambda node=node, count=count: node.missed == count)  # type: ignore[misc]
        for member in crowd.at(node.name):
            assert all(lacking(member, sender) == 0 for sender in last.values())


def lost_by(member: Member, speakers: Iterable[Sender]) -> int:
    return sum(lacking(member, sender) for sender in speakers)


def test_a_node_is_killed(system: Cluster, crowd: Crowd) -> None:
    """Its members lose their connection, and come back elsewhere. The others lack at most what the
    node said last; from all other nodes they have everything."""
    speakers = senders(crowd)
    victim = system.nodes[2]
    for sender in speakers.values():
        sender.say(10)
    until_last(crowd, list(speakers.values()), crowd.members)
    speakers[victim.name].say(5)
    victim.kill()
    for node in system.nodes[:2]:
        speakers[node.name].say(10)
    gone = crowd.at(victim.name)
    staying = [member for member in crowd.members if member.line.node != victim.name]
    crowd.until(lambda: all(member.line.over for member in gone), SECONDS)
    assert len(crowd.lost()) == len(gone)
    for at in range(0, len(gone), 100):
        lines = [crowd.connect(member) for member in gone[at : at + 100]]
        crowd.until(lambda lines=lines: all(line.node or line.over for line in lines))  # type: ignore[misc]
        while again := [line.member for line in lines if line.over]:  # HAProxy had not seen it yet
            lines = [crowd.connect(member) for member in again]
            crowd.until(lambda lines=lines: all(line.node or line.over for line in lines))  # type: ignore[misc]
    assert set(crowd.nodes()) == {"node-1", "node-2"}
    later = senders(crowd, ["node-1", "node-2"], tag="later-")
    for sender in later.values():
        sender.say(10)
    until_last(crowd, list(later.values()), crowd.members)
    for member in staying:
        for node in system.nodes[:2]:
            assert lacking(member, speakers[node.name]) == 0
        got = numbers(member, speakers[victim.name])
        assert got == list(range(len(got))), "all up to one, and nothing behind it"
        assert len(got) >= 10
    for member in crowd.members:
        assert all(lacking(member, sender) == 0 for sender in later.values())
    assert [node.missed for node in system.nodes[:2]] == [0, 0]


def move(crowd: Crowd, node: Node, speakers: Sequence[Sender], goes_on: Callable[[], None]) -> None:
    """``node`` stops. Its members connect again, each at its own pace: it ends its old connection
    when it has heard all speakers over the new one."""
    node.begin_stop()
    leaving = crowd.at(node.name)
    crowd.until(lambda: all(member.line.moves for member in leaving), SECONDS)
    moving: list[Member] = []
    while leaving or moving:
        batch, leaving = leaving[:BATCH], leaving[BATCH:]
        lines = [crowd.connect(member) for member in batch]
        crowd.until(lambda lines=lines: all(line.node for line in lines))  # type: ignore[misc]
        for member in batch:
            if member.line.node == node.name:  # HAProxy has not asked it yet
                crowd.end(member.lines.pop())
                leaving.append(member)
            else:
                moving.append(member)
        goes_on()
        moving = [member for member in moving if not _moved(crowd, member, speakers)]
    node.begin_stop()  # a second time: nobody needs the rest of its delay
    while node.runs:
        goes_on()
    assert node.wait() == 0


def _moved(crowd: Crowd, member: Member, speakers: Sequence[Sender]) -> bool:
    heard = set(by_sender(member.line.got[-200:]))
    if not heard >= {sender.name for sender in speakers}:
        return False
    old = member.lines[-2]
    if not old.over:
        crowd.end(old)
    return True


def talking(crowd: Crowd, speakers: Sequence[Sender]) -> Callable[[], None]:
    def goes_on() -> None:
        for sender in speakers:
            sender.say()
        for _ in range(3):
            crowd.receive(0.2)

    return goes_on


def check_nothing_is_lost(crowd: Crowd, speakers: Sequence[Sender]) -> None:
    until_last(crowd, speakers, crowd.members)
    for member in crowd.members:
        for sender in speakers:
            assert sorted(numbers(member, sender)) == list(range(sender.said))


def test_a_node_drains(system: Cluster, crowd: Crowd) -> None:
    speakers = [each for name, each in senders(crowd).items() if name != "node-2"]
    move(crowd, system.nodes[1], speakers, talking(crowd, speakers))
    assert set(crowd.nodes()) == {"node-1", "node-3"}
    check_nothing_is_lost(crowd, speakers)
    assert [system.nodes[at].missed for at in (0, 2)] == [0, 0]


def test_a_rolling_restart_loses_nothing(system: Cluster, crowd: Crowd) -> None:
    """All three nodes, one after the other, while three members speak; these move, too."""
    speakers = list(senders(crowd).values())
    goes_on = talking(crowd, speakers)
    for node in system.nodes:
        move(crowd, node, speakers, goes_on)
        node.start()
        probe = Member()
        while not probe.lines or probe.line.node != node.name:  # HAProxy has seen it
            for line in probe.lines[-1:]:
                crowd.end(line)
            line = crowd.connect(probe)
            crowd.until(lambda line=line: line.node or line.over)  # type: ignore[misc]
            goes_on()
        crowd.end(probe.line)
    check_nothing_is_lost(crowd, speakers)
    assert [node.missed for node in system.nodes] == [0, 0, 0]
