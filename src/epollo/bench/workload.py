"""What to send, how much of it, and when: the description of one run."""

from __future__ import annotations

import math
from dataclasses import dataclass

from epollo import address, framing
from epollo.bench.load.contents import size_of
from epollo.bench.load.rates import Profile, parse_rate
from epollo.bench.load.sizes import Sizes, parse_sizes
from epollo.errors import EncodeError, SettingError
from epollo.framing import DEFAULT_MAX_FRAME, Delimiter, Framing, LengthField, Raw
from epollo.units import format_size

_MAX_SIZE = 1 << 30
_LONGEST = 1e9  # seconds, of which a clock of 64 bits has the nanoseconds
_MOST = 10**15  # of whatever is counted
_HEADROOM = 16  # bytes that a frame may have beside its message


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """One run of the load tester. Times are in seconds, sizes in bytes.

    Without ``rate`` the loop is closed: each connection keeps ``depth`` messages outstanding, and
    ``think`` passes between a reply and the message that follows it. With ``rate`` it is open:
    messages are due at times that are planned ahead and never wait for replies.

    Raises UsageError for what cannot be run.

    Attributes:
        address: of the server: HOST:PORT, [IPv6]:PORT or unix:PATH.
        connections: kept open.
        messages: to send in the window, and then stop; None is no bound. Those of the warm-up are
            more.
        duration: of the window that is measured; None is until ``messages``, or as long as the
            steps of ``rate``.
        warmup: before the window, once all connections are open; without one all is measured, the
            opening too.
        depth: messages outstanding on each connection of a closed loop.
        rate: messages a second on all connections together; or text: ``"50k"``, a ramp
            ``"10k..100k/10s"``, or steps ``"10k/5s,20k/5s"``.
        arrival: how a rate's messages follow each other: ``"constant"`` or ``"poisson"``.
        think: between a reply and the next message of a closed loop.
        reconnect_every: messages after which a connection is closed, and another one opened.
        connection_rate: connections opened a second, at most.
        size: of a message, without its frame's header: ``64``, or text: ``"64..1KiB"`` for any
            size between with equal chance, ``"64:9,1KiB:1"`` for a list with weights.
        payload: a file, whose bytes are each message.
        template: text of each message, with ``{number}``, ``{connection}`` and ``{time}`` in it.
        expect: what a right reply is: ``"echo"``, ``"any"``, or ``"module:function"``, called
            with the message and the reply, and true where that is right.
        framing: what a message is on the wire.
        timeout: of each connect and each reply.
        source: addresses of this machine to connect from, in turn.
        tls: speak TLS. ``tls_ca`` is a PEM file of whom to trust in place of the system's, or
            ``"any"``: do not ask; ``tls_cert`` and ``tls_key`` are the client's own.
        server_name: what the server's certificate has to be for, in place of the address' host.
        proxy_header: ``"v1"`` or ``"v2"`` of the PROXY protocol, sent first on each connection.
        processes: among which the connections and the rate are divided.
        engine: of the tester itself: auto, native or python.
        seed: of all that is drawn by chance.
    """

    address: str
    connections: int = 100
    messages: int | None = None
    duration: float | None = 10.0
    warmup: float = 1.0
    depth: int = 1
    rate: str | float | None = None
    arrival: str = "constant"
    think: float = 0.0
    reconnect_every: int | None = None
    connection_rate: float | None = None
    size: str | int = 64
    payload: str = ""
    template: str = ""
    expect: str = "echo"
    framing: str = "u32"
    timeout: float = 5.0
    source: tuple[str, ...] = ()
    tls: bool = False
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    server_name: str = ""
    proxy_header: str = ""
    processes: int = 1
    engine: str = "auto"
    seed: int = 1

    def __post_init__(self) -> None:
        address.check_connectable(address.parse(self.address))
        self._check_bounds()
        self._check_loop()
        self._check_framing()

    @property
    def open_loop(self) -> bool:
        """Are messages sent by the clock?"""
        return self.rate is not None

    @property
    def profile(self) -> Profile:
        """The rate over the window. Only for an open loop."""
        assert self.rate is not None
        return parse_rate(self.rate)

    @property
    def sizes(self) -> Sizes:
        """The sizes that messages have."""
        return parse_sizes(self.size)

    @property
    def seconds(self) -> float | None:
        """How long the window is; None: until all ``messages`` are sent."""
        planned = self.profile.seconds if self.rate is not None else None
        return planned if planned is not None else self.duration

    def new_framing(self) -> Framing:
        """The framing named, for frames as large as the messages need. Raises SettingError for a
        ``payload`` that is no file."""
        return self._framing(size_of(self.payload) if self.payload else self.sizes.most)

    def _framing(self, largest: int) -> Framing:
        most = max(DEFAULT_MAX_FRAME, largest + _HEADROOM)
        return framing.parse(self.framing, most)

    def _check_bounds(self) -> None:
        self._check_sense()
        for name in ("connections", "depth", "processes"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name}: must be at least 1")
        for name in ("connections", "messages"):
            most = getattr(self, name)
            if most is not None and 1 <= most < self.processes:
                raise SettingError(f"processes: each needs one of the {name}; take {most} at most")
        if not 0 <= self.sizes.most <= _MAX_SIZE:
            raise SettingError(f"size: must be at most {format_size(_MAX_SIZE)}")
        if self.messages is None and self.seconds is None:
            raise SettingError("duration: needed where messages is not given")
        for name in ("messages", "reconnect_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingError(f"{name}: must be at least 1")
        if self.timeout <= 0 or (self.duration is not None and self.duration <= 0):
            raise SettingError("duration and timeout: must be above 0")
        if self.connection_rate is not None and self.connection_rate <= 0:
            raise SettingError("connection_rate: must be above 0")
        for name in ("warmup", "think"):
            if getattr(self, name) < 0:
                raise SettingError(f"{name}: must be at least 0")

    def _check_sense(self) -> None:
        """Can a computer count to each number, and does anybody wait for each time?"""
        for name in ("duration", "timeout", "warmup", "think", "connection_rate"):
            if not math.isfinite(getattr(self, name) or 0):
                raise SettingError(f"{name}: must be finite")
        for name in ("duration", "timeout", "warmup", "think"):
            if (getattr(self, name) or 0) > _LONGEST:
                raise SettingError(f"{name}: must be at most {_LONGEST:.0f} seconds")
        for name in ("connections", "messages", "depth", "reconnect_every"):
            if (getattr(self, name) or 0) > _MOST:
                raise SettingError(f"{name}: must be at most {_MOST}")
        if self.rate is not None and (self.profile.seconds or 0) > _LONGEST:
            raise SettingError(f"rate: its steps must be at most {_LONGEST:.0f} seconds together")

    def _check_loop(self) -> None:
        if self.arrival not in ("constant", "poisson"):
            raise SettingError(f"arrival: {self.arrival!r} is neither constant nor poisson")
        if self.rate is None and self.arrival != "constant":
            raise SettingError("arrival: is for an open loop; give a rate too")
        if self.rate is not None and self.depth != 1:
            raise SettingError("depth: is for a closed loop; a rate has no bound of messages sent")
        if self.rate is not None and self.think:
            raise SettingError("think: is for a closed loop; a rate waits for no reply")

    def _check_framing(self) -> None:
        """Would every message of the load tester arrive, and as it was sent?"""
        how = self._framing(self.sizes.most)
        if isinstance(how, Raw):
            raise SettingError("framing: raw has no messages to time; take u32, line or another")
        if isinstance(how, LengthField) and how.in_place:
            raise SettingError(
                f"framing: {how.name} writes a length into each message, which then differs from "
                "the one sent; take u32, line or another"
            )
        # Messages that end at a delimiter are of printable text: see Payload.
        if isinstance(how, Delimiter) and 0x20 <= how.delimiter[0] < 0x7F:
            raise SettingError(
                f"framing: the text sent may have {how.delimiter!r} in it; take a delimiter that "
                "begins with a control character, such as delimiter:\\0"
            )
        if self.payload or self.template:  # see messages.py
            return
        try:
            for size in (self.sizes.least, self.sizes.most):
                how.encode(b"x" * size)
        except EncodeError as error:
            raise SettingError(f"size: {error}; take another size, or another framing") from None
