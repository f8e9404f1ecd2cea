"""`import epollo` and `epollo --help` load few modules; all public names are there on first use."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import epollo

PRINT_MODULES = "\nimport json, sys; print(json.dumps(list(sys.modules)), file=sys.stderr)"

HELP = """
import sys
from epollo_command import main
sys.argv = ["epollo", *{arguments!r}]
try:
    main()
except SystemExit:
    pass
"""

# A command of click that does nothing else.
CLICK_HELP = """
import click
click.Group("any", commands=[click.Command("any")]).main(["--help"], standalone_mode=False)
"""

COMMAND_MODULES = {
    "epollo",
    "epollo.cli",
    "epollo.cli.command",
    "epollo.cli.interrupts",
    "epollo.cli.main",
    "epollo.cli.streams",
    "epollo.errors",
    "epollo.plurals",
    "epollo_command",
}
HEAVY = {
    *("asyncio", "dataclasses", "importlib.metadata", "logging", "multiprocessing", "pathlib"),
    *("rich", "selectors", "socket", "ssl", "subprocess", "unittest"),
}


def modules_after(code: str) -> set[str]:
    """The modules that a new interpreter has loaded after ``code``."""
    command = [sys.executable, "-c", code + PRINT_MODULES]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(json.loads(run.stderr))


def typed_imports() -> Iterator[tuple[str, str]]:
    """Module and name of each import that `epollo/__init__.py` shows to type checkers."""
    tree = ast.parse(Path(epollo.__file__).read_text())
    (block,) = (
        node for node in tree.body if isinstance(node, ast.If) and isinstance(node.test, ast.Name)
    )
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        assert node.module is not None
        yield from ((node.module, alias.name) for alias in node.names)


def test_the_package_loads_nothing_but_itself() -> None:
    assert modules_after("import epollo") - modules_after("") == {"epollo"}


def test_the_help_loads_click_and_a_few_modules() -> None:
    loaded = modules_after(HELP.format(arguments=["--help"]))
    assert loaded - modules_after(CLICK_HELP) - {"signal"} <= COMMAND_MODULES
    assert loaded & HEAVY == set()


@pytest.mark.parametrize(
    ("command", "module", "others"),
    [
        ("serve", "epollo.cli.serve", ["epollo.bench", "epollo.lab"]),
        ("bench", "epollo.bench.cli.bench", ["epollo.cli.serve", "epollo.lab", "epollo.server"]),
        ("report", "epollo.bench.cli.report", ["epollo.cli.serve", "epollo.lab", "epollo.server"]),
        ("lab", "epollo.lab.commands", ["epollo.cli.serve", "epollo.bench", "epollo.server"]),
    ],
)
def test_a_command_loads_no_other_one(command: str, module: str, others: list[str]) -> None:
    loaded = modules_after(HELP.format(arguments=[command, "--help"]))
    assert module in loaded
    assert loaded & set(others) == set()


@pytest.mark.parametrize(("module", "name"), list(typed_imports()))
def test_what_a_type_checker_sees_is_there(module: str, name: str) -> None:
    if module == "epollo":
        assert getattr(epollo, name) is import_module(f"epollo.{name}")
    elif name in epollo.errors.DEPRECATED:
        with pytest.warns(DeprecationWarning, match=rf"epollo\.{name} is now epollo\.\w+"):
            getattr(epollo, name)
    else:
        assert getattr(epollo, name) is getattr(import_module(module), name)
        assert name in epollo.__all__


def test_a_type_checker_sees_every_public_name() -> None:
    names = {name for _, name in typed_imports()}
    assert set(epollo.__all__) <= names
    assert names - set(epollo.errors.DEPRECATED) <= set(dir(epollo))


@pytest.mark.parametrize(
    "code",
    [
        "from epollo import *; serve, Client, AsyncClient, framing.parse, TLSError",
        "import epollo; epollo.framing.parse, epollo.tls.client_context, epollo.testing.connect",
        "import epollo; epollo.bench.run, epollo.bench.Workload",
        "import epollo.bench; epollo.bench.run, epollo.serve",
        "from epollo.bench import *; import epollo.bench; assert epollo.bench.run is run",
    ],
)
def test_names_are_there_without_further_imports(code: str) -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'epollo' has no attribute 'sevre'"):
        epollo.sevre  # type: ignore[attr-defined]  # noqa: B018
