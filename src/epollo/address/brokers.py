"""Where the broker of a cluster is, as text: nats://HOST:PORT."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

PORT = 4222
PREFIX = "epollo"
SCHEMES = ("nats", "tls")

HIDDEN = "***"
"""Stands for the password in a URL that is shown."""

_FORM = "write nats://HOST:4222, or tls://HOST:4222"
_NEXT_URL = re.compile(r",(?=\s*\w+://)")  # a password may have a comma
_SCHEME = re.compile(r"\s*\w*:?//")


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Its servers, each of which will do, and the first token of all subjects."""

    urls: tuple[str, ...]
    prefix: str


def parse_broker(text: str) -> BrokerAddress:
    """The address in ``nats://HOST:PORT``, or in several of these with commas between them; the
    last one may end with ``/PREFIX``. Raises ValueError, whose text has no password."""
    urls, prefix = [], ""
    for one in text.split(","):
        if prefix:
            raise ValueError("only the last one may end with /PREFIX")
        # If its password has a comma, "@" is in another part.
        shown = hide_passwords(one.strip() if "@" in one or "@" not in text else text)
        url, prefix = _parse_one(one.strip(), shown)
        urls.append(url)
    return BrokerAddress(tuple(urls), prefix or PREFIX)


def hide_passwords(text: str) -> str:
    """The text of a broker with ``***`` for each password, and for a token. It need not be
    valid."""
    return ",".join(map(_hide_password, _NEXT_URL.split(text)))


def _hide_password(url: str) -> str:
    scheme = _SCHEME.match(url)
    start = scheme.end() if scheme else 0
    account, at, host = url[start:].rpartition("@")
    if not at:
        return url
    user, colon, _ = account.partition(":")
    return f"{url[:start]}{user + colon if colon else ''}{HIDDEN}@{host}"


def _parse_one(text: str, shown: str) -> tuple[str, str]:
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(f"{shown!r} is not the URL of a broker; {_FORM}") from None
    odd = parts.query or parts.fragment or " " in text or "@" in parts.path
    if parts.scheme not in SCHEMES or not host or odd:
        raise ValueError(f"{shown!r} is not the URL of a broker; {_FORM}")
    if HIDDEN in (parts.username, parts.password):
        raise ValueError(f"{shown!r}: {HIDDEN} stands for a password that was not shown; write it")
    prefix = parts.path.strip("/")
    if not re.fullmatch(r"[A-Za-z0-9_-]*", prefix):
        raise ValueError(f"{shown!r}: the prefix {prefix!r} is not letters, digits, - or _")
    netloc = parts.netloc if port is not None else f"{parts.netloc.rstrip(':')}:{PORT}"
    return f"{parts.scheme}://{netloc}", prefix
