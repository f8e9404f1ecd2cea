"""The variables of the environment that are settings, and files with more of them."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Collection

from epollo.causes import cause_of
from epollo.errors import SettingError

PREFIX = "EPOLLO_"

_OF_THE_BUILD = {"EPOLLO_NATIVE", "EPOLLO_INTEROP"}
_OF_KUBERNETES = re.compile(  # set in each container if a Service is named epollo, or epollo-...
    r"EPOLLO_(\w+_)?(SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)


def check_names(prefix: str, names: Collection[str], command: str, others: Collection[str]) -> None:
    """Raises SettingError for a variable that begins with ``prefix`` and is not one of ``names``:
    it may be misspelt. Those that begin with one of ``others`` are of other commands."""
    known = {prefix + name.upper() for name in names}
    for variable in os.environ:
        if not variable.startswith(prefix) or variable in known | _OF_THE_BUILD:
            continue
        if variable.startswith(tuple(others)) or _is_of_kubernetes(variable):
            continue
        raise SettingError(f"no setting {variable}: {_fix(variable, prefix, known, command)}")


def load_file(path: str) -> None:
    """Set the variables of a file, as of Docker and systemd, that are not set already. Raises
    SettingError for a file that cannot be read, or with a line that sets nothing."""
    try:
        from dotenv import dotenv_values
        from dotenv.parser import parse_stream
    except ModuleNotFoundError:
        raise SettingError("needs python-dotenv; pip install 'epollo[config]'") from None
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 (a pipe has a path too)
            text = file.read()
    except OSError as error:
        raise SettingError(f"cannot read {path!r}: {cause_of(error)}") from None
    except UnicodeDecodeError:
        raise SettingError(f"{path!r} is not text in UTF-8") from None
    for each in parse_stream(io.StringIO(text)):
        sets_nothing = each.error or (each.key is not None and each.value is None)
        if sets_nothing or "\0" in each.original.string:
            raise SettingError(f"{path}:{each.original.line}: not of the form NAME=VALUE")
    for name, value in dotenv_values(stream=io.StringIO(text)).items():
        if value is not None:
            os.environ.setdefault(name, value)


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
