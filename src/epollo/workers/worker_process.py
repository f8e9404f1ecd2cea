"""What runs in a worker process, from the fork to its end."""

from __future__ import annotations

import atexit
import faulthandler
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import NoReturn

from epollo.descriptors import all_descriptors
from epollo.errors import EpolloError
from epollo.importing import described, from_the_user_on
from epollo.server.handlers.application import echo, load_application
from epollo.server.process import check_descriptors
from epollo.server.stopping import exit_after, exit_within
from epollo.workers.channel import Channel
from epollo.workers.inherited import Inherited
from epollo.workers.task import Task
from epollo.workers.worker_server import WorkerServer

_EXIT_SECONDS = 0.4  # for the interpreter to exit after the deadline of a stop
_FAILED_SECONDS = 3.0  # the same, of a worker that cannot serve: it may still report its error


def become_worker(
    task: Task,
    inherited: Inherited,
    give_up: Callable[[], object],
    begin: Callable[[], object],
) -> NoReturn:
    """Serve ``task`` in this process, which was just forked, and end it. ``give_up`` closes what it
    has of the supervisor's and does not need; ``begin`` gives it its own name and user."""
    status = 1
    try:
        _reset_signals()
        atexit._clear()  # the supervisor's are not for this process
        give_up()
        status = _serve(task, inherited, begin)
        _finish()
    except BaseException:
        traceback.print_exc()
    finally:
        _flush()
        os._exit(status)


def _reset_signals() -> None:
    """Signals of the terminal, and of pkill(1), go to all processes: the supervisor acts on them.
    Not SIG_IGN, which programs that a handler starts would inherit (signal(7))."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, _ignore)
    for number in (
        signal.SIGTERM,
        signal.SIGCHLD,
        signal.SIGTTIN,
        signal.SIGTTOU,
    ):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _serve(task: Task, inherited: Inherited, begin: Callable[[], object]) -> int:
    """Serve until the end; returns the exit status."""
    channel = inherited.channel
    server = None
    try:
        faulthandler.enable()  # a worker that is stuck is killed by SIGABRT, and shows where
    except (AttributeError, OSError, ValueError):  # no stderr
        pass
    try:
        begin()
        with all_descriptors() as limit:
            _forget_the_disk()
            # Bytecode of code that was replaced within the same second by code of the same length
            # would be taken for the new code's: Python compares no more than that (PEP 552).
            sys.dont_write_bytecode = True
            handler = (
                echo if task.path is None else load_application(task.path, factory=task.factory)
            )
            server = WorkerServer(handler, task, inherited)
            check_descriptors(server.settings.max_connections, limit)
            server.start()
            server.run()
    except EpolloError as error:
        return _failed(channel, error, str(error), error.exit_status)
    except (Exception, SystemExit) as error:
        if server is None or not server.is_ready:
            return _failed(channel, error, f"the application raised {described(error)}", 1)
        if isinstance(error, SystemExit):
            return error.code if isinstance(error.code, int) else 1
        raise
    exit_within(_EXIT_SECONDS, server._stop)
    return 0


def _forget_the_disk() -> None:
    """Forget what the supervisor has seen of folders and zip files that code is imported from."""
    # Not importlib.invalidate_caches(), which imports importlib.metadata, since 3.13, from files
    # that the user may not be able to read.
    for importer in sys.path_importer_cache.values():
        if importer is not None and hasattr(importer, "invalidate_caches"):
            importer.invalidate_caches()  # a new zipimporter would have the same directory
    sys.path_importer_cache.clear()


def _failed(channel: Channel, error: BaseException, text: str, status: int) -> int:
    """Tell the supervisor, and end soon: a thread that the application has started may prevent the
    interpreter's exit."""
    shown = _traceback_of(error.__cause__)
    channel.send("failed", text=text, error=type(error).__name__, traceback=shown)
    exit_after(_FAILED_SECONDS, status)
    return status


def _traceback_of(error: BaseException | None) -> str:
    """The traceback of ``error`` from the application's first frame on; empty if there is none."""
    if error is None:
        return ""
    frames = from_the_user_on(error.__traceback__)
    return "".join(traceback.format_exception(error.with_traceback(frames)))


def _finish() -> None:
    """What an interpreter does at its exit, for the application."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    logging.shutdown()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):  # closed, or None
            pass


def _ignore(*_: object) -> None:
    pass
