"""Every setting of a server, defined once for the API and the command line."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import Field, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from epollo.address import hide_passwords, parse_broker
from epollo.errors import SettingError
from epollo.framing import AnyFraming, Framing
from epollo.framing.spec import HEADS
from epollo.setting_values import Addresses, Files, Names, ServerValues, SettingValues
from epollo.suggestions import did_you_mean
from epollo.units import parse_count, parse_number, parse_seconds, parse_size

LOOPS = ("auto", "asyncio", "uvloop")
PROXY_PROTOCOL = ("off", "optional", "required")
TLS_VERSIONS = ("1.2", "1.3")
CLIENT_CERTS = ("required", "optional")
BALANCE = ("slot", "exact")
LOG_LEVELS = ("debug", "info", "warning", "error")
MOST_WORKERS = 1024
LOG_FORMATS = ("text", "json")
LONGEST_TIME = 10 * 365 * 24 * 3600  # seconds; see `epollo.server.timeouts`


def _setting(
    default: Any,
    parse: Callable[[Any], Any],
    metavar: str,
    about: str,
    flag: str = "",
    *,
    section: str = "",
    choices: Sequence[str] = (),
    hide: Callable[[str], str] | None = None,
) -> Any:
    """A field of Settings, and what the command line, the pages and the completion say of it.

    Without a ``metavar``, only Python can set it. ``section`` begins a section of the help; a
    setting without one belongs to the section of the setting before it. ``choices`` are values to
    complete; a parser with names has them already. ``hide`` returns the value without secrets: as
    it may be shown.
    """
    return field(
        default=default,
        repr=hide is None,
        metadata={
            "parse": parse,
            "metavar": metavar,
            "about": about,
            "flag": flag,
            "section": section,
            "choices": tuple(choices or getattr(parse, "names", ())),
            "hide": hide,
        },
    )


def _addresses(value: Addresses) -> tuple[str, ...]:
    addresses = (value,) if isinstance(value, str) else value
    several = isinstance(addresses, tuple | list) and bool(addresses)
    if not several or not all(isinstance(address, str) for address in addresses):
        raise ValueError(
            f"{value!r} is not an address such as '127.0.0.1:8091', nor a list of them"
        )
    return tuple(addresses)


def _address(value: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not an address such as '127.0.0.1:9100'")
    return value


def _broker(value: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"a {type(value).__name__} is not a URL such as 'nats://127.0.0.1:4222'")
    if value:
        parse_broker(value)
    return value


def _bound(value: str | int) -> int:
    try:
        return 0 if value == "none" else parse_count(value)
    except ValueError as error:
        raise ValueError(f"{error}; write none for no limit") from None


def _rate(value: str | float) -> float:
    """Events a second; 0 means no limit."""
    try:
        return 0.0 if value == "none" else parse_number(value)
    except ValueError as error:
        raise ValueError(f"{error}; write none for no limit") from None


def _seconds(value: str | float) -> float:
    seconds = parse_seconds(value)
    if seconds > LONGEST_TIME:
        raise ValueError(f"{str(value)[:20]!r} is more than {LONGEST_TIME // 3600}h, ten years")
    return seconds


def _wait(value: str | float) -> float:
    """A time; 0 means no limit."""
    try:
        return _seconds(value)
    except ValueError as error:
        raise ValueError(f"{error}; write 0 for no limit") from None


def _budget(value: str | int) -> int:
    """Bytes; 0 means no limit."""
    try:
        return 0 if value in ("none", 0) else parse_size(value)
    except ValueError as error:
        raise ValueError(f"{error}; write none for no limit") from None


def _name(value: str | int) -> str:
    """The name of a user or a group, or its number."""
    return str(value)


def _keepalive(value: str | float) -> float:
    seconds = _wait(value)
    if seconds and not 1 <= seconds <= 32767:  # tcp(7): whole seconds, MAX_TCP_KEEPIDLE
        raise ValueError(f"{value!r} is neither 0 nor from 1s to 32767s")
    return seconds


def _mode(value: str | int | None) -> int | None:
    """A file's permissions: octal text, as for chmod(1), or the number itself."""
    if value in (None, "umask"):
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"{value!r} is not a mode such as '660', in octal")
    text = value if isinstance(value, str) else f"{value:o}"
    if not re.fullmatch("0?[0-7]{3}", text.rjust(3, "0")):
        raise ValueError(f"{value!r} is not a mode such as '660', in octal")
    return int(text, 8)


