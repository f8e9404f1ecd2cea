"""The connection to NATS of one process: made again whenever it is lost, with the subscriptions
that are wanted then."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import MaxPayloadError

from epollo.causes import text_of
from epollo.server.groups.cluster.outbox import Item, Outbox
from epollo.server.groups.cluster.subjects import subject_of

CONNECT_SECONDS = 2.0
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # seconds between two attempts to connect; jitter on top
PING_SECONDS = 5.0  # two of them without an answer, and the connection is given up
LOOK_SECONDS = 0.5  # from one look for groups that are due to the next

_STEP = 128  # messages or subscriptions, after which others get a turn
_UNCONFIRMED = 1 << 19  # bytes sent, after which NATS has to answer before it is sent more
_CONFIRM_SECONDS = 10
_MOST_URLS = 64
_LAST_LOOK = 0.005  # seconds between two looks at what waits, at the end


class Receiver(Protocol):
    """Takes what arrives, and the events of the connection. Called in its loop."""

    def wants(self, group: str) -> bool:
        """Has this process members of ``group``?"""

    def wanted(self) -> Sequence[str]:
        """All groups of which it has some."""

    def received(self, group: str, data: bytes) -> None:
        """This came to ``group``."""

    def connected(self, server: str) -> None:
        """The connection is made."""

    def lost(self, server: str, why: str) -> None:
        """It was lost."""

    def failed(self, server: str, why: str) -> None:
        """It could not be made."""

    def not_sent(self, item: Item, why: str) -> None:
        """NATS does not take this one."""


class NatsClient:
    """Keeps a connection to one of ``urls``, sends what is in ``outbox``, and subscribes to the
    groups of ``receiver``. In its asyncio loop.
    """

    def __init__(
        self, urls: Sequence[str], prefix: str, name: str, outbox: Outbox, receiver: Receiver
    ) -> None:
        self._urls = list(urls)
        self._prefix = prefix
        self._name = name
        self._outbox = outbox
        self._receiver = receiver
        self._client: Client | None = None
        self._subscriptions: dict[str, Subscription] = {}
        self._changed: set[str] = set()  # groups that may have got or lost all members
        self._asked: set[str] = set()  # groups that others have asked about
        self._woken = asyncio.Event()
        self._tried = asyncio.Event()
        self._unconfirmed = 0  # bytes
        self._delivered = 0
        self._error = ""
        self.sent: int = 0  # messages

    def change(self, group: str) -> None:
        """``group`` may have got its first member, or lost its last."""
        self._changed.add(group)

    def answer(self, group: str) -> None:
        """Somebody has asked for the last number of ``group``."""
        self._asked.add(group)
        self._woken.set()

    def wake(self) -> None:
        """There is something to send, or a group has changed."""
        self._woken.set()

    async def tried(self) -> None:
        """Wait for the end of the first attempt to connect, and of what is to be done then."""
        await self._tried.wait()

    async def run(self) -> None:
        """Connect, and stay connected, until cancelled."""
        pause, turn = FIRST_PAUSE, 0
        while True:
            url = self._urls[turn % len(self._urls)]
            try:
                client = await self._connect(url)
            except Exception as error:
                self._receiver.failed(shown(url), self._error or _why(error))
                self._tried.set()
            else:
                pause = FIRST_PAUSE
                self._receiver.connected(shown(url))
                await self._serve(client)
                self._learn(client, url)
                self._receiver.lost(shown(url), self._error or "it was closed")
            turn += 1
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311
            if turn % len(self._urls) == 0:
                pause = min(LONGEST_PAUSE, pause * 2)

    async def _connect(self, url: str) -> Client:
        self._error = ""
        client = Client()
        try:
            await self._connect_to(client, url)
        except BaseException:
            await _closed(client)
            raise
        return client

    async def _connect_to(self, client: Client, url: str) -> None:
        await client.connect(
            [url],
            name=self._name,
            error_cb=self._on_error,
            disconnected_cb=self._on_end,
            allow_reconnect=False,
            max_reconnect_attempts=1,  # at once, then there is an error
            reconnect_time_wait=0,
            no_echo=True,
            connect_timeout=CONNECT_SECONDS,  # type: ignore[arg-type]
            ping_interval=PING_SECONDS,  # type: ignore[arg-type]
            max_outstanding_pings=2,
        )

    def _learn(self, client: Client, url: str) -> None:
        """Try the other servers of the cluster, too, from now on."""
        account, at, _ = url.partition("://")[2].rpartition("@")
        for each in client.discovered_servers:
            found = f"{each.scheme}://{account}{at}{each.netloc}"
            if found not in self._urls and len(self._urls) < _MOST_URLS:
                self._urls.append(found)

    async def _on_error(self, error: Exception) -> None:
        self._error = _why(error)

    async def _on_end(self) -> None:
        self._woken.set()

    async def _serve(self, client: Client) -> None:
        """Until the connection is lost."""
        self._client, self._unconfirmed = client, 0
        self._outbox.tell_all()
        self._changed.clear()
        self._changed.update(self._receiver.wanted())
        try:
            while client.is_connected:
                self._woken.clear()
                await self._work(client)
                self._tried.set()
                await self._wait()
        except Exception as error:  # whatever it is, the next connection may be better
            self._error = self._error or _why(error)
        finally:
            self._tried.set()
            self._client = None
            self._subscriptions.clear()
            await _closed(client)

    async def _work(self, client: Client) -> None:
        """Subscribe, ask, answer, and send."""
        await self._subscribe(client)
        while self._asked:
            self._outbox.tell(self._asked.pop())
        self._outbox.tell_due()
        await self._send(client)

    async def _wait(self) -> None:
        try:
            await asyncio.wait_for(self._woken.wait(), LOOK_SECONDS)
        except TimeoutError:
            pass

    async def _subscribe(self, client: Client) -> None:
        count = 0
        while self._changed:
            group = self._changed.pop()
            wanted, has = self._receiver.wants(group), self._subscriptions.get(group)
            if wanted and has is None:
                subject = subject_of(self._prefix, group)
                self._subscriptions[group] = await client.subscribe(
                    subject, cb=self._deliver_to(group)
                )
                self._outbox.ask(group)
            elif has is not None and not wanted:
                await self._subscriptions.pop(group).unsubscribe()
            count += 1
            if count % _STEP == 0:
                await asyncio.sleep(0)

    def _deliver_to(self, group: str) -> Callable[[Msg], Awaitable[None]]:
        received = self._receiver.received

        async def deliver(message: Msg) -> None:
            received(group, message.data)
            self._delivered += 1
            if self._delivered % _STEP == 0:
                await asyncio.sleep(0)

        return deliver

    async def _send(self, client: Client) -> None:
        count = 0
        while client.is_connected and (item := self._outbox.take()) is not None:
            try:
                await client.publish(subject_of(self._prefix, item.group), item.data)
            except MaxPayloadError:
                self._receiver.not_sent(item, f"NATS takes {client.max_payload} bytes at most")
                continue
            self.sent += item.is_message
            self._unconfirmed += len(item.data)
            count += 1
            if self._unconfirmed > _UNCONFIRMED:
                await client.flush(_CONFIRM_SECONDS)
                self._unconfirmed = 0
            elif count % _STEP == 0:
                await asyncio.sleep(0)

    async def finish(self) -> None:
        """Wait until NATS has taken what waits, if it is connected."""
        client = self._client
        while client is not None and client.is_connected and self._outbox:
            self._woken.set()
            await asyncio.sleep(_LAST_LOOK)
        if client is not None and client.is_connected:
            await client.flush(_CONFIRM_SECONDS)


async def _closed(client: Client) -> None:
    try:
        await client.close()
    except Exception:  # noqa: S110 (it is lost in any case)
        pass


def shown(url: str) -> str:
    """``url`` without a password."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def _why(error: BaseException) -> str:
    return text_of(error) or type(error).__name__
