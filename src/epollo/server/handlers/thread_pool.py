"""A pool of threads, for calls that block.

`concurrent.futures.ThreadPoolExecutor` is not used: at exit the interpreter waits for its threads,
however long a call blocks, and it accepts no call once the main thread has ended.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue


class Job:
    """A call that was submitted to the pool."""

    __slots__ = ("_call", "_claimed", "done", "thread")

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call
        self._claimed = threading.Lock()  # by the thread that runs it, or by `cancel`
        self.done: bool = False
        self.thread: int | None = None  # the one that runs it

    def cancel(self) -> bool:
        """Drop the call; false if it has begun."""
        return self._claimed.acquire(blocking=False)

    def run(self) -> None:
        """Run the call, unless it was cancelled. It must not raise."""
        if self._claimed.acquire(blocking=False):
            self.thread = threading.get_ident()
            self._call()
            self.done = True


class ThreadPool:
    """Up to ``count`` threads, which make calls in the order in which they are submitted.

    Raises RuntimeError if not even one can be started.
    """

    def __init__(self, count: int, name: str) -> None:
        self._count = count
        self._name = name
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)  # threads that wait for a job
        self._threads: list[threading.Thread] = []
        self._running: set[Job] = set()  # changed by all threads, an item in one step
        self._add_thread()  # From 3.12 on, none can be started once the main thread has ended.

    def submit(self, call: Callable[[], object]) -> Job:
        """Run ``call``, which must not raise, in one of the threads. From one thread only."""
        job = Job(call)
        self._jobs.put(job)
        if not self._idle.acquire(blocking=False) and len(self._threads) < self._count:
            try:
                self._add_thread()
            except RuntimeError:  # no more threads: those that there are make the call later
                pass
        return job

    @property
    def busy(self) -> int:
        """How many threads are running a call."""
        return len(self._running)

    def close(self, timeout: float | None) -> bool:
        """Run the submitted calls, then end the threads; false if that takes longer than
        ``timeout`` seconds (None: no limit). The threads run on in that case."""
        end = None if timeout is None else time.monotonic() + timeout
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join(None if end is None else max(0.0, end - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _add_thread(self) -> None:
        name = f"{self._name}_{len(self._threads)}"
        thread = threading.Thread(target=self._work, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _work(self) -> None:
        process = os.getpid()
        while (job := self._next_job()) is not None:
            self._running.add(job)
            job.run()
            self._running.discard(job)
            del job
            if os.getpid() != process:  # a call forked this process, and has returned in it
                return

    def _next_job(self) -> Job | None:
        try:
            return self._jobs.get_nowait()
        except Empty:
            self._idle.release()
            return self._jobs.get()