def _framing(value: AnyFraming) -> AnyFraming:
    return value if isinstance(value, Framing | type) else str(value)


def _workers(value: str | int) -> int:
    """Their number; 0 means one process without a supervisor."""
    count = 0 if value == "none" else parse_count(value)
    if count > MOST_WORKERS:
        raise ValueError(f"{value!r} is over {MOST_WORKERS}")
    return count


def _size_or_none(value: str | int) -> int:
    try:
        return 0 if value == "none" else parse_size(value)
    except ValueError as error:
        raise ValueError(f"{error}; write none for no limit") from None


def _one_of(*names: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value not in names:
            hint = did_you_mean(str(value), names)
            raise ValueError(f"{value!r} is not one of {', '.join(names)}{hint and '; ' + hint}")
        return value

    parse.__dict__["names"] = names
    return parse


def _switch(value: str | bool) -> bool:
    switched = _SWITCHES.get(value.lower() if isinstance(value, str) else str(value))
    if switched is None:
        raise ValueError(f"{value!r} is neither yes nor no")
    return switched


_SWITCHES = {"True": True, "False": False}
_SWITCHES |= dict.fromkeys(("yes", "true", "on", "1"), True)  # as environments have them
_SWITCHES |= dict.fromkeys(("no", "false", "off", "0"), False)
_switch.__dict__["names"] = ("yes", "no")


def _path(value: str | Path) -> str:
    if not isinstance(value, str | Path):
        raise ValueError(f"{value!r} is not the path of a file")
    return str(Path(value)) if value else ""


def _access_log(value: str | Path) -> str:
    """Where to: "log", a path, or "off"."""
    if not isinstance(value, str | Path) or not str(value):
        raise ValueError(f"{value!r} is neither log nor off, nor the path of a file")
    return str(Path(value))


def _paths(value: Files) -> tuple[str, ...]:
    files = value if isinstance(value, tuple | list) else (value,)
    if not all(isinstance(file, str | Path) for file in files):
        raise ValueError(f"{value!r} is not a file such as 'cert.pem', nor a list of them")
    return tuple(_path(file) for file in files if file)


def _protocols(value: Names) -> tuple[str, ...]:
    """Names of application protocols (RFC 7301, 3.1): each of at most 255 bytes."""
    texts = [value] if isinstance(value, str) else list(value)
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{value!r} is not a text such as 'h2,myproto', nor a list of names")
    names = [name.strip() for text in texts if text for name in text.split(",")]
    for name in names:
        if not (name.isascii() and 1 <= len(name) <= 255):
            raise ValueError(f"{name!r} is not a protocol such as 'h2': 1 to 255 ASCII letters")
    return tuple(names)


def _version(value: str | float) -> str:
    if str(value) not in TLS_VERSIONS:
        raise ValueError(f"{str(value)!r} is not one of {', '.join(TLS_VERSIONS)}")
    return str(value)


_version.__dict__["names"] = TLS_VERSIONS


def _context(value: ssl.SSLContext | None) -> ssl.SSLContext | None:
    if not value:
        return None
    if not isinstance(value, ssl.SSLContext):
        raise ValueError(f"{value!r} is not an ssl.SSLContext; or give tls_cert")
    if value.protocol is ssl.PROTOCOL_TLS_CLIENT:
        raise ValueError("it is a context for clients; make one with ssl.PROTOCOL_TLS_SERVER")
    return value


def _timeout(value: str | float) -> float:
    seconds = _seconds(value)
    if not seconds:
        raise ValueError("must be more than 0")
    return seconds


_WITH_TLS_CERT = (
    "tls_cert",
    "tls_key",
    "tls_key_password_file",
    "tls_ca",
    "tls_crl",
    "tls_alpn",
    "tls_ciphers",
)  # tls_client_certs and tls_min_version have defaults: see `epollo.server.contradictions`


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """How to serve. Sizes are bytes or text such as ``"64KiB"``, times seconds or ``"250ms"``."""

    bind: tuple[str, ...] = _setting(
        "127.0.0.1:8091",
        _addresses,
        "ADDRESS",
        "address to listen on: HOST:PORT, [IPv6]:PORT, unix:PATH or fd://N; port 0: any free port; "
        "may be repeated",
        "-b",
        section="Address and framing",
    )
    framing: AnyFraming = _setting(  # noqa: RUF009 (a field, like the others)
        "u32",
        _framing,
        "SPEC",
        "how messages are framed: u32, line, mqtt, headers, delimiter:X ...",
        "-f",
        choices=HEADS,
    )
    engine: str = _setting(
        "auto",
        str,
        "NAME",
        "event loop engine: auto, native or python",
        section="Engine",
        choices=("auto", "native", "python"),
    )
    poller: str = _setting(
        "auto",
        str,
        "NAME",
        "system call to wait with: auto, epoll, poll, select or kqueue",
        choices=("auto", "epoll", "poll", "select", "kqueue"),
    )
    backlog: int = _setting(
        "2048", parse_count, "N", "length of the accept queue", section="Sockets"
    )
    socket_mode: int | None = _setting(
        "umask", _mode, "MODE", "permissions of a Unix socket, such as 660; umask: set by the umask"
    )
    keepalive: float = _setting(
        "60s", _keepalive, "TIME", "silence after which TCP probes the peer; 0: never"
    )
    max_connections: int = _setting(
        "none",
        _bound,
        "N",
        "maximum open connections of all workers; others are refused",
        section="Limits",
    )
    max_per_ip: int = _setting(
        "none",
        _bound,
        "N",
        "maximum open connections per IP address, of all workers; others are refused",
    )
    max_connect_rate_per_ip: float = _setting(
        "none",
        _rate,
        "RATE",
        "maximum connections a second per IP address and worker; others are refused",
    )
    max_message_rate: float = _setting(
        "none", _rate, "RATE", "maximum messages a second per connection; over it reading pauses"
    )
    tls_cert: tuple[str, ...] = _setting(
        "",
        _paths,
        "FILE",
        "serve TLS with the certificate and its chain in this PEM file; if repeated, each client "
        "gets the certificate for the name it asks for (SNI), or else the first",
        section="TLS and the PROXY header",
    )
    tls_key: tuple[str, ...] = _setting(
        "",
        _paths,
        "FILE",
        "PEM file of the certificate's key, if the certificate's file does not contain it; one for "
        "each certificate, in the same order",
    )
    tls_key_password_file: str = _setting(
        "", _path, "FILE", "file whose first line is the password of encrypted keys"
    )
    tls_ca: str = _setting(
        "", _path, "FILE", "require client certificates signed by a CA in this PEM file"
    )
    tls_client_certs: str = _setting(
        "required",
        _one_of(*CLIENT_CERTS),
        "WORD",
        "client certificates are required, or optional",
    )
    tls_crl: str = _setting(
        "", _path, "FILE", "refuse client certificates revoked by a list (CRL) in this PEM file"
    )
    tls_alpn: tuple[str, ...] = _setting(
        "",
        _protocols,
        "NAME",
        "application protocols (ALPN), the preferred one first, as in h2,chat; may be repeated",
    )
    tls_min_version: str = _setting("1.2", _version, "1.2|1.3", "lowest TLS version")
    tls_ciphers: str = _setting(
        "", str, "LIST", "ciphers for TLS 1.2, as openssl ciphers takes them"
    )
    tls: ssl.SSLContext | None = _setting(  # noqa: RUF009 (a field, like the others)
        None, _context, "", "an ssl.SSLContext instead of the files"
    )
    tls_timeout: float = _setting(
        "10s", _timeout, "TIME", "limit for a TLS handshake, or for a PROXY header"
    )
    tls_start: str = _setting(
        "connected",
        _one_of("connected", "handler"),
        "WORD",
        "when TLS begins: connected, or when the handler calls start_tls (STARTTLS)",
    )
    proxy_protocol: str = _setting(
        "off",
        _one_of(*PROXY_PROTOCOL),
        "WORD",
        "PROXY header before the first message: off, optional or required",
    )
    max_frame: int = _setting(
        "1MiB", parse_size, "SIZE", "largest frame to receive or send", section="Memory"
    )
    high_water: int = _setting(
        "64KiB", parse_size, "SIZE", "unsent bytes above which reading from the peer pauses"
    )
    max_unsent: int = _setting(
        "16MiB", parse_size, "SIZE", "unsent bytes above which the connection is closed"
    )
    max_memory: int = _setting(
        "none",
        _budget,
        "SIZE",
        "bytes that all connections may hold, divided among the workers; over it the one that "
        "holds most is closed",
    )
    idle_timeout: float = _setting(
        "0",
        _wait,
        "TIME",
        "close a connection that is silent for this long; 0: never",
        section="Timeouts",
    )
    frame_timeout: float = _setting(
        "30s", _wait, "TIME", "limit from the first byte of a frame to its last; 0: no limit"
    )
    write_timeout: float = _setting(
        "30s", _wait, "TIME", "limit for a peer that takes none of its unsent bytes; 0: no limit"
    )
    slow_handler: float = _setting(
        "100ms",
        _wait,
        "TIME",
        "log a handler that blocks the loop for longer than this; 0: never",
        section="Handlers",
    )
    handler_timeout: float = _setting(
        "0",
        _wait,
        "TIME",
        "close a connection whose handler, async or in a thread, takes longer; 0: no limit",
    )
    threads: int = _setting(
        "0", parse_count, "N", "threads for blocking handlers; 0: run handlers in the loop's thread"
    )
    in_flight: int = _setting(
        "1",
        parse_count,
        "N",
        "messages of one connection that async or threaded handlers may handle at once",
    )
    ordered: bool = _setting(
        "yes",
        _switch,
        "yes|no",
        "keep replies in the order of their messages; no: send each when it is ready",
    )
    loop: str = _setting(
        "auto",
        _one_of(*LOOPS),
        "NAME",
        "loop of async handlers: auto (uvloop if installed), asyncio or uvloop",
    )
    graceful_timeout: float = _setting(
        "30s",
        _seconds,
        "TIME",
        "time to answer received messages when told to stop",
        section="Stop",
    )
    drain_quiet: float = _setting(
        "1s", _seconds, "TIME", "silence after which a stop closes a connection; 0: at once"
    )
    drain_delay: float = _setting(
        "0", _seconds, "TIME", "after SIGTERM, time to go on accepting before the stop begins"
    )
    goodbye_over: float = _setting(
        "0", _seconds, "TIME", "time over which a stop spreads the closes; 0: no spreading"
    )
    workers: int = _setting(
        "none",
        _workers,
        "N",
        "processes that serve, under a supervisor that replaces them; none: one process",
        "-w",
        section="Workers",
    )
    balance: str = _setting(
        "slot",
        _one_of(*BALANCE),
        "WORD",
        "slot: the kernel spreads new connections over the workers; exact: the supervisor does, "
        "each to the worker with the fewest",
    )
    worker_timeout: float = _setting(
        "30s", _wait, "TIME", "replace a worker whose loop is blocked for longer; 0: never"
    )
    boot_timeout: float = _setting(
        "2m", _wait, "TIME", "limit for a new worker until it serves; 0: no limit"
    )
    max_worker_age: float = _setting(
        "0", _wait, "TIME", "replace a worker before it is older, up to a tenth earlier; 0: never"
    )
    max_worker_messages: int = _setting(
        "none", _bound, "N", "replace a worker before it receives more messages, roughly"
    )
    max_worker_memory: int = _setting(
        "none", _size_or_none, "SIZE", "replace a worker whose resident memory is larger, roughly"
    )
    broker: str = _setting(
        "",
        _broker,
        "URL",
        "NATS, which carries published messages to other nodes: nats://HOST:4222; several with "
        "commas",
        section="Cluster",
        choices=("nats://127.0.0.1:4222",),
        hide=hide_passwords,
    )
    user: str = _setting(
        "",
        _name,
        "NAME",
        "user to run as, once the addresses are bound; the supervisor of workers stays root",
        section="Process",
    )
    group: str = _setting("", _name, "NAME", "group to run as; by default the user's own")
    pid_file: str = _setting(
        "", _path, "FILE", "file to write the process's number to while it serves"
    )
    process_name: str = _setting(
        "", str, "TEXT", "name of the process in ps and top; needs setproctitle"
    )
    log_level: str = _setting(
        "info",
        _one_of(*LOG_LEVELS),
        "LEVEL",
        "log level: debug, info, warning or error",
        section="Log",
    )
    log_format: str = _setting("text", _one_of(*LOG_FORMATS), "text|json", "form of log lines")
    log_file: str = _setting(
        "", _path, "FILE", "append the log to this file, opened anew on SIGUSR1; default: stderr"
    )
    access_log: str = _setting(
        "off",
        _access_log,
        "log|FILE",
        "log each connection when it ends, to the log or to a file, opened anew on SIGUSR1; off: "
        "do not",
        choices=("log",),
    )
    metrics: str = _setting(
        "",
        _address,
        "ADDRESS",
        "serve figures for Prometheus here, at /metrics, with /healthz and /readyz",
        section="Watching and steering",
    )
    control: str = _setting(
        "", _path, "PATH", "a Unix socket for epollo ctl and epollo top, for this user alone"
    )

    if TYPE_CHECKING:  # the fields have the types that a value is parsed to

        def __init__(self, **values: Unpack[SettingValues]) -> None: ...

    def __post_init__(self) -> None:
        for setting in fields(self):
            value = getattr(self, setting.name)
            try:
                parsed = setting.metadata["parse"](value)
            except (ValueError, TypeError, OverflowError) as error:
                raise SettingError(f"{setting.name}: {error}") from None
            object.__setattr__(self, setting.name, parsed)
        for name in ("backlog", "max_frame", "max_unsent", "high_water"):
            if not 1 <= getattr(self, name) < 1 << 31:
                raise SettingError(f"{name}: must be at least 1, and less than 2 GiB")
        if not 1 <= self.in_flight < 1 << 16:
            raise SettingError("in_flight: must be at least 1, and less than 65536")
        if not self.threads < 1 << 10:
            raise SettingError("threads: must be less than 1024")
        self._check_tls()

    @property
    def changed(self) -> set[str]:
        """The names of the settings that differ from their defaults."""
        default = type(self)()
        names = [setting.name for setting in fields(self)]
        return {name for name in names if getattr(self, name) != getattr(default, name)}

    def _check_tls(self) -> None:
        for name in _WITH_TLS_CERT:
            if getattr(self, name) and self.tls is not None:
                raise SettingError(f"{name}: the context given as tls has its own; leave it out")
            if getattr(self, name) and not self.tls_cert:
                raise SettingError(f"{name}: needs tls_cert; give that too")
        if self.tls_crl and not self.tls_ca:
            raise SettingError("tls_crl: needs tls_ca; give that too")
        if self.tls_ciphers and self.tls_min_version == "1.3":
            raise SettingError(
                "tls_ciphers: is for TLS 1.2, and tls_min_version is 1.3; leave one of them out"
            )


def takes_several(setting: Field[Any]) -> bool:
    """May it have several values?"""
    return isinstance(setting.metadata["parse"](setting.default), tuple)


def settings_from(**values: Unpack[SettingValues]) -> Settings:
    """Settings from keyword arguments. Raises SettingError for an unknown name."""
    known = {setting.name for setting in fields(Settings)}
    for name in values:
        if name not in known:
            raise SettingError(f"no setting {name!r}{_instead_of(name, known)}")
    return Settings(**values)


def chosen_settings(
    settings: Settings | None, bind: Addresses | None, values: ServerValues
) -> Settings:
    """``settings``, or those that ``values`` name; in both cases with ``bind``, if it is given.
    Raises SettingError."""
    if settings is None:
        return settings_from(**values) if bind is None else settings_from(bind=bind, **values)
    if not isinstance(settings, Settings):
        raise SettingError(f"settings: {settings!r} is not an epollo.Settings")
    for name in values:
        raise SettingError(
            f"{name}: settings is given too; set {name} in that, or leave settings out"
        )
    given: dict[str, Any] = {} if bind is None else {"bind": bind}
    return replace(settings, **given)


def _instead_of(name: str, known: set[str]) -> str:
    # Imported only here: it is a long table, and most programs have no such error.
    from epollo.foreign_names import advice

    hint = advice("serve", name, lambda setting, value: f"{setting}={value}" if value else setting)
    hint = did_you_mean(name, known) or hint
    return f": {hint}" if hint else f"; there are {', '.join(sorted(known))}"


def given_by_commands() -> Iterator[Field[Any]]:
    """The settings that a command line, the environment or a file can give: all but objects."""
    return (setting for setting in fields(Settings) if setting.metadata["metavar"])
