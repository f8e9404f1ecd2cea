"""Runs a workload: opens the connections, keeps the window, and ends the run."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from time import monotonic_ns
from typing import Any

from epollo.bench.load.arrivals import arrivals
from epollo.bench.load.expect import expectation
from epollo.bench.load.matching import report
from epollo.bench.load.shards import WHOLE, Shard
from epollo.bench.messages import new_match, new_payload, new_preamble
from epollo.bench.results.figures import RunFigures
from epollo.bench.results.result import LATE, Result
from epollo.bench.results.second import Second
from epollo.bench.results.series import RecordedSeries, SecondSink
from epollo.bench.run.backends import Backend, backend_of
from epollo.bench.run.context import RunContext
from epollo.bench.run.dialer import Dialer
from epollo.bench.run.expired import ExpiredRequests
from epollo.bench.run.metrics import NEVER, SECOND, RunCounters
from epollo.bench.run.pool import ConnectionPool
from epollo.bench.run.processor import ProcessorTime
from epollo.bench.run.sampler import Sampler
from epollo.bench.run.schedule import Schedule
from epollo.bench.run.server_processes import server_processes
from epollo.bench.run.unsent import count_unsent
from epollo.bench.workload import Workload
from epollo.descriptors import allow_descriptors
from epollo.engine import EventLoop, Limits, new_loop
from epollo.errors import ConnectError

_UNLIMITED = 1 << 62
_CATCH_UP_SECONDS = 0.001
_FIGURES_SECONDS = 1.0


class Driver:
    """One run of one workload, or of a shard of it, on one loop. ``progress`` is called once a
    second.

    A run has three phases: the *opening*, until each connection has its depth of messages
    outstanding, or has failed; the *warm-up*; and the *window*, which is measured. A message
    belongs to the phase in which it was due. Without a warm-up, the window of a closed loop is open
    from the start; in an open loop it begins with the schedule, once all connections are open.

    The schedule of an open loop does not depend on the connections: a lost one is replaced.

    ``figures`` is called with the counts once a second too, from the start of the opening on. The
    seconds go to ``sink``, if it is given, and are not in the result.

    If ``opened`` is given, it is called after the opening, and the warm-up waits for `begin`.
    """

    def __init__(
        self,
        workload: Workload,
        progress: Callable[[Second], object] | None = None,
        shard: Shard = WHOLE,
        opened: Callable[[], object] | None = None,
        sink: SecondSink | None = None,
        figures: Callable[[RunFigures], object] | None = None,
    ) -> None:
        self.workload = workload
        self._figures = figures
        self._shard = shard
        self._opened = opened or (lambda: self._begin_warm_up(monotonic_ns()))
        framing = workload.new_framing()
        payload = new_payload(workload, framing)
        self._expectation = expectation(workload.expect)
        self._match = new_match(workload, payload, framing)
        preamble = new_preamble(workload, framing)
        self._dialer = Dialer(workload)
        self._progress = progress
        self._loop = _new_loop(workload, self._failed)
        backend = backend_of(self._loop.name)
        self._new_schedule: Callable[..., Schedule] = backend.pacer
        self.counters: RunCounters = _new_counters(workload, backend, shard, self._over, sink)
        if progress is not None:
            self.counters.live = deque()
        context = RunContext(
            workload=workload,
            framing=framing,
            limits=_limits(workload),
            filters=self._dialer.filters,
            payload=payload,
            messages=backend.messages(payload, framing),
            expectation=self._expectation,
            match=self._match,
            counters=self.counters,
            expired=ExpiredRequests(),
            preamble=preamble,
            call_later=self._loop.call_later,
            timeout_ns=round(workload.timeout * SECOND),
            retire_after=workload.reconnect_every or _UNLIMITED,
            watch_all=bool(workload.reconnect_every or workload.think),
        )
        self._timeout_ns = context.timeout_ns
        local = [] if shard.index else server_processes(self._dialer.address)
        self._sampler = Sampler(self._loop, local, self._message_time)
        self._pool = ConnectionPool(
            context,
            self._loop,
            shard,
            self._dialer,
            _pipeline(workload, backend),
            self._all_ramped_up,
            self._sampler.add,
        )
        self._schedule: Schedule | None = None
        self._processor = ProcessorTime()  # of the window
        self._interrupted = False

    def run(self) -> Result:
        """Run to the end. Raises SettingError if there are not enough descriptors for the
        connections, and ConnectError if none of them could be made."""
        result = self.measure(monotonic_ns())
        if not result.connect.total:
            raise self.refused()
        return result

    def refused(self) -> ConnectError:
        """Why none of the connections could be made."""
        return self._dialer.failed(self._pool.connect_error)

    def measure(self, start: int) -> Result:
        """Run to the end, even if no connection could be made. A window that includes the opening
        begins at ``start`` ns. Raises SettingError as `run` does."""
        try:
            allow_descriptors(self._pool.count)
            if self._measures_all:
                self._open_window(start)
            self._pool.open()
            self._tell_figures()
            self._loop.run()
        finally:
            self.counters.finish(monotonic_ns())
            self._loop.close()
            self._expectation.report()
            report(self._match)
        if self._pool.bug is not None:
            raise self._pool.bug
        return self._result()

    def _tell_figures(self) -> None:
        if self._figures is None:
            return
        counters, pool = self.counters, self._pool
        self._figures(
            RunFigures(
                sent=counters.sent,
                answered=counters.correct,
                bytes_sent=counters.bytes_sent,
                bytes_received=counters.bytes_received,
                outstanding=counters.outstanding,
                opened=pool.connect.total,
                open=pool.open_count,
                errors={str(error): count for error, count in counters.errors.items() if count},
                lost=dict(counters.lost),
            )
        )
        self._loop.call_later(_FIGURES_SECONDS, self._tell_figures)

    def _message_time(self) -> int:
        return self.counters.message_time

    def _failed(self, error: BaseException, what: str) -> None:
        """A part of the tester itself raised: its figures would be wrong, so the run ends."""
        self._pool.bug = self._pool.bug or error
        self._loop.stop()

    def begin(self, at: int) -> None:
        """Begin the warm-up at ``at`` ns, and the window after it. To be called after ``opened``;
        from any thread."""
        self._loop.call_threadsafe(partial(self._begin_warm_up, at))

    def stop(self, *, interrupted: bool = True) -> None:
        """End early: send no more, wait for the replies. From any thread or signal. The result
        tells whether it was ``interrupted``, or had measured what it was to measure."""
        self._loop.call_threadsafe(partial(self._end_early, interrupted))

    @property
    def _measures_all(self) -> bool:
        return not (self.workload.warmup or self.workload.open_loop)

    def _all_ramped_up(self) -> None:
        """The opening is over."""
        if not self._measures_all:
            self._opened()

    def _begin_warm_up(self, at: int) -> None:
        if not self.counters.sending:
            return
        window = at + round(self.workload.warmup * SECOND)
        if self.workload.open_loop:
            self._open_window(window)
            self._follow_schedule(at)
        else:
            self._open_window(max(window, monotonic_ns()))  # messages sent before are not in it

    def _follow_schedule(self, at: int) -> None:
        """Send by the clock, from ``at`` ns on."""
        load = self.workload
        profile = load.profile.after(load.warmup)
        times = arrivals(profile, load.arrival, load.seed, self._shard, load.connections)
        self._schedule = self._new_schedule(self._loop, times)
        self._pool.follow(self._schedule)
        self._schedule.start(at)

    def _open_window(self, at: int) -> None:
        self.counters.open_window(at, self.workload.seconds)
        self._at(at, self._begin_window)
        if self.counters.end < NEVER:
            self._at(self.counters.end, self._end_window)
        self._at(self.counters.second_end, self._end_second)

    def _begin_window(self) -> None:
        self._processor.start()
        self.counters.begin_area()
        self._sampler.start()

    def _end_window(self) -> None:
        """Send no more once every due message is sent, or is over its timeout. To leave out those
        that the tester delayed would be coordinated omission."""
        now, end = monotonic_ns(), self.counters.end
        behind = self._schedule is not None and self._schedule.due_at < end
        if behind and now < end + self._timeout_ns:
            self._loop.call_later(_CATCH_UP_SECONDS, self._end_window)
        else:
            self.counters.finish(now)

    def _at(self, when: int, call: Callable[[], object]) -> None:
        self._loop.call_later(max(0, when - monotonic_ns()) / SECOND, call)

    def _end_second(self) -> None:
        if self.counters.sending:
            self.counters.roll(monotonic_ns())
            self._report_seconds()
            self._at(self.counters.second_end, self._end_second)

    def _report_seconds(self) -> None:
        live = self.counters.live
        while live and self._progress is not None:
            self._progress(live.popleft())

    def _end_early(self, interrupted: bool) -> None:
        self._interrupted |= interrupted and self.counters.sending
        now = monotonic_ns()
        if self._schedule is None or now < self.counters.begin:
            self.counters.finish(now)
        else:  # the schedule ends now; messages due before are still sent
            self.counters.end = min(self.counters.end, now)
            self._end_window()

    def _over(self) -> None:
        """No more is sent: wait for the replies, no longer than the timeout."""
        self._pool.halt()
        self._processor.stop()
        self._sampler.stop()
        if self._schedule is not None:
            self._end_schedule(self._schedule)
        self._loop.call_later(self.workload.timeout, self._loop.stop)

    def _end_schedule(self, schedule: Schedule) -> None:
        """Count the messages that were due in the window and never sent."""
        counters = self.counters
        if counters.ended_at > counters.begin:
            load = self.workload
            profile = load.profile.after(load.warmup).scaled(self._shard.part(load.connections))
            count_unsent(schedule, counters, profile, monotonic_ns(), self._timeout_ns)
        # Messages sent late lengthen the window; otherwise the rate would be too high.
        if schedule.sent_at > counters.ended_at + LATE:
            counters.ended_at = schedule.sent_at
        schedule.stop()

    def _result(self) -> Result:
        counters, pool = self.counters, self._pool
        counters.close()
        self._report_seconds()
        seconds = counters.seconds
        response, service, slip = counters.totals()
        return Result(
            workload=self.workload,
            started=counters.started,
            elapsed=max(0, counters.ended_at - counters.begin) / SECOND,
            sent=counters.sent,
            bytes_sent=counters.bytes_sent,
            bytes_received=counters.bytes_received,
            response=response,
            service=service,
            slip=slip,
            answered=pool.answered,
            connect=pool.connect,
            first_reply=pool.first_reply,
            seconds=seconds if isinstance(seconds, RecordedSeries) else [],
            errors={str(error): count for error, count in counters.errors.items() if count},
            interrupted=self._interrupted,
            lost=counters.lost.total(),
            cpu=self._processor.used,
            waited=self._processor.waited,
            outstanding=counters.average_outstanding,
            delays=self._sampler.delays,
        )


def _pipeline(workload: Workload, backend: Backend) -> Any:
    """The class of the connections."""
    if workload.expect == "none":
        return backend.one_way
    return backend.matched if workload.match else backend.pipeline


def _limits(workload: Workload) -> Limits:
    """A message that gets no reply is done when it was sent, so a server that does not read must
    be noticed: it is closed as slow_consumer."""
    if workload.expect == "none":
        return Limits(high_water=_UNLIMITED)
    return Limits(high_water=_UNLIMITED, max_unsent=_UNLIMITED)


def _new_loop(workload: Workload, failed: Callable[[BaseException, str], object]) -> EventLoop:
    loop = new_loop(workload.engine)
    loop.on_error = failed
    return loop


def _new_counters(
    workload: Workload,
    backend: Backend,
    shard: Shard,
    over: Callable[[], object],
    sink: SecondSink | None,
) -> RunCounters:
    quota = None if workload.messages is None else shard.count(workload.messages)
    due = None
    if workload.open_loop:
        due = workload.profile.scaled(shard.part(workload.connections)).due
    counters: RunCounters = backend.counters(quota, due, over, sink)
    return counters
