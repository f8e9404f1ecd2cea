"""The log of a command: to stderr, or as a file says."""

from __future__ import annotations

import json
import logging
import logging.config
from pathlib import Path
from typing import Any

from epollo.causes import cause_of
from epollo.errors import SettingError
from epollo.logs.files import LogFile
from epollo.logs.forms import formatter


def configure_log(
    level: str,
    path: str | None,
    *,
    level_given: bool,
    form: str = "text",
    file: str = "",
    with_process: bool = False,
) -> None:
    """Log from ``level`` on, in the ``form`` text or json, to stderr or to ``file``; or as the file
    ``path`` says: JSON or YAML of logging.config.dictConfig, or else an INI file of
    logging.config.fileConfig, told apart by the suffix, as uvicorn does. Then a level that was
    given is set for epollo's own loggers. Raises SettingError."""
    if path is None:
        handler = _handler(file)
        handler.setFormatter(formatter(form, with_process=with_process))
        logging.basicConfig(level=level.upper(), handlers=[handler])
        return
    if file:
        raise SettingError("log_file: log_config says where the log goes; leave one of them out")
    try:
        _apply(path)
    except SettingError:
        raise
    except OSError as error:
        raise SettingError(f"log_config: cannot read {path!r}: {cause_of(error)}") from None
    except Exception as error:  # of logging.config, of the parsers, and of the user's own handlers
        text = f"{error}: {error.__cause__}" if error.__cause__ else str(error)
        raise SettingError(f"log_config: {path}: {text or type(error).__name__}") from None
    if level_given:
        logging.getLogger("epollo").setLevel(level.upper())


def _handler(path: str) -> logging.Handler:
    if not path:
        return logging.StreamHandler()
    try:
        return LogFile(path)
    except OSError as error:
        raise SettingError(f"log_file: cannot open {path!r}: {cause_of(error)}") from None


def _apply(path: str) -> None:
    suffix = Path(path).suffix.lower()
    if suffix == ".json":
        logging.config.dictConfig(_table(json.loads(Path(path).read_text()), path))
    elif suffix in (".yaml", ".yml"):
        logging.config.dictConfig(_table(_yaml(path), path))
    else:
        Path(path).read_bytes()  # fileConfig does not tell why it cannot read
        logging.config.fileConfig(path, disable_existing_loggers=False)


def _yaml(path: str) -> Any:
    try:
        import yaml
    except ModuleNotFoundError:
        raise SettingError(
            f"log_config: {path}: needs PyYAML; pip install 'epollo[config]'"
        ) from None
    return yaml.safe_load(Path(path).read_text())


def _table(value: Any, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SettingError(f"log_config: {path}: is not a table of settings for logging")
    return {"disable_existing_loggers": False, **value}  # epollo's own exist already
