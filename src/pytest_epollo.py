"""The pytest plugin of epollo: `epollo_server`, `epollo_bench` and `epollo_check_framing`.

This module is outside the package, so that starting pytest does not import epollo.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from epollo import Server
    from epollo.bench import Result


@pytest.fixture
def epollo_server() -> Iterator[Callable[..., Server]]:
    """``epollo_server(handler, **settings)``: a running `epollo.Server` in its own thread, on a
    free port of 127.0.0.1, ``server.addresses[0]``. It is stopped when the test ends; messages
    still unanswered then have a second (``graceful_timeout``). A test may start several.
    """
    from epollo import Server

    with ExitStack() as servers:

        def serve(handler: Any, **settings: Any) -> Server:
            settings.setdefault("bind", "127.0.0.1:0")
            settings.setdefault("graceful_timeout", "1s")
            return servers.enter_context(Server(handler, **settings))

        yield serve


@pytest.fixture
def epollo_bench() -> Callable[..., Result]:
    """``epollo_bench(address, **load)``: puts load on the server at ``address``, and returns the
    `epollo.bench.Result`. ``load`` are the fields of an `epollo.bench.Workload`. The defaults suit
    a test: 10 connections for a second (``duration``), or until all ``messages`` are sent if those
    are given, after a ``warmup`` of 0.1 s.
    """
    from epollo.bench import Workload, run

    def bench(address: str, **load: Any) -> Result:
        duration = None if "messages" in load else 1.0
        return run(
            Workload(
                address=address,
                **{"connections": 10, "duration": duration, "warmup": 0.1} | load,
            )
        )

    return bench


@pytest.fixture
def epollo_check_framing() -> Callable[..., None]:
    """``epollo_check_framing(framing, frames, messages)``: checks that the framing finds in each of
    the frames its message, however the bytes come, on both engines; and that it encodes them. It is
    `epollo.testing.check_framing`.
    """
    from epollo.testing import check_framing

    return check_framing
