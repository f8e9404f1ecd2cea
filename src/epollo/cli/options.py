"""Command-line options whose text is parsed into numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click


def parsed(parse: Callable[[str], Any]) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """A callback for click.option; an option that is not given stays None."""

    def callback(context: click.Context, parameter: click.Parameter, text: str | None) -> Any:
        try:
            return None if text is None else parse(text)
        except ValueError as error:
            raise click.BadParameter(str(error), context, parameter) from None

    return callback
