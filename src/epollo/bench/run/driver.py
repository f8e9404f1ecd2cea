"""Runs a workload: has the connections opened, keeps the window, and ends it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import monotonic_ns, thread_time
from typing import TYPE_CHECKING

from epollo.bench.load.arrivals import arrivals
from epollo.bench.load.expect import expectation
from epollo.bench.load.messages import new_payload
from epollo.bench.processes.shares import WHOLE, Share
from epollo.bench.results.histogram import Histogram
from epollo.bench.results.result import LATE, Result, Second
from epollo.bench.run.backends import room_of
from epollo.bench.run.dialer import Dialer
from epollo.bench.run.expired import Forgone
from epollo.bench.run.metrics import NEVER, SECOND, UNSENT
from epollo.bench.run.pool import Connections
from epollo.bench.run.schedule import Pacing
from epollo.bench.workload import Workload
from epollo.descriptors import allow_descriptors
from epollo.engine import Limits, new_loop
from epollo.errors import ConnectError

if TYPE_CHECKING:
    from epollo.bench.run.python.tally import Tally

_NO_BOUND = 1 << 62
_CATCH_UP_SECONDS = 0.001


class Driver:
    """One run of one workload, or of a share of it, on one loop. ``progress`` is called once a
    second.

    Three times follow each other: *opening*, until each connection has its depth of messages
    outstanding, or has failed; the *warm-up*; and the *window*, which is measured. A message
    belongs to the time that it was due in. Without a warm-up the window of a closed loop is open
    from the start; that of an open loop begins with its plan, once all connections are there.

    The plan of an open loop is kept whatever becomes of them: one that is lost is replaced.

    Where ``opened`` is given, it is called once they are, and the warm-up waits for `begin`.
    """

    def __init__(
        self,
        workload: Workload,
        progress: Callable[[Second], object] | None = None,
        share: Share = WHOLE,
        opened: Callable[[], object] | None = None,
    ) -> None:
        self.workload = workload
        self._share = share
        self._opened = opened or (lambda: self._begin_warm_up(monotonic_ns()))
        self.framing = workload.new_framing()
        self.limits = Limits(high_water=_NO_BOUND, max_unsent=_NO_BOUND)
        self.payload = new_payload(workload, self.framing)
        self.expectation = expectation(workload.expect)
        self.echoes = self.expectation.echo
        self.dialer = Dialer(workload)
        self.forgone = Forgone()
        self.patience = round(workload.timeout * SECOND)  # ns
        self.retire_after = workload.reconnect_every or _NO_BOUND
        self.watches_all = bool(workload.reconnect_every or workload.think)
        self._progress = progress or (lambda _: None)
        self._loop = new_loop(workload.engine)
        self._loop.on_error = self._failed
        self.later = self._loop.call_later
        room = room_of(self._loop.name)
        self.messages = room.messages(self.payload, self.framing)
        part = share.part(workload.connections)
        due = workload.profile.share(part).due if workload.open_loop else None
        quota = None if workload.messages is None else share.count(workload.messages)
        self.tally: Tally = room.tally(quota, due, self._over)
        self._new_pacer: Callable[..., Pacing] = room.pacer
        self.connections = Connections(self, self._loop, share, room.exchange, self._all_filled)
        self._pacer: Pacing | None = None
        self._told = 0  # seconds
        self._cpu: float | None = None  # seconds of this thread's, when the window began
        self._cpu_used = 0.0
        self._interrupted = False

    def run(self) -> Result:
        """Run to the end. Raises SettingError where there are not descriptors enough for the
        connections, and ConnectError where none of them could be made."""
        result = self.measure(monotonic_ns())
        if not result.connect.total:
            raise self.refused()
        return result

    def refused(self) -> ConnectError:
        """Why none of the connections could be made."""
        return self.dialer.failed(self.connections.refusal)

    def measure(self, start: int) -> Result:
        """Run to the end, even where no connection could be made. A window that has the opening in
        it begins at ``start`` ns. Raises SettingError as `run` does."""
        try:
            allow_descriptors(self.connections.count)
            if self._measures_all:
                self._open_window(start)
            self.connections.open()
            self._loop.run()
        finally:
            self.tally.finish(monotonic_ns())
            self._loop.close()
            self.expectation.report()
        if self.connections.bug is not None:
            raise self.connections.bug
        return self._result()

    def _failed(self, error: BaseException, what: str) -> None:
        """A part of the tester itself raised: its figures would be wrong, so the run ends."""
        self.connections.bug = self.connections.bug or error
        self._loop.stop()

    def begin(self, at: int) -> None:
        """The warm-up begins at ``at`` ns, and the window after it, as `opened` has asked for. From
        any thread."""
        self._loop.call_threadsafe(partial(self._begin_warm_up, at))

    def stop(self) -> None:
        """End early: send no more, wait for the replies. From any thread or signal."""
        self._loop.call_threadsafe(self._interrupt)

    @property
    def _measures_all(self) -> bool:
        return not (self.workload.warmup or self.workload.open_loop)

    def _all_filled(self) -> None:
        """The opening is over."""
        if not self._measures_all:
            self._opened()

    def _begin_warm_up(self, at: int) -> None:
        """All the connections that there will be are there."""
        if not self.tally.sending:
            return
        window = at + round(self.workload.warmup * SECOND)
        if self.workload.open_loop:
            self._open_window(window)
            self._follow_plan(at)
        else:
            self._open_window(max(window, monotonic_ns()))  # what is sent already is not in it

    def _follow_plan(self, at: int) -> None:
        """Send by the clock, from ``at`` ns on."""
        load = self.workload
        profile = load.profile.after(load.warmup)
        times = arrivals(profile, load.arrival, load.seed, self._share, load.connections)
        self._pacer = self._new_pacer(self._loop, times)
        self.connections.follow(self._pacer)
        self._pacer.start(at)

    def _open_window(self, at: int) -> None:
        self.tally.open_window(at, self.workload.seconds)
        self._at(at, self._begin_window)
        if self.tally.end < NEVER:
            self._at(self.tally.end, self._end_window)
        self._at(self.tally.second_end, self._end_second)

    def _begin_window(self) -> None:
        self._cpu = thread_time()

    def _end_window(self) -> None:
        """Send no more, once all is sent that was due, or would be too late: to leave out what the
        tester itself has held up would be to measure when it suits (coordinated omission)."""
        now, end = monotonic_ns(), self.tally.end
        behind = self._pacer is not None and self._pacer.due_at < end
        if behind and now < end + self.patience:
            self._loop.call_later(_CATCH_UP_SECONDS, self._end_window)
        else:
            self.tally.finish(now)

    def _at(self, when: int, call: Callable[[], object]) -> None:
        self._loop.call_later(max(0, when - monotonic_ns()) / SECOND, call)

    def _end_second(self) -> None:
        if self.tally.sending:
            self.tally.roll(monotonic_ns())
            self._tell()
            self._at(self.tally.second_end, self._end_second)

    def _tell(self) -> None:
        for second in self.tally.seconds[self._told :]:
            self._progress(second)
        self._told = len(self.tally.seconds)

    def _interrupt(self) -> None:
        self._interrupted |= self.tally.sending
        now = monotonic_ns()
        if self._pacer is None or now < self.tally.begin:
            self.tally.finish(now)
        else:  # the plan ends here, and what was due before is sent
            self.tally.end = min(self.tally.end, now)
            self._end_window()

    def _over(self) -> None:
        """No more is sent: wait for the replies, as long as for any."""
        self.connections.halt()
        if self._cpu is not None:
            self._cpu_used = thread_time() - self._cpu
        if self._pacer is not None:
            self._end_plan(self._pacer)
        self._loop.call_later(self.workload.timeout, self._loop.stop)

    def _end_plan(self, pacer: Pacing) -> None:
        """Count what was due in the window, and never sent."""
        tally = self.tally
        if tally.ended_at > tally.begin:
            for due in pacer.left(tally.ended_at):
                if tally.sent + tally.errors[UNSENT] >= tally.quota:
                    break
                if due >= tally.begin:
                    tally.give_up(UNSENT, due, due, self.patience)
        # Messages sent late took that long to send: else the rate would be what it was not.
        if pacer.sent_at > tally.ended_at + LATE:
            tally.ended_at = pacer.sent_at
        pacer.stop()

    def _result(self) -> Result:
        tally = self.tally
        tally.close()
        self._tell()
        seconds = tally.seconds
        response = Histogram.sum(second.response for second in seconds)
        open_loop = self.workload.open_loop
        return Result(
            workload=self.workload,
            started=tally.started,
            elapsed=max(0, tally.ended_at - tally.begin) / SECOND,
            sent=tally.sent,
            bytes_sent=tally.bytes_sent,
            bytes_received=tally.bytes_received,
            response=response,
            service=Histogram.sum(s.service for s in seconds) if open_loop else response,
            slip=Histogram.sum(second.slip for second in seconds),
            answered=self.connections.answered,
            connect=self.connections.connect,
            first_reply=self.connections.first_reply,
            seconds=seconds,
            errors={str(error): count for error, count in tally.errors.items() if count},
            interrupted=self._interrupted,
            lost=tally.lost,
            cpu=self._cpu_used,
        )
