"""Handlers that wait, to be served by epollo: `epollo serve benchmarks.handlers:echo`."""

import time


async def echo(message: bytes) -> bytes:
    """Every message comes back as it is."""
    return message


def slow_echo(message: bytes) -> bytes:
    """The same a millisecond later, in which its thread can do nothing else."""
    time.sleep(0.001)
    return message
