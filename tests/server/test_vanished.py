"""A peer that vanishes without a word: its cable is cut, or its power.

TCP's keepalive does not find such a peer while a byte to it is unacknowledged: Linux sends no probe
then, and retransmits the byte for a quarter of an hour (tcp(7), TCP_USER_TIMEOUT, tcp_retries2).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from selectors import EVENT_READ, DefaultSelector

import pytest

from tests.support import DEADLINE, line_of, python

HERE, THERE = "10.9.9.1", "10.9.9.2"  # of two network namespaces that only this test has

SERVER = f"""
import threading, time
import epollo

class Room:
    def started(self, server):
        threading.Thread(target=self.tick, args=(server,), daemon=True).start()
    def tick(self, server):
        while True:
            server.publish("all", b"tick")
            time.sleep(0.05)
    def connected(self, connection):
        connection.join("all")
    def received(self, message):
        return message
    def disconnected(self, connection, reason):
        print("disconnected", flush=True)

epollo.serve(Room(), "{HERE}:0", keepalive="1s", write_timeout="1s")
"""

PEER = f"""
import socket, sys
with socket.create_connection(("{HERE}", int(sys.argv[1]))) as sock:
    sock.recv(1)
    print("connected", flush=True)
    sys.stdin.read()
"""


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=DEADLINE)


@pytest.fixture
def namespaces() -> Iterator[tuple[str, str]]:
    """Two network namespaces with a cable between them, of which each end is called ``cable``."""
    if os.geteuid() or shutil.which("ip") is None:
        pytest.skip("making a network namespace takes root, and ip")
    here, there = (f"epollo-{os.getpid()}-{end}" for end in ("here", "there"))
    made = []
    try:
        for name in (here, there):
            try:
                ip("netns", "add", name)
            except subprocess.CalledProcessError:
                pytest.skip("no network namespace can be made here")
            made.append(name)
        ip("-n", here, "link", "add", "cable", "type", "veth", "peer", "cable", "netns", there)
        for name, where in ((here, HERE), (there, THERE)):
            ip("-n", name, "addr", "add", f"{where}/24", "dev", "cable")
            ip("-n", name, "link", "set", "cable", "up")
        yield here, there
    finally:
        for name in made:
            ip("netns", "del", name)


def test_a_peer_that_vanishes_with_a_byte_unacknowledged_is_closed(
    namespaces: tuple[str, str],
) -> None:
    here, there = namespaces
    command = ["ip", "netns", "exec", there, sys.executable, "-c", PEER]
    pipe = subprocess.PIPE
    with (
        python("-c", SERVER, launcher=["ip", "netns", "exec", here]) as server,
        subprocess.Popen(
            [*command, server.address.rpartition(":")[2]], stdin=pipe, stdout=pipe, text=True
        ) as peer,
    ):
        try:
            assert peer.stdout is not None
            assert line_of(peer.stdout) == "connected\n"
            ip("-n", there, "link", "set", "cable", "down")
            assert server.process.stdout is not None
            with DefaultSelector() as selector:
                selector.register(server.process.stdout, EVENT_READ)
                assert selector.select(DEADLINE)  # by default, it would take a quarter of an hour
        finally:
            peer.kill()
