"""A handler's functions called here and now, whether they are async or not."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from typing import Any

from epollo.errors import UsageError
from epollo.server.handlers.application import Application, Handler, application


def application_of(handler: Handler) -> Application:
    """``handler`` made ready to be called here: what is async returns something to await."""
    receive = getattr(handler, "received", handler)
    if inspect.isclass(handler) or not inspect.iscoroutinefunction(receive):
        return application(handler)

    @functools.wraps(receive)
    def call(*arguments: Any) -> Any:
        return receive(*arguments)

    plain = application(call)
    return dataclasses.replace(
        plain,
        connected=getattr(handler, "connected", plain.connected),
        disconnected=getattr(handler, "disconnected", plain.disconnected),
    )


def finished(result: Any) -> Any:
    """``result``, where it is one already. Raises UsageError for something to await."""
    if inspect.isawaitable(result):
        if inspect.iscoroutine(result):
            result.close()
        raise UsageError("the handler is async: use async with, and await receive_async")
    return result


async def awaited(result: Any) -> Any:
    return await result if inspect.isawaitable(result) else result
