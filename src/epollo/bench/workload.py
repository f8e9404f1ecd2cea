"""The description of one run: what to send, how much, and when."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, fields

from epollo import address, framing
from epollo.bench.load.contents import ORDERS, size_of
from epollo.bench.load.goals import SHORTEST, Goal, parse_goals
from epollo.bench.load.length_inside import is_length_inside, with_length
from epollo.bench.load.rates import Profile, parse_rate
from epollo.bench.load.sizes import Sizes, parse_sizes
from epollo.errors import EncodeError, SettingError
from epollo.framing import (
    DEFAULT_MAX_FRAME,
    Delimiter,
    Enclosed,
    Framing,
    LengthField,
    Raw,
    Sized,
)
from epollo.units import format_seconds, format_size

_MAX_SIZE = 1 << 30
_LONGEST = 1e9  # seconds; their nanoseconds fit into 64 bits
_MOST = 10**15  # of anything counted
_MAY_HAVE_NUL = ("address", "template", "framing")  # checked elsewhere
_ACCEPTED = {  # the types of values, by the type of a field
    "str": ("str",),
    "int": ("int",),
    "float": ("int", "float"),
    "bool": ("bool",),
    "None": ("NoneType",),
    "tuple[str, ...]": ("tuple",),
}
_NAMES = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "True or False",
    "None": "None",
    "tuple[str, ...]": "a tuple of texts",
}
_SCHEDULER = re.compile(r"(?:tcp|tls)://[^\s/]+:\d+")
_HEADROOM = 32  # bytes of a frame in addition to its message


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """One run of the load tester. Times are in seconds, sizes in bytes.

    Without ``rate`` the loop is closed: each connection keeps ``depth`` messages outstanding, and
    pauses for ``think`` between a reply and the next message. With ``rate`` it is open: messages
    are due at scheduled times and never wait for replies.

    Raises UsageError for a workload that cannot be run.

    Attributes:
        address: of the server: HOST:PORT, [IPv6]:PORT or unix:PATH.
        connections: number of connections kept open.
        messages: to send in the window, and then stop; None is no limit. Messages of the warm-up
            are not included.
        duration: of the measured window; None is until ``messages`` are sent, or the length of the
            steps of ``rate``.
        until: end as soon as figures are known so precisely: ``"p99±5%"`` ends the run when the
            bounds of the 95 % interval of p99 are within 5 % of it; several with commas. ``+-`` is
            ``±``. Figures are percentiles and ``mean``, of the response time or with ``service.``
            or ``slip.`` before it, and ``rate``. ``duration`` or ``messages`` is then the most.
        warmup: time before the window, once all connections are open. If 0, a closed loop is
            measured from its first connect on.
        depth: messages outstanding on each connection of a closed loop.
        rate: messages a second on all connections together; or text: ``"50k"``, a ramp
            ``"10k..100k/10s"``, or steps ``"10k/5s,20k/5s"``.
        arrival: the arrival process of an open loop: ``"constant"`` or ``"poisson"``.
        think: pause between a reply and the next message of a closed loop.
        reconnect_every: messages after which a connection is closed and replaced.
        connection_rate: most connections opened a second.
        size: of a message, without its frame's header: ``64``, or text: ``"64..1KiB"`` for a
            uniform range, ``"64:9,1KiB:1"`` for a list with weights.
        payload: a file with the bytes of each message, or a folder with such files, or a pipe.
        payload_framing: how the messages in each file of ``payload`` are framed; without it, a file
            is one message.
        payload_order: ``"turn"`` or ``"random"``, if ``payload`` has several messages.
        template: text of each message, with ``{number}``, ``{connection}`` and ``{time}`` in it.
        expect: what a correct reply is: ``"echo"``, ``"any"``, or ``"module:function"``, called
            with the message and the reply; it returns true if the reply is correct. ``"none"``: no
            replies come, and a message is done when it was sent.
        match: where a message and its reply have the identifier that they share:
            ``"bytes(OFFSET,SIZE)"``, with ``,stamp`` to write it into each message; a protocol such
            as ``"kafka"`` or ``"kafka(stamp)"``; or ``"module:name"`` of a function or an
            `epollo.client.Match`. Without it, replies are
            matched in the order of their messages.
        framing: how messages are framed.
        timeout: of each connect and each reply.
        source: addresses of this machine to connect from, in turn.
        tls: use TLS. ``tls_ca`` is a PEM file of trusted CAs instead of the system's, or ``"any"``:
            do not verify; ``tls_cert`` and ``tls_key`` are those of the client, ``tls_alpn`` the
            application protocols that it offers, ``tls_min_version`` is ``"1.2"`` or ``"1.3"``.
        server_name: name expected in the server's certificate instead of the address' host.
        greeting: messages that the server sends first on each connection; they are not measured.
        preamble: a file with a message that is sent first on each connection, or after the
            greeting, such as a login; it is not measured.
        preamble_replies: messages with which the server answers the preamble; not measured.
        proxy_header: ``"v1"`` or ``"v2"`` of the PROXY protocol, sent first on each connection.
        processes: processes among which the connections and the rate are divided.
        cluster: the address of a Dask scheduler, ``"tcp://HOST:8786"``: they are divided among its
            workers instead. Needs ``pip install 'epollo[cluster]'``.
        engine: of the tester itself: auto, native or python.
        seed: of all random choices.
    """

    address: str
    connections: int = 100
    messages: int | None = None
    duration: float | None = 10.0
    until: str = ""
    warmup: float = 1.0
    depth: int = 1
    rate: str | float | None = None
    arrival: str = "constant"
    think: float = 0.0
    reconnect_every: int | None = None
    connection_rate: float | None = None
    size: str | int = 64
    payload: str = ""
    payload_framing: str = ""
    payload_order: str = "turn"
    template: str = ""
    expect: str = "echo"
    match: str = ""
    framing: str = "u32"
    timeout: float = 5.0
    source: tuple[str, ...] = ()
    tls: bool = False
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    tls_alpn: tuple[str, ...] = ()
    tls_min_version: str = "1.2"
    server_name: str = ""
    greeting: int = 0
    preamble: str = ""
    preamble_replies: int = 0
    proxy_header: str = ""
    processes: int = 1
    cluster: str = ""
    engine: str = "auto"
    seed: int = 1

    def __post_init__(self) -> None:
        self._check_types()
        address.check_connectable(address.parse(self.address))
        self._check_bounds()
        self._check_cluster()
        self._check_loop()
        self._check_goals()
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
    def goals(self) -> tuple[Goal, ...]:
        """What ``until`` says."""
        return parse_goals(self.until)

    @property
    def sizes(self) -> Sizes:
        """The sizes of the messages."""
        return parse_sizes(self.size)

    @property
    def seconds(self) -> float | None:
        """The length of the window; None: until all ``messages`` are sent."""
        scheduled = self.profile.seconds if self.rate is not None else None
        return scheduled if scheduled is not None else self.duration

    def new_framing(self) -> Framing:
        """A new framing that allows frames as large as the messages. Raises SettingError if
        ``payload`` is not a file."""
        return self._framing(size_of(self.payload) if self.payload else self.sizes.most)

    def _framing(self, largest: int) -> Framing:
        if isinstance(self.framing, Framing):
            return self.framing
        most = max(DEFAULT_MAX_FRAME, largest + _HEADROOM)
        return framing.parse(self.framing, most)

    def _check_types(self) -> None:
        """Refuse values of another type: they would fail during the run, or later in a file."""
        for field in fields(self):
            value = getattr(self, field.name)
            wanted = str(field.type).split(" | ")
            if type(value).__name__ not in {kind for name in wanted for kind in _ACCEPTED[name]}:
                raise SettingError(f"{field.name}: {value!r} is not {_described(wanted)}")
            for text in value if isinstance(value, tuple) else (value,):
                if isinstance(value, tuple) and not isinstance(text, str):
                    raise SettingError(f"{field.name}: {text!r} is not text")
                if isinstance(text, str) and "\0" in text and field.name not in _MAY_HAVE_NUL:
                    raise SettingError(f"{field.name}: {text!r} has a NUL in it; leave that out")

    def _check_bounds(self) -> None:
        self._check_magnitudes()
        for name in ("connections", "depth", "processes"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name}: must be at least 1")
        for name in ("connections", "messages"):
            most = getattr(self, name)
            if most is not None and 1 <= most < self.processes:
                raise SettingError(f"processes: each needs one of the {name}; use at most {most}")
        if not 0 <= self.sizes.most <= _MAX_SIZE:
            raise SettingError(f"size: must be at most {format_size(_MAX_SIZE)}")
        if self.messages is None and self.seconds is None:
            raise SettingError("duration: needed if messages is not given")
        for name in ("messages", "reconnect_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingError(f"{name}: must be at least 1")
        for name in ("duration", "timeout", "connection_rate"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise SettingError(f"{name}: must be above 0")
        for name in ("warmup", "think", "greeting", "preamble_replies"):
            if getattr(self, name) < 0:
                raise SettingError(f"{name}: must be at least 0")
        if self.payload_order not in ORDERS:
            raise SettingError(f"payload_order: {self.payload_order!r} is neither turn nor random")
        for name, usual in (("payload_framing", ""), ("payload_order", "turn")):
            if getattr(self, name) != usual and not self.payload:
                raise SettingError(f"{name}: only for a payload; give that too")
        if self.preamble_replies and not self.preamble:
            raise SettingError("preamble_replies: only for a preamble; give that too")

    def _check_cluster(self) -> None:
        if not self.cluster:
            return
        if not _SCHEDULER.fullmatch(self.cluster):
            raise SettingError(
                f"cluster: {self.cluster!r} is not the address of a Dask scheduler; write "
                "tcp://HOST:8786"
            )
        if self.processes > 1:
            raise SettingError(
                "processes: each worker of the cluster runs one; start more workers instead"
            )

    def _check_magnitudes(self) -> None:
        """Refuse times and counts that are not finite, or absurdly large."""
        for name in ("duration", "timeout", "warmup", "think", "connection_rate"):
            if not math.isfinite(getattr(self, name) or 0):
                raise SettingError(f"{name}: must be finite")
        for name in ("duration", "timeout", "warmup", "think"):
            if (getattr(self, name) or 0) > _LONGEST:
                raise SettingError(f"{name}: must be at most {_LONGEST:.0f} seconds")
        counts = ("connections", "messages", "depth", "reconnect_every")
        for name in (*counts, "greeting", "preamble_replies"):
            if (getattr(self, name) or 0) > _MOST:
                raise SettingError(f"{name}: must be at most {_MOST}")
        if self.rate is not None and (self.profile.seconds or 0) > _LONGEST:
            raise SettingError(f"rate: its steps must be at most {_LONGEST:.0f} seconds together")

    def _check_loop(self) -> None:
        if self.arrival not in ("constant", "poisson"):
            raise SettingError(f"arrival: {self.arrival!r} is neither constant nor poisson")
        if self.expect == "none" and self.rate is None:
            raise SettingError("expect: none is only for an open loop; give a rate too")
        if self.expect == "none" and self.match:
            raise SettingError("match: there are no replies to match; leave it out")
        if self.rate is None and self.arrival != "constant":
            raise SettingError("arrival: only for an open loop; give a rate too")
        if self.rate is not None and self.depth != 1:
            raise SettingError("depth: only for a closed loop; leave out the rate or the depth")
        if self.rate is not None and self.think:
            raise SettingError(
                "think: only for a closed loop; leave out the rate or the think time"
            )

    def _check_goals(self) -> None:
        """Refuse goals that the run cannot reach."""
        goals = self.goals
        if not goals:
            return
        if self.rate is not None and self.profile.seconds is not None:
            raise SettingError(
                "until: the rate changes, and the figures with it; give one rate, such as 10k"
            )
        if self.duration is not None and self.duration < SHORTEST:
            raise SettingError(
                f"duration: until needs at least {SHORTEST} seconds, and "
                f"{format_seconds(self.duration)} is less; give the most that the run may last, "
                "such as 10m"
            )
        for goal in goals:
            if goal.span == "slip" and not self.open_loop:
                raise SettingError(
                    f"until: {goal.text!r}: only an open loop has a slip; give a rate too"
                )

    def _check_framing(self) -> None:
        """Refuse framings that change messages, or cannot carry them."""
        how = self._framing(self.sizes.most)
        if isinstance(how, Raw):
            raise SettingError("framing: raw has no messages to time; use u32, line or another")
        cut = how.strip if isinstance(how, LengthField) and how.in_place else 0
        if cut and self.expect == "echo":
            raise SettingError(
                f"expect: with {how.name}, replies come without their first {cut} bytes, so they "
                "differ from the messages; give any, or module:function"
            )
        # For framings by delimiter, messages are printable text: see Payload.
        if isinstance(how, Delimiter | Enclosed) and 0x20 <= how.delimiter[0] < 0x7F:
            raise SettingError(
                f"framing: the messages may contain {how.delimiter!r}; use a delimiter that "
                "begins with a control character, such as delimiter:\\0"
            )
        if self.payload or self.template:  # see messages.py
            return
        try:
            for size in (self.sizes.least, self.sizes.most):
                message = b"x" * size
                how.encode(with_length(how, message) if is_length_inside(how) else message)
        except EncodeError as error:
            if isinstance(how, Sized):  # its frames have a form that no size makes
                raise SettingError(
                    f"payload: is needed: the tester's own messages are not frames of {how.name} "
                    f"({error}); name a file with a message, or a folder of them"
                ) from None
            raise SettingError(f"size: {error}; use another size, or another framing") from None


def _described(types: list[str]) -> str:
    return " or ".join(_NAMES[name] for name in types)
