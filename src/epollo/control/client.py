"""The client of the control socket: `epollo ctl` and `epollo top`."""

from __future__ import annotations

import json
import pwd
import socket
from pathlib import Path
from typing import Any, Self

from epollo.causes import cause_of
from epollo.errors import ControlError

SECONDS = 10.0
"""For an answer, unless another process has to start first."""

_RECEIVED = 1 << 16  # bytes at a time


class ControlClient:
    """A connection to the server whose control socket is at ``path``. Raises ControlError, whose
    text is one line."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._received = bytearray()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(SECONDS)
        try:
            self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            raise ControlError(_reason(path, error)) from None

    def ask(self, command: str, *, wait: float | None = SECONDS, **arguments: Any) -> Any:
        """The answer to ``command``; waits for ``wait`` seconds, for ever with None. Raises
        ControlError, also for an answer that is an error."""
        answer = self.answer(command, wait=wait, **arguments)
        if "error" in answer:
            raise ControlError(answer["error"])
        return answer

    def answer(self, command: str, *, wait: float | None = SECONDS, **arguments: Any) -> Any:
        """As `ask`, but an error of the server is returned as it is."""
        given = {name: value for name, value in arguments.items() if value is not None}
        self._socket.settimeout(wait)
        try:
            self._send(json.dumps({"command": command, **given}).encode() + b"\n")
            return _object(self._line())
        except TimeoutError:
            raise ControlError(
                f"the server at {self.path} does not answer within {wait:g} s"
            ) from None
        except (ConnectionError, EOFError):
            raise ControlError(
                f"the server at {self.path} has ended, or closed the connection"
            ) from None
        except OSError as error:
            raise ControlError(f"{self.path}: {cause_of(error)}") from None
        except (ValueError, RecursionError):
            raise ControlError(f"what answers at {self.path} is no server of epollo") from None

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has closed the connection, and may have said why

    def _line(self) -> bytes:
        while b"\n" not in self._received:
            data = self._socket.recv(_RECEIVED)
            if not data:
                if self._received:
                    raise ValueError
                raise EOFError
            self._received += data
        line, _, self._received[:] = self._received.partition(b"\n")
        return bytes(line)


def _object(line: bytes) -> dict[str, Any]:
    """The JSON object in ``line``. Raises ValueError if it has no such."""
    found = json.loads(line)
    if not isinstance(found, dict):
        raise ValueError
    return found


def _reason(path: str, error: OSError) -> str:
    """Why nobody can be reached at ``path``, and what to do."""
    if isinstance(error, FileNotFoundError):
        return f"no control socket at {path}: start the server with --control {path}"
    if isinstance(error, ConnectionRefusedError) and not Path(path).is_socket():
        return f"{path} is no socket: name the control socket of a server"
    if isinstance(error, ConnectionRefusedError):
        return f"nobody listens at {path}: the server there has ended"
    if isinstance(error, PermissionError):
        return f"no permission to connect to {path}: only {_owner(path)} and root may"
    if isinstance(error, TimeoutError | BlockingIOError):
        return f"the server at {path} does not answer within {SECONDS:g} s"
    return f"cannot connect to {path}: {cause_of(error)}"


def _owner(path: str) -> str:
    try:
        user = Path(path).stat().st_uid
    except OSError:  # in a directory that may not be searched
        return "its owner"
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"
