"""The commands: ``epollo serve``, ``epollo bench``, ``epollo report``, ``epollo lab``.

Exit status: 0 done, 1 the run failed, 2 the command line was wrong. An error is one line on
stderr that names the thing and the fix.
"""

from __future__ import annotations

import errno
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import Field, fields
from typing import Any, NoReturn

import click

import epollo
from epollo.bench.cli.bench import bench
from epollo.bench.cli.report import report
from epollo.engine import available
from epollo.errors import EngineMissing, EpolloError, UsageError
from epollo.lab.commands import lab
from epollo.server.handlers import application as handlers
from epollo.server.server import Server, run_until_signalled
from epollo.server.stopping import exit_within
from epollo.settings import Settings, settings_from

_EXIT_SECONDS = 0.4  # for the interpreter to exit after the deadline of a stop


def main() -> NoReturn:
    """Run the command that sys.argv names; exits."""
    try:
        status = cli.main(prog_name="epollo", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        _fail(error.format_message(), error.exit_code)
    except (UsageError, EngineMissing) as error:
        _fail(str(error), 2)
    except EpolloError as error:
        _fail(str(error), 1)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted", 130)
    except BrokenPipeError:  # the reader of our output has exited: head, less
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _fail("cannot write to stdout: no space left on device", 1)
    sys.exit(status if isinstance(status, int) else 0)


def _fail(text: str, status: int) -> NoReturn:
    line = " ".join(text.split())
    print(f"epollo: error: {line}", file=sys.stderr)
    sys.exit(status)


def _version() -> str:
    return f"epollo {epollo.__version__} (engines: {', '.join(available())})"


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(message=_version())
def cli() -> None:
    """Serve a Python function as a message server on an epoll loop, and test servers under load."""


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add an option for each field of Settings; the field has its parser and its help."""
    for setting in reversed(fields(Settings)):
        if setting.metadata["metavar"]:  # without one, only Python can set it: an object
            command = _option(setting)(command)
    return command


def _option(setting: Field[Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    names = [f"--{setting.name.replace('_', '-')}", setting.name]
    if setting.metadata["flag"]:
        names.insert(0, setting.metadata["flag"])
    return click.option(
        *names,
        multiple=setting.name == "bind",
        metavar=setting.metadata["metavar"],
        help=setting.metadata["about"],
    )


@cli.command()
@click.argument("app", required=False)
@_options
def serve(app: str | None, **given: Any) -> None:
    """Serve APP, a handler written as module:attribute; by default the built-in echo."""
    settings = {name: value for name, value in given.items() if value not in (None, ())}
    level = settings_from(**settings).log_level.upper()
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(message)s")
    handler = handlers.echo if app is None else handlers.load(app)
    server = Server(handler, name=app, **settings)
    exit_within(_EXIT_SECONDS, run_until_signalled(server))


cli.add_command(bench)
cli.add_command(report)
cli.add_command(lab)
