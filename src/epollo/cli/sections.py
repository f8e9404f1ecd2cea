"""Commands whose help lists the options in sections, by what they are for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import click

from epollo.cli.command import Command

OTHER = "Help"


class Option(click.Option):
    """An option that knows its section.

    Args:
        section: the heading that it is listed under.
        usual: its default, in words; the help and ``--show-config`` show it.
        hide: returns a value without secrets, as ``--show-config`` may show it.
    """

    def __init__(
        self,
        *args: Any,
        section: str,
        usual: str = "",
        hide: Callable[[str], str] | None = None,
        **settings: Any,
    ) -> None:
        if usual:
            settings["help"] = f"{settings['help']}  [default: {usual}]"
        super().__init__(*args, **settings)
        self.section = section
        self.usual = usual
        self.hide = hide


class Sectioned(Command):
    """A command whose help lists its options in sections."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for section, options in in_sections(ctx, self.get_params(ctx)):
            with formatter.section(section):
                formatter.write_dl([record for _, record in options])


def in_sections(
    ctx: click.Context, params: Iterable[click.Parameter]
) -> Iterator[tuple[str, list[tuple[click.Option, tuple[str, str]]]]]:
    """Each section, with its options and their records of the help, in the order of ``params``."""
    sections: dict[str, list[tuple[click.Option, tuple[str, str]]]] = {}
    for option in params:
        record = option.get_help_record(ctx)
        if record is not None and isinstance(option, click.Option):
            section = getattr(option, "section", OTHER)
            sections.setdefault(section, []).append((option, record))
    yield from sections.items()
