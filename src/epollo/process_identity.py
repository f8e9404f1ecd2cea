"""What a process is to its system: its user and group, its pid file, its name.

Functions of plain values, for a server in one process and for a supervisor alike. They raise
`SettingError`, which names the setting and the fix.
"""

from __future__ import annotations

import grp
import os
import pwd
import re
import secrets
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from epollo.errors import SettingError

_MODE = 0o644  # of a pid file: everybody may read it
_LONGEST = 32  # bytes of a pid file; longer contents are no pid


@dataclass(frozen=True, slots=True)
class Identity:
    """A user and a group to become: what `identity` found for two names.

    Attributes:
        uid: the user's number.
        gid: the group's number.
        name: the user's name, whose supplementary groups apply; empty if there is none.
    """

    uid: int
    gid: int
    name: str


def identity(user: str = "", group: str = "") -> Identity | None:
    """The user and group with these names, or numbers; None if both are empty, or if this process
    has them already.

    A user alone brings its own group. Raises SettingError for a name that does not exist, and for a
    process that may not change its user because it is not root's.
    """
    if not user and not group:
        return None
    uid, gid, name = _user(user) if user else (os.geteuid(), os.getegid(), "")
    if group:
        gid = _group(group)
    if (uid, gid) == (os.geteuid(), os.getegid()) and os.geteuid():
        return None
    if os.geteuid():
        setting, value = ("user", user) if user else ("group", group)
        raise SettingError(
            f"{setting}: only root can become {value!r}; start the command as root, or leave it out"
        )
    return Identity(uid, gid, name)


def give(files: Sequence[str | Path], wanted: Identity) -> None:
    """Let ``files`` belong to the user and group of ``wanted``. Raises OSError."""
    for file in files:
        os.chown(file, wanted.uid, wanted.gid, follow_symlinks=False)


def become(wanted: Identity, files: Sequence[str | Path] = ()) -> None:
    """Give ``files`` to the user and group of ``wanted``, and run as these from now on, with the
    supplementary groups of the user: for good, as the saved IDs change too (setresuid(2))."""
    give(files, wanted)
    if wanted.name:
        os.initgroups(wanted.name, wanted.gid)
    else:
        os.setgroups([wanted.gid])
    os.setresgid(wanted.gid, wanted.gid, wanted.gid)  # first, since the new user may not
    os.setresuid(wanted.uid, wanted.uid, wanted.uid)


class PidFile:
    """A file with the number of this process, from `write` to `remove`.

    A file of a process that has ended is replaced; one of a process that runs is refused. Symbolic
    links are refused too: a server that runs as root must not replace what a link points to.
    """

    def __init__(self, path: str | Path) -> None:
        self.path: Path = Path(path).absolute()
        self._pid = 0  # of the process that has written it

    def write(self) -> None:
        """Write the file, at once and whole. Raises SettingError."""
        name = f".{self.path.name}.{secrets.token_hex(8)}"
        temporary = self.path.with_name(name)
        try:
            # O_EXCL follows no link, and opens nothing that exists already (open(2)).
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            with open(os.open(temporary, flags, _MODE), "w") as file:  # noqa: PTH123
                os.fchmod(file.fileno(), _MODE)
                file.write(f"{os.getpid()}\n")
            try:
                self._place(temporary)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            raise SettingError(
                f"pid_file: cannot write {str(self.path)!r}: {error.strerror}; name a file in a "
                "directory that this user may write"
            ) from None
        self._pid = os.getpid()

    def remove(self) -> str:
        """Remove the file, if this process has written it and nobody else has since. Returns why it
        is left behind, if it is; empty otherwise."""
        if self._pid != os.getpid():  # a forked process must not remove it
            return ""
        self._pid = 0
        try:
            if self._found() == os.getpid():
                self.path.unlink()
        except OSError as error:
            return f"{self.path} is left behind: {error.strerror}"
        return ""

    def _place(self, temporary: Path) -> None:
        """Move ``temporary`` to the path, unless the file there belongs to a process that runs."""
        try:
            os.link(temporary, self.path)  # fails if it exists, so only one of two wins
        except FileExistsError:
            pid = self._found()
            if pid and pid != os.getpid() and _runs(pid):
                raise SettingError(
                    f"pid_file: {str(self.path)!r} is in use by process {pid}, which runs; stop "
                    "that, or name another file"
                ) from None
            temporary.rename(self.path)

    def _found(self) -> int:
        """The process that the file names; 0 if none. Raises SettingError if it is no file."""
        try:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(self.path, flags)
            try:
                regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
                text = os.read(descriptor, _LONGEST) if regular else b""
            finally:
                os.close(descriptor)
        except FileNotFoundError:
            return 0
        except OSError as error:
            if not self.path.is_symlink():
                raise
            raise self._no_file("a symbolic link") from error
        if not regular:
            raise self._no_file("not a regular file")
        match = re.fullmatch(rb"\s*([0-9]{1,10})\s*", text)
        return int(match[1]) if match else 0

    def _no_file(self, what: str) -> SettingError:
        return SettingError(f"pid_file: {str(self.path)!r} is {what}; name a regular file")


def set_process_name(name: str) -> None:
    """Show this process as ``name`` in ps(1) and top(1). Raises SettingError if the optional
    package for it is missing."""
    try:
        from setproctitle import setproctitle
    except ModuleNotFoundError:
        raise SettingError(
            "process_name: needs setproctitle, which is not installed: pip install setproctitle, "
            "or leave process_name out"
        ) from None
    setproctitle(name)


def _user(user: str) -> tuple[int, int, str]:
    try:
        entry = pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user)
    except (KeyError, OverflowError):
        raise SettingError(
            f"user: there is no user {user!r} here; getent passwd lists them"
        ) from None
    return entry.pw_uid, entry.pw_gid, entry.pw_name


def _group(group: str) -> int:
    try:
        found = grp.getgrgid(int(group)) if group.isdecimal() else grp.getgrnam(group)
    except (KeyError, OverflowError):
        raise SettingError(
            f"group: there is no group {group!r} here; getent group lists them"
        ) from None
    return found.gr_gid


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)  # sends nothing: kill(2)
    except PermissionError:  # it runs as another user
        return True
    except OSError:
        return False
    return True
