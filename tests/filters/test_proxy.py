"""The PROXY protocol: HAProxy's own, the headers in its specification, and invalid ones."""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from epollo import CloseReason, Connection, address
from epollo.errors import ProxyError
from epollo.filters.proxy import V2, Proxy, ProxyHeaderSender, crc32c, header
from tests.engines import Engine
from tests.interop.haproxy import haproxy
from tests.support import Peer, Recorder, closed, frame


def v2(family: int, body: bytes, command: int = 0x21) -> bytes:
    return V2 + bytes([command, family]) + struct.pack("!H", len(body)) + body


INET = socket.inet_aton("192.0.2.7") + socket.inet_aton("127.0.0.1") + struct.pack("!HH", 5678, 80)
INET6 = socket.inet_pton(socket.AF_INET6, "2001:db8::7") * 2 + struct.pack("!HH", 5678, 80)
MAPPED = bytes(10) + b"\xff\xff" + INET[:4] + INET6[16:]
UNIX = b"/run/peer".ljust(108, b"\0") + b"/run/us".ljust(108, b"\0")
UNCHECKED = v2(0x11, INET + b"\x03\0\4" + bytes(4))
CHECKED = UNCHECKED[:-4] + struct.pack("!I", crc32c(UNCHECKED))
LONGEST = b"PROXY UNKNOWN " + b"f" * 91 + b"\r\n"

GOOD = [
    (b"PROXY TCP4 192.0.2.7 192.0.2.1 5678 80\r\n", "192.0.2.7:5678"),
    (b"PROXY TCP6 2001:db8:0::7 ::1 5678 80\r\n", "[2001:db8::7]:5678"),
    (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 5678 80\r\n", "192.0.2.7:5678"),  # ipv6(7): one client
    (b"PROXY UNKNOWN\r\n", None),
    (LONGEST, None),
    (v2(0x11, INET), "192.0.2.7:5678"),
    (v2(0x11, INET + b"\x04\0\3abc"), "192.0.2.7:5678"),
    (CHECKED, "192.0.2.7:5678"),
    (v2(0x21, INET6), "[2001:db8::7]:5678"),
    (v2(0x21, MAPPED), "192.0.2.7:5678"),
    (v2(0x31, UNIX), "unix:/run/peer"),
    (v2(0x00, b"whatever"), None),
    (v2(0x00, b"", command=0x20), None),
    (v2(0x11, INET, command=0x20), None),
]

BAD = [
    b"PROXY TCP4 192.0.2.7 192.0.2.1 5678\r\n",
    b"PROXY TCP4 192.0.2.7 192.0.2.1 5678 80 1\r\n",
    b"PROXY TCP4 192.0.2.7 192.0.2.1 5678 65536\r\n",
    b"PROXY TCP4 192.0.2.7 192.0.2.1 05678 80\r\n",
    b"PROXY TCP4 192.0.2 192.0.2.1 5678 80\r\n",
    b"PROXY TCP6 192.0.2.7 192.0.2.1 5678 80\r\n",
    b"PROXY UDP4 192.0.2.7 192.0.2.1 5678 80\r\n",
    b"PROXY \r\n",
    LONGEST[:-2] + b"f\r\n",
    v2(0x11, INET, command=0x11),
    v2(0x11, INET, command=0x22),
    v2(0x11, INET + b"\x03\0\0"),  # a checksum has four bytes
    v2(0x11, INET + b"\x03\0\5" + bytes(5)),
    v2(0x11, CHECKED[16:] + CHECKED[-7:]),  # there is one at most
    v2(0x41, INET),
    v2(0x11, INET[:-1]),
    v2(0x11, INET + b"\x04\0\4abc"),
    v2(0x11, INET + b"\x04"),
    UNCHECKED,
]


NAMED = [
    (("192.0.2.7:5678", "192.0.2.1:80"), "v1", b"PROXY TCP4 192.0.2.7 192.0.2.1 5678 80\r\n"),
    (("[2001:db8::7]:5678", "[::1]:80"), "v1", b"PROXY TCP6 2001:db8::7 ::1 5678 80\r\n"),
    (("[fe80::7%eth0]:5678", "[fe80::1%eth0]:80"), "v1", b"PROXY TCP6 fe80::7 fe80::1 5678 80\r\n"),
    (("unix:(unnamed)", "unix:/run/us"), "v1", b"PROXY UNKNOWN\r\n"),
    (("192.0.2.7:5678", "127.0.0.1:80"), "v2", v2(0x11, INET)),
    (("[2001:db8::7]:5678", "[2001:db8::7]:80"), "v2", v2(0x21, INET6)),
    (("unix:(unnamed)", "unix:/run/us"), "v2", v2(0x00, b"", command=0x20)),
]


def names(value: object) -> str:
    return repr(value)[:40]


def test_the_checksum_is_that_of_rfc_3720() -> None:
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"123456789") == 0xE3069283


