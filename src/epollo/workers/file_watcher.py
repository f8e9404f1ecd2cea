"""A process that watches Python files, and tells the supervisor when they change.

It is not a thread of the supervisor, nor one of watchfiles in there: every worker is forked from
that, and a fork of a process with threads may inherit a lock that nobody releases.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import NoReturn

from epollo.causes import cause_of
from epollo.engine import EventLoop
from epollo.errors import UsageError
from epollo.workers.channel import Channel, ChannelWatch, Message, channel_pair

_LOOK_MILLISECONDS = 100  # at most between two looks whether the supervisor has ended
_MOST_NAMES = 3  # of changed files, to be logged
_LIMIT_REACHED = "OS file watch limit reached"  # the text of watchfiles, for inotify's ENOSPC


class FileWatcher:
    """Watches the .py files in ``directories`` and below. Raises UsageError without watchfiles."""

    def __init__(self, directories: Sequence[str]) -> None:
        if find_spec("watchfiles") is None:
            raise UsageError("reload: needs watchfiles; pip install 'epollo[dev]'")
        self._directories = directories
        self._channel: Channel | None = None
        self._watch: ChannelWatch | None = None
        self._pid = 0
        self.ready: bool = False  # no change is missed from now on

    def start(self) -> None:
        """Fork it, before the supervisor listens: so it inherits no listening socket."""
        ours, theirs = channel_pair()
        pid = os.fork()
        if not pid:
            ours.close()
            _become_watcher(self._directories, theirs)
        theirs.close()
        self._pid, self._channel = pid, ours

    def watch(
        self,
        loop: EventLoop,
        changed: Callable[[list[str]], object],
        failed: Callable[[UsageError], object],
    ) -> None:
        """Call ``changed`` with the names of changed files, and ``failed`` if it has ended."""

        def received(message: Message) -> None:
            match message.kind:
                case "watching":
                    self.ready = True
                case "changed":
                    changed(message.values["files"])
                case "failed":
                    failed(UsageError(message.values["text"]))

        def ended() -> None:
            failed(UsageError("reload: the process that watches files has ended; start again"))

        assert self._channel is not None
        self._watch = ChannelWatch(loop, self._channel, received, ended)

    def give_up(self) -> None:
        """In a worker: close the copy of the channel."""
        if self._channel is not None:
            self._channel.close()

    def close(self) -> None:
        """End it."""
        if self._watch is not None:
            self._watch.unwatch()
        if self._channel is not None:
            self._channel.close()
            os.kill(self._pid, signal.SIGKILL)
            try:
                os.waitpid(self._pid, 0)
            except ChildProcessError:  # reaped with the orphans of a container
                pass
            self._channel = None


def _become_watcher(directories: Sequence[str], channel: Channel) -> NoReturn:
    """What runs in the new process."""
    try:
        # They go to the whole group of processes. This one ends with its supervisor.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        _report_changes(directories, channel)
    except Exception as error:
        channel.send("failed", text=f"reload: cannot watch files: {_reason(error)}")
    finally:
        os._exit(0)


def _report_changes(directories: Sequence[str], channel: Channel) -> None:
    from watchfiles import PythonFilter, watch

    logging.getLogger("watchfiles").setLevel(logging.WARNING)
    watching = False
    for changes in watch(
        *directories,
        watch_filter=PythonFilter(),
        rust_timeout=_LOOK_MILLISECONDS,
        yield_on_timeout=True,
        raise_interrupt=False,
    ):
        if not watching:
            watching = True
            channel.send("watching")
        if changes:
            files = sorted({os.path.relpath(path) for _, path in changes})
            more = [f"{len(files) - _MOST_NAMES} more"] if len(files) > _MOST_NAMES else []
            channel.send("changed", files=files[:_MOST_NAMES] + more)
        channel.flush()
        channel.receive()
        if channel.closed:
            return


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and _LIMIT_REACHED in str(error):
        return "too many directories; raise fs.inotify.max_user_watches, or name fewer: reload_dir"
    return cause_of(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
