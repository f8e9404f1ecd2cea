"""The variables of the environment that are settings, and files with more of them."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress

from epollo.causes import cause_of
from epollo.errors import SettingError

PREFIX = "EPOLLO_"

_OF_OTHERS = {
    *("EPOLLO_NATIVE", "EPOLLO_INTEROP"),  # read when epollo is built and tested
    "EPOLLO_VERSION",  # images of containers often have such a variable
}
_OF_KUBERNETES = re.compile(  # set in each container if a Service is named epollo, or epollo-...
    r"EPOLLO_(\w+_)?(SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)


def check_names(
    prefix: str,
    names: Collection[str],
    command: str,
    others: Collection[str] = (),
    places: Mapping[str, str] | None = None,
) -> None:
    """Raises SettingError for a variable that begins with ``prefix`` and is not one of ``names``:
    it may be misspelt. Those that begin with one of ``others`` are of other commands. ``places``
    are the file and line of variables that are from a file."""
    known = {prefix + name.upper() for name in names}
    for variable in os.environ:
        if not variable.startswith(prefix) or variable in known | _OF_OTHERS:
            continue
        if variable.startswith(tuple(others)) or _is_of_kubernetes(variable):
            continue
        place = f"{places[variable]}: " if places and variable in places else ""
        fix = _fix(variable, prefix, known, command)
        raise SettingError(f"{place}no setting {variable}: {fix}")


def load_file(path: str) -> dict[str, str]:
    """Set the variables of a file of lines NAME=VALUE, except those that are set already; returns
    the file and line of each one that it set. Raises SettingError for a file that cannot be read,
    or with a line that sets nothing."""
    try:
        from dotenv import dotenv_values
    except ModuleNotFoundError:
        raise SettingError("needs python-dotenv; pip install 'epollo[config]'") from None
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 (errors name it as it was written)
            text = file.read()
    except OSError as error:
        raise SettingError(f"cannot read {path!r}: {cause_of(error)}") from None
    except UnicodeDecodeError:
        raise SettingError(f"{path!r} is not text in UTF-8") from None
    places = {name: place for name, place in _places(text, path) if name not in os.environ}
    values = dotenv_values(stream=io.StringIO(text))
    os.environ.update({name: values[name] or "" for name in places})
    return places


def split_values(text: str) -> list[str]:
    """The values of a setting that may have several: divided by commas or spaces, or as an array in
    a file is written, in JSON."""
    if text.lstrip().startswith('["'):
        with suppress(ValueError):
            return list(map(str, json.loads(text)))
    return [value for value in re.split(r"[,\s]+", text) if value]


def _places(text: str, path: str) -> Iterator[tuple[str, str]]:
    """The name of each variable in ``text``, with the file and line."""
    from dotenv.parser import parse_stream

    for each in parse_stream(io.StringIO(text)):
        statement = each.original.string  # with the blank lines before it
        blank = statement[: len(statement) - len(statement.lstrip())].count("\n")
        place = f"{path}:{each.original.line + blank}"
        sets_nothing = each.key is not None and each.value is None
        if each.error or sets_nothing or "\0" in statement:
            raise SettingError(f"{place}: not of the form NAME=VALUE")
        if each.key is not None:
            yield each.key, place


def _is_of_kubernetes(variable: str) -> bool:
    if _OF_KUBERNETES.fullmatch(variable):
        return True
    return variable.endswith("_PORT") and "://" in os.environ[variable]


def _fix(variable: str, prefix: str, known: Collection[str], command: str) -> str:
    # Imported only here: most environments have no such error.
    from epollo.foreign_names import advice
    from epollo.suggestions import nearest

    def show(setting: str, value: str) -> str:
        return f"{prefix}{setting.upper()}={value}" if value else prefix + setting.upper()

    name = variable.removeprefix(prefix)
    near = nearest(name, [each.removeprefix(prefix) for each in known])
    return (
        advice(command, name, show)
        or (near and f"did you mean {prefix}{near}?")
        or f"unset it; epollo {command} --show-config lists all settings"
    )
