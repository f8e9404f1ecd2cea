"""What the commands that count instructions have in common: options, engines, errors."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from benchmarks.errors import BenchmarkError
from epollo.engine import available
from epollo.errors import FramingSpecError


def parser_of(module: str, description: str | None) -> argparse.ArgumentParser:
    """Return the parser of ``python -m benchmarks.MODULE``, with its docstring as the help."""
    return argparse.ArgumentParser(
        prog=f"python -m benchmarks.{module}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_engines(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that name engines."""
    parser.add_argument("engines", nargs="*", help=f"of {', '.join(available())}; default: all")


def engines(parser: argparse.ArgumentParser, named: list[str]) -> list[str]:
    """Return the engines that are ``named``, or all."""
    unknown = set(named) - set(available())
    if unknown:
        parser.error(f"no engine {', '.join(sorted(unknown))}; there are {', '.join(available())}")
    return named or available()


def status(work: Callable[[], object]) -> int:
    """Do the ``work``, and return the exit status: 1 if it cannot be done, and says why."""
    try:
        work()
    except (BenchmarkError, FramingSpecError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    return 0
