"""Several certificates on one address: a client names its host in the handshake (SNI, RFC 6066, 3),
and is served with the certificate for that name."""

from __future__ import annotations

import ssl
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

Contexts: TypeAlias = Mapping[str, ssl.SSLContext | None]
"""The context for each name; None for the default one, so that no context refers to itself."""


def serve_by_name(default: ssl.SSLContext, contexts: Contexts) -> None:
    """Let ``default`` serve a client with the context for the host that it names; a client that
    names no host, or another one, itself.

    Names are in lower case. A wildcard, ``*.example``, covers one label: not ``a.b.example``. The
    contexts differ in nothing but their certificates: OpenSSL takes part of their other settings
    from ``default``, and part from the one that was chosen.
    """

    def choose(tls: Any, name: str | None, _: ssl.SSLContext) -> None:
        if name:
            chosen = _chosen(name.lower().rstrip("."), contexts)
            if chosen is not None:
                tls.context = chosen

    default.sni_callback = choose
    if not getattr(sys.unraisablehook, _MARK, False):
        sys.unraisablehook = _quiet(sys.unraisablehook)


def _chosen(name: str, contexts: Contexts) -> ssl.SSLContext | None:
    return contexts[name] if name in contexts else contexts.get(f"*.{name.partition('.')[2]}")


_MARK = "ignores_invalid_server_names"
_HANDSHAKE = ssl.SSLObject.do_handshake.__code__


def _quiet(otherwise: Callable[[sys.UnraisableHookArgs], Any]) -> Callable[..., Any]:
    """``sys.unraisablehook`` without the traceback that Python prints for a name that is not ASCII.

    Any client could fill the log with it. The handshake fails, and epollo logs that, at most once a
    second.
    """

    def hook(unraisable: sys.UnraisableHookArgs, /) -> Any:
        trace = unraisable.exc_traceback
        if (
            unraisable.exc_type is UnicodeDecodeError
            and trace is not None
            and trace.tb_frame.f_code is _HANDSHAKE
        ):
            return None
        return otherwise(unraisable)

    setattr(hook, _MARK, True)
    return hook
