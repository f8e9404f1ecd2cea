"""The subject in NATS for a group.

A name of a group is any text; a token of a subject has no dot, space, wildcard or control character
(https://docs.nats.io/nats-concepts/subjects). So each byte of the name in UTF-8 that is no letter,
digit, ``-`` or ``_`` is written as ``%`` and two hexadecimal digits. Two names never have the same
token: one that is empty or long has a token with ``%`` before something else.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from urllib.parse import quote

LONGEST = 200
"""Characters of a token. NATS has a limit of 4096 bytes for a whole line of its protocol."""

_EMPTY, _HASHED = "%", "%%"


def subject_of(prefix: str, group: str) -> str:
    """The subject of ``group``, one token behind ``prefix``."""
    return f"{prefix}.{token_of(group)}"


@lru_cache(maxsize=4096)  # which costs as much as all else that is done for a message
def token_of(group: str) -> str:
    """The token for ``group``."""
    name = group.encode("utf-8", "surrogatepass")
    token = quote(name, safe="").replace(".", "%2E").replace("~", "%7E")
    if len(token) > LONGEST:
        return _HASHED + hashlib.sha256(name).hexdigest()
    return token or _EMPTY
