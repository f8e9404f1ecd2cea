"""The reference of the command line, made from the commands themselves: `.. epollo-commands::`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import click
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from epollo.cli.main import cli
from epollo.cli.man import ENVIRONMENT, EXAMPLES, EXIT_STATUS, FILES
from epollo.cli.sections import in_sections


class Commands(SphinxDirective):
    """A section for each command, and those of the manual page."""

    def run(self) -> list[nodes.Node]:
        root = click.Context(cli, info_name="epollo")
        made = [self._command(context) for context in _commands(root)]
        made.append(self._section("Environment", [*_paragraphs(ENVIRONMENT)]))
        made.append(self._section("Files", [_definitions(FILES)]))
        made.append(self._section("Exit status", [_definitions(EXIT_STATUS)]))
        examples = [part for about, line in EXAMPLES for part in (_paragraph(about), _block(line))]
        made.append(self._section("Examples", examples))
        return made

    def _section(self, title: str, children: Sequence[nodes.Node]) -> nodes.Node:
        section = nodes.section("", nodes.title("", title), *children, ids=[nodes.make_id(title)])
        self.state.document.note_explicit_target(section)
        return section

    def _command(self, context: click.Context) -> nodes.Node:
        command = context.command
        usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
        parts: list[nodes.Node] = [_block(usage), *_paragraphs(command.help or "")]
        for heading, options in in_sections(context, command.get_params(context)):
            parts.append(nodes.rubric("", heading))
            parts.append(_definitions(record for _, record in options))
        parts += _paragraphs(command.epilog or "")
        return self._section(context.command_path, parts)


def _commands(context: click.Context) -> Iterator[click.Context]:
    """The context of each command that is no group, in the order of the help."""
    group = context.command
    assert isinstance(group, click.Group)
    for name in group.list_commands(context):
        _, command, _ = group.resolve_command(context, [name])  # imports it
        assert command is not None
        inner = click.Context(command, info_name=name, parent=context)
        if isinstance(command, click.Group):
            yield from _commands(inner)
        else:
            yield inner


def _paragraphs(text: str) -> Iterator[nodes.Node]:
    for part in re.split(r"\n\s*\n", text.strip()):
        if part:
            yield _block(part.lstrip("\b\n")) if part.startswith("\b") else _paragraph(part)


def _paragraph(text: str) -> nodes.paragraph:
    return nodes.paragraph("", " ".join(text.split()))


def _block(text: str) -> nodes.literal_block:
    return nodes.literal_block(text, text, language="text")


def _definitions(rows: Any) -> nodes.definition_list:
    return nodes.definition_list(
        "",
        *(
            nodes.definition_list_item(
                "",
                nodes.term("", "", nodes.literal("", term)),
                nodes.definition("", _paragraph(about)),
            )
            for term, about in rows
        ),
    )


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("epollo-commands", Commands)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
