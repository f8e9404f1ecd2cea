"""The contexts of one protocol that differ by their framing."""

from __future__ import annotations

from typing import Any

from epollo.framing.reframing import framing_of

_MOST = 64  # with a context each that is kept


def context_with(context: Any, given: object) -> Any:
    """The context like ``context`` with the framing ``given``, made once. Raises
    FramingSpecError."""
    contexts: dict[object, Any] = context.contexts
    found = contexts.get(given)
    if found is None:
        found = context.other(framing_of(given, context.framing.max_frame))
        if len(contexts) >= _MOST:  # of a handler that makes a new one each time
            contexts.clear()
        contexts[given] = found
    return found