def steps(call: Callable[[], object]) -> int:
    """How many lines of Python a call takes: its work, whatever the machine is doing."""
    count = 0

    def trace(*_: object) -> Any:
        nonlocal count
        count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


def fields(count: int) -> bytes:
    """A header with a checksum behind so many empty fields."""
    body = INET + b"\x04\0\0" * count + b"\x03\0\4"
    unchecked = v2(0x11, body + bytes(4))
    return unchecked[:-4] + struct.pack("!I", crc32c(unchecked))


@pytest.mark.parametrize("piece", [None, 1, 1000])
@pytest.mark.parametrize(
    "make", [fields, lambda count: v2(0x11, INET + b"\x03\0\0" * count)], ids=["one", "many"]
)
def test_the_work_is_linear_in_the_size_of_the_header(
    make: Callable[[int], bytes], piece: int | None
) -> None:
    def read(header: bytes) -> None:
        proxy = Proxy(1, True)
        try:
            for start in range(0, len(header), piece or len(header)):
                proxy.received(header[start : start + (piece or len(header))])
        except ProxyError:
            pass

    short, long = make(500), make(5000)
    assert steps(lambda: read(long)) <= 11 * steps(lambda: read(short))


def test_the_largest_header_is_read() -> None:
    header = fields((65535 - len(INET) - 7) // 3)
    assert len(header) > 65530
    proxy = Proxy(1, True)
    assert proxy.received(header + b"rest") == b"rest"
    assert proxy.peername == "192.0.2.7:5678"


def test_the_longest_line_of_version_1_has_107_bytes() -> None:
    assert len(LONGEST) == 107


@pytest.mark.parametrize(("header", "peername"), GOOD, ids=names)
@pytest.mark.parametrize("required", [True, False])
def test_a_header_is_read_whole_and_byte_by_byte(
    header: bytes, peername: str | None, required: bool
) -> None:
    whole, bytewise = Proxy(1, required), Proxy(1, required)
    assert whole.received(header + b"rest") == b"rest"
    assert (whole.established, whole.peername) == (True, peername)
    for index in range(len(header)):
        assert not bytewise.established
        assert bytewise.received(header[index : index + 1]) == b""
    assert (bytewise.established, bytewise.peername) == (True, peername)


@pytest.mark.parametrize(("ends", "version", "expected"), NAMED, ids=names)
def test_a_header_is_made_for_two_addresses(
    ends: tuple[str, str], version: str, expected: bytes
) -> None:
    made = header(version, *(address.parse(end) for end in ends))
    assert made == expected
    proxy = Proxy(1)
    assert proxy.received(made) == b""
    assert proxy.established
    told = None if "unix" in ends[0] else ends[0].replace("%eth0", "")
    assert proxy.peername == told


def test_a_sender_sends_its_header_once_and_changes_nothing() -> None:
    sender = ProxyHeaderSender(b"PROXY UNKNOWN\r\n")
    assert sender.received(b"") == b""
    assert (sender.output.read(), sender.output.read()) == (b"PROXY UNKNOWN\r\n", b"")
    assert sender.established
    assert sender.send(b"data") == sender.received(b"data") == b"data"


@pytest.mark.parametrize("header", BAD, ids=names)
@pytest.mark.parametrize("required", [True, False])
def test_a_header_that_is_none_is_refused(header: bytes, required: bool) -> None:
    with pytest.raises(ProxyError):
        Proxy(1, required).received(header + b"rest")
    bytewise = Proxy(1, required)
    with pytest.raises(ProxyError):
        b"".join(bytewise.received(bytes([byte])) for byte in header)


@pytest.mark.parametrize("stream", [b"hello", b"PROXIES", b"\r\n\r\nhello", b"\0\0\0\1x"])
def test_another_stream_passes_where_the_header_is_optional(stream: bytes) -> None:
    proxy = Proxy(1, required=False)
    assert b"".join(proxy.received(bytes([byte])) for byte in stream) == stream
    assert proxy.established
    assert proxy.peername is None
    with pytest.raises(ProxyError, match="does not begin with a PROXY header"):
        Proxy(1, required=True).received(stream)


def test_one_byte_may_tell_that_it_is_no_header() -> None:
    proxy = Proxy(1, required=False)
    assert proxy.received(b"x") == b"x"
    assert proxy.established


def test_the_peer_is_whom_the_header_names(engine: Engine) -> None:
    recorder = Recorder()
    with (
        engine.server(recorder, proxy_protocol="required") as server,
        Peer(server.addresses[0]) as peer,
        Peer(server.addresses[0]) as local,
    ):
        peer.send(GOOD[0][0] + frame(b"at once"))
        assert recorder.connection().peername == "192.0.2.7:5678"
        assert peer.receive(11) == frame(b"at once")
        assert peer.ask(b"later") == b"later"
        local.send(b"PROXY UNKNOWN\r\n")
        ours = str(address.of(local.socket.getsockname()))
        assert recorder.connection().peername == ours


def test_a_unix_path_as_long_as_can_be_is_a_peer_too(engine: Engine) -> None:
    recorder = Recorder()
    path = b"/run/".ljust(108, b"x")  # without a NUL (unix(7))
    with (
        engine.server(recorder, proxy_protocol="required") as server,
        Peer(server.addresses[0]) as peer,
    ):
        peer.send(v2(0x31, path + path) + frame(b"hello"))
        assert peer.receive(9) == frame(b"hello")
        assert recorder.connection().peername == f"unix:{path.decode()}"


def test_a_server_without_it_takes_a_header_for_data(engine: Engine) -> None:
    with (
        engine.server(lambda line: line, framing="line") as server,
        Peer(server.addresses[0]) as peer,
    ):
        peer.send(GOOD[0][0])
        assert peer.receive(len(GOOD[0][0]) - 1) == GOOD[0][0].replace(b"\r\n", b"\n")


@pytest.mark.parametrize("stream", [frame(b"plain"), b"PROXY nonsense\r\n", b"PROX"])
def test_a_peer_without_a_header_is_closed_with_proxy_error(engine: Engine, stream: bytes) -> None:
    recorder = Recorder()
    with engine.server(recorder, proxy_protocol="required") as server:
        with Peer(server.addresses[0]) as peer:
            peer.send(stream)
            peer.end()
            assert peer.receive_all() == b""
        assert closed(server, CloseReason.PROXY_ERROR) == 1
    assert recorder.opened.empty()


@pytest.mark.parametrize("how", ["send-proxy", "send-proxy-v2", "send-proxy-v2 crc32c"])
def test_haproxy_says_whom_it_speaks_for(engine: Engine, tmp_path: Path, how: str) -> None:
    sends = how.replace(" crc32c", " proxy-v2-options crc32c")

    def who(message: bytes, connection: Connection) -> bytes:
        return f"{message.decode()} {connection.peername}".encode()

    with (
        engine.server(who, proxy_protocol="required") as server,
        haproxy(tmp_path, server.addresses[0], sends) as front,
        Peer(front) as peer,
    ):
        ours = str(address.of(peer.socket.getsockname()))
        assert peer.ask(b"I am") == f"I am {ours}".encode()
