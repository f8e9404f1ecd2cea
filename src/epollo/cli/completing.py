"""The values that a shell is offered for an option or an argument, while its user types."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import click
from click.shell_completion import CompletionItem

Completer: TypeAlias = Callable[
    [click.Context, click.Parameter, str], list[CompletionItem] | list[str]
]


def suggest(metavar: str, choices: Sequence[str] = ()) -> Completer:
    """Offers ``choices``; without any, files for a FILE and directories for a DIR."""
    if choices:
        return lambda _ctx, _param, typed: [name for name in choices if name.startswith(typed)]
    kind = {"FILE": "file", "DIR": "dir"}.get(metavar)
    return lambda _ctx, _param, typed: [CompletionItem(typed, type=kind)] if kind else []


directories: Completer = suggest("DIR")


def framings(ctx: click.Context, param: click.Parameter, typed: str) -> list[str]:
    """Offers what the spec of each framing begins with."""
    from epollo.framing.spec import HEADS  # here, so that other commands start without it

    return [name for name in HEADS if name.startswith(typed)]


def modules(ctx: click.Context, param: click.Parameter, typed: str) -> list[str]:
    """Offers the modules in the current directory, or in ``--app-dir``, and after ``module:`` their
    functions, classes and variables. Nothing is imported: what a module does, it does when it is
    served."""
    from pathlib import Path  # here, so that other commands start without it

    folder = Path(ctx.params.get("app_dir") or ".")
    module, colon, _ = typed.partition(":")
    found: Iterable[str]
    if colon:
        found = (f"{module}:{name}" for name in _names_in(folder, module))
    else:
        found = (f"{path.stem}:" for path in sorted(folder.glob("*.py")))
    return [name for name in found if name.startswith(typed)]


def _names_in(folder: object, module: str) -> list[str]:
    """The public names that a module defines at its top level."""
    import ast
    from pathlib import Path

    try:
        tree = ast.parse(Path(str(folder), *module.split(".")).with_suffix(".py").read_bytes())
    except (OSError, SyntaxError, ValueError):
        return []
    names: list[str] = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.append(node.name)
        elif isinstance(node, ast.Assign):
            names += [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.append(node.target.id)
    return [name for name in names if not name.startswith("_")]
