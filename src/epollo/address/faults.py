"""The fault of a text that is not an address, and the fix."""

from __future__ import annotations

import re

FORMS = "write HOST:PORT, [IPv6]:PORT, unix:PATH or fd://N"
"""The forms of an address, for error texts."""

_EXAMPLE_PORT = 8091
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_IPV6 = re.compile(r"[0-9A-Fa-f]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.%\w]*")
_OF_HTTP = ("http", "https", "ws", "wss")
_OF_TLS = ("tls", "ssl", "tcps")


def fault_of(text: str) -> str:
    """Why ``text`` is not an address, with the fix."""
    if not text:
        return FORMS
    if text != text.strip():
        return f"leave out the space at its ends; write {text.strip()}"
    scheme = _SCHEME.fullmatch(text)
    if scheme is not None:
        return _fault_of_url(scheme[1], scheme[2])
    if "," in text:
        return "it has a comma; give each address by itself"
    if "/" in text:
        return _fault_of_path(text)
    if text.startswith("@"):
        return f"write unix:{text}"
    host, colon, port = text.rpartition(":")
    if text.startswith("[") or _IPV6.fullmatch(text):
        return _fault_of_ipv6(text)
    if not colon:
        return _without_colon(text)
    if ":" in host:
        return f"it has two colons; {FORMS}"
    if not host or host == "*":
        return _without_host(port)
    return _fault_of_port(host, port)


def _fault_of_url(scheme: str, rest: str) -> str:
    where = rest.partition("/")[0] or f"HOST:{_EXAMPLE_PORT}"
    if scheme in _OF_HTTP:
        return f"epollo speaks framed messages, not HTTP; write {where}"
    if scheme in _OF_TLS:
        return f"TLS has options of its own; leave out {scheme}://: write {where}"
    if scheme == "fd":
        return "write fd://N with the number of an open descriptor"
    return f"leave out {scheme}://; write {where}"


def _fault_of_path(text: str) -> str:
    where, _, _ = text.partition("/")
    if re.fullmatch(r"[^:]+:\d+", where):
        return f"an address has no path; write {where}"
    return f"write unix:{text} for the socket with this path"


def _fault_of_ipv6(text: str) -> str:
    inner, bracket, rest = text.removeprefix("[").partition("]")
    if not text.startswith("["):
        return f"put an IPv6 host in brackets, as in [::1]:{_EXAMPLE_PORT}; {FORMS}"
    if not bracket:
        return f"the bracket is not closed; write [{inner.strip('[') or '::1'}]:{_EXAMPLE_PORT}"
    if not rest.startswith(":"):
        return f"no port; write [{inner}]:{_EXAMPLE_PORT}"
    return _fault_of_port(f"[{inner}]", rest.removeprefix(":"))


def _without_colon(text: str) -> str:
    if text.isdigit():
        return _without_host(text)
    host, _, port = text.partition(" ")
    if port.isdigit():
        return f"write {host}:{port}"
    return f"no port; write {text}:{_EXAMPLE_PORT}" if host == text else FORMS


def _without_host(port: str) -> str:
    return f"no host; write 127.0.0.1:{port}, or 0.0.0.0:{port} to listen on all of IPv4"


def _fault_of_port(host: str, port: str) -> str:
    if not port:
        return f"no port; write {host}:{_EXAMPLE_PORT}"
    if not port.isdigit():
        return f"port {port!r} is not a number; write {host}:{_EXAMPLE_PORT}"
    return f"port {port!r} is not 0 to 65535; write {host}:{_EXAMPLE_PORT}"
