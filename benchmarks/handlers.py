"""Handlers to be served by epollo: `epollo serve benchmarks.handlers:echo`."""

import os
import time

from epollo import CloseReason, Connection


async def echo(message: bytes) -> bytes:
    """Every message comes back as it is."""
    return message


def slow_echo(message: bytes) -> bytes:
    """The same a millisecond later, in which its thread can do nothing else."""
    time.sleep(0.001)
    return message


def prompt_echo(message: bytes) -> bytes:
    """Every message comes back at once."""
    return message


def echo_of_both(message: bytes, _connection: Connection) -> bytes:
    """The same, of both arguments."""
    return message


class EchoOfMessage:
    """The same, as an object."""

    def received(self, message: bytes) -> bytes:
        return message


class EchoOfBoth:
    """The same, as an object, of both arguments."""

    def received(self, message: bytes, _connection: Connection) -> bytes:
        return message


class Hooked(EchoOfMessage):
    """The same, told of each beginning and each end."""

    def connected(self, connection: Connection) -> None:
        connection.state = {"peer": connection.peername}

    def disconnected(self, connection: Connection, reason: CloseReason) -> None:
        connection.state = reason


def burning_echo(message: bytes) -> bytes:
    """The same after 100 µs of CPU time, whatever else runs on the machine."""
    until = time.thread_time_ns() + 100_000
    while time.thread_time_ns() < until:
        pass
    return message


def process(message: bytes) -> bytes:
    """The process that serves; `block` blocks its loop for three seconds before."""
    if message == b"block":
        time.sleep(3)
    return str(os.getpid()).encode()
