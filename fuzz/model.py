"""What must come of a sequence of events: the promises of a connection, as a specification.

It knows nothing of the engines. When the loop has nothing left to do:

- What the peer sent is read and its messages are delivered, in order, unless the connection is
  paused, its peer does not take what it is sent, as many replies as may be are still to come, or
  something has ended it.
- The first thing that ends it is the reason of the close. A fault that comes later replaces a
  reason that is no fault (eof, local, shutdown); an abort and the peer's reset do, too.
- Whatever ends it, the peer gets the replies to all that was delivered, then the end of the stream.
  An abort and the peer's reset drop what is not yet taken. When a handler raises, replies that are
  still to come are not waited for.
- A stop waits for the peer and for replies, then for what has arrived. It does not wait for a
  paused connection to be resumed.

Three things are left open, as `Expected` has them:

- A reset that the peer sends before the loop turns overtakes what is unread. A beginning of that,
  or nothing, is delivered; the reason is the reset, or what the unread would have led to.
- A connection that is stopped while the end of the peer's stream is unread has either reason.
- A connection that has ended may wait for its peer to end, too: it lingers if bytes of the peer are
  unread or, over TCP, if its replies are not acknowledged. An abort then replaces its reason.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from epollo.engine import CloseReason
from fuzz.events import Event, HalfClose, Item, PeerStream, Setting, Step

NO_FAULTS = {CloseReason.EOF, CloseReason.LOCAL, CloseReason.SHUTDOWN}
_BAD_FRAME = {
    "u32": CloseReason.FRAME_TOO_LARGE,
    "own": CloseReason.FRAME_TOO_LARGE,
    "varint": CloseReason.BAD_FRAME,
    "netstring": CloseReason.BAD_FRAME,
}


@dataclass
class Expected:
    """What must come of it, and what is left open."""

    messages: list[bytes] = field(default_factory=list)  # delivered, in this order
    progress: dict[int, int] = field(default_factory=dict)  # how many, by the number of the step
    maybe: list[bytes] = field(default_factory=list)  # a beginning of them, behind those
    not_answered: list[bytes] = field(default_factory=list)  # whose replies come too late
    reasons: set[CloseReason] = field(default_factory=set)  # one of them is that of the close
    complete: bool = True  # the peer gets all replies; or else a beginning of them
    clean: bool = True  # then the peer gets the end of the stream, in TLS with close_notify
    ends_after: int | None = None  # the number of the step; None if the peer resets before
    raises: bool = False  # the handler did


class Model:
    """A connection, as it is promised to be."""

    def __init__(self, setting: Setting) -> None:
        self.expected = Expected()
        self._stream = PeerStream(setting)
        self._bad_frame = _BAD_FRAME[setting.framing]
        self._tcp = setting.tcp
        self._in_flight = setting.in_flight
        self._end_is_read = setting.tls and setting.half_close in (HalfClose.BOTH, HalfClose.NOTIFY)
        self._unread: deque[Item] = deque()
        self._has_unread = False  # bytes, with items in them or not
        self._held: deque[Item] = deque()  # read, but not to be delivered yet
        self._late: deque[bytes] = deque()  # messages whose replies come with the next RESUME
        self._deferred: deque[bytes] = deque()  # messages whose replies come with an ANSWER
        self._paused = self._full = False
        self._stopping = self._stop_waits = False
        self._drops_replies = False  # those that are still to come
        self._replied = False  # by the program, since the loop has turned
        self._sealed = False  # delivers no more and takes nothing more to send
        self._reset = False  # sent by the peer, and not yet seen
        self._over = False  # all is done: the peer gets the end of the stream
        self._lingers = False  # or may do so
        self._settled: set[CloseReason] = set()  # the reasons when it settled last

    def step(self, number: int, step: Step) -> None:
        data, items = self._stream.next(step.event)
        self._unread.extend(items)
        self._has_unread = self._has_unread or bool(data)
        self._do(step.event)
        if step.settle or step.event in (Event.FULL, Event.FREE):
            self._settle()
            if self._reset:
                return
            self.expected.progress[number] = len(self.expected.messages)
            if self._over and not self._full and self.expected.ends_after is None:
                self.expected.ends_after = number

    def _do(self, event: Event) -> None:
        match event:
            case Event.RESET:
                self._reset = True
            case Event.PAUSE:
                self._paused = True
            case Event.RESUME:
                self._resume()
            case Event.CLOSE:
                self._close()
            case Event.ABORT:
                self._abort()
            case Event.STOP:
                self._stopping, self._stop_waits = True, False
            case Event.FULL:
                self._settle()  # sending until the kernel takes no more needs turns
                self._full = self._full or not self._sealed
            case Event.FREE:
                self._see_stop()  # before the peer reads
                self._full = False
            case Event.ANSWER:
                self._answer()
            case Event.FAIL:
                self._fail()

    # What the program and its handler do.

    def _resume(self) -> None:
        if self._sealed:
            self.expected.not_answered.extend(self._late)
        self._replied = self._replied or bool(self._late)
        self._late.clear()
        self._paused = False

    def _close(self) -> None:
        self._end(CloseReason.LOCAL)
        self._seal()

    def _abort(self) -> None:
        if not self._over:
            self._fault(CloseReason.LOCAL)
            self._drop(complete=not self._full and not self._replied)
        elif self._lingers and self._reasons <= NO_FAULTS:
            self._reasons.add(CloseReason.LOCAL)

    def _answer(self) -> None:
        if self._deferred:
            message = self._deferred.popleft()
            self._replied = True
            if self._over or self._drops_replies:
                self.expected.not_answered.append(message)

    def _fail(self) -> None:
        if self._deferred:
            self._deferred.popleft()
            self._raise()

    def _raise(self) -> None:
        self.expected.raises = True
        if not self._over:
            self._fault(CloseReason.HANDLER_ERROR)
            self._seal()
            self._drops_replies = True
        elif (
            self._lingers and self._reasons <= NO_FAULTS
        ):  # a reply that it does not wait for: a bug
            self._reasons.add(CloseReason.HANDLER_ERROR)

    # How it ends.

    @property
    def _reasons(self) -> set[CloseReason]:
        return self.expected.reasons

    def _end(self, reason: CloseReason) -> None:
        """No more is read; the first reason counts."""
        if not self._reasons:
            self._reasons.add(reason)

    def _fault(self, reason: CloseReason) -> None:
        if self._reasons <= NO_FAULTS:
            self.expected.reasons = {reason}

    def _seal(self) -> None:
        self._sealed = True
        self._held.clear()

    def _drop(self, complete: bool) -> None:
        self._seal()
        self._over = True
        self.expected.complete = complete
        self.expected.clean = False

    def _finish(self) -> None:
        """Nothing is left to do if something has ended it, and its replies are given and taken."""
        owes = self._deferred and not self._drops_replies
        if not self._reasons or self._full or self._held or owes:
            return
        # A handler that has paused it may want to reply later: the peer's end does not close it.
        at_end = self._reasons <= {CloseReason.EOF, CloseReason.TRUNCATED}
        paused = self._paused and not self._sealed
        if not (at_end and paused):
            self._seal()
            self._over = True
            self._lingers = self._has_unread or self._tcp

    # What the loop does.

    def _settle(self) -> None:
        """All that it can."""
        if self._over:
            return
        if self._reset:
            self._see_reset()
            return
        self._see_stop()
        if not self._holds and not self._reasons:
            self._has_unread = False
        while self._may_read():
            self._read()
        if self._stopping:
            self._stop()
        self._finish()
        self._settled = set(self._reasons)
        self._replied = False

    @property
    def _waits(self) -> bool:
        """For the peer to take what it is sent, or for a reply."""
        return self._full or len(self._deferred) >= self._in_flight

    @property
    def _holds(self) -> bool:
        return self._paused or self._waits

    def _see_stop(self) -> None:
        """A stop waits with a connection that waits, but not with one that is paused."""
        if self._stopping and self._waits and not self._paused and not self._reasons:
            self._stop_waits = True

    def _stop(self) -> None:
        """What has arrived is read. A stop does not wait for a paused connection."""
        if self._reasons & {CloseReason.EOF, CloseReason.TRUNCATED}:  # unread until now
            self._reasons.add(CloseReason.SHUTDOWN)
        self._see_stop()
        if self._waits and self._stop_waits:
            return
        self._end(CloseReason.SHUTDOWN)

    def _may_read(self) -> bool:
        if self._sealed or self._holds:
            return False
        return bool(self._held or (self._unread and not self._reasons))

    def _read(self) -> None:
        """What was read before and held back; or one read."""
        items, self._held = self._held or self._arrived(), deque()
        while items:
            item = items.popleft()
            if item.event is Event.HALF_CLOSE:
                self._end_of_stream(item)
            elif item.event is Event.BAD:
                self._meet_fault(item, items)
                return
            elif self._holds:
                self._held.append(item)
            else:
                self._deliver(item)
                if self._sealed:
                    return

    def _meet_fault(self, item: Item, behind: deque[Item]) -> None:
        """It waits behind what is held back, or in flight: the framing may change before it. At the
        end of the stream, nothing more can."""
        ended = any(each.event is Event.HALF_CLOSE for each in behind)
        if self._holds and (self._held or self._deferred) and not ended:
            self._held.append(item)
        else:
            self._end(self._bad_frame)

    def _arrived(self) -> deque[Item]:
        """All that has arrived. The end of the stream comes by itself; but TLS has it among the
        bytes."""
        items: deque[Item] = deque()
        while self._unread:
            ends = self._unread[0].event is Event.HALF_CLOSE
            if ends and items and not self._end_is_read:
                break
            items.append(self._unread.popleft())
        return items

    def _end_of_stream(self, item: Item) -> None:
        self._end(CloseReason.TRUNCATED if item.cut else CloseReason.EOF)

    def _deliver(self, item: Item) -> None:
        self.expected.messages.append(item.message)
        match item.event:
            case Event.RAISE:
                self._raise()
            case Event.PAUSED_BY_HANDLER:
                self._paused = True
            case Event.LATE:
                self._paused = True
                self._late.append(item.message)
            case Event.DEFERRED:
                self._deferred.append(item.message)
            case Event.STOPPED_BY_HANDLER:
                self._stopping, self._stop_waits = True, False
            case Event.CLOSED_BY_HANDLER:
                self._close()
            case Event.ABORTED_BY_HANDLER:
                self._fault(CloseReason.LOCAL)
                self._drop(complete=False)  # replies of the same read are still to be sent

    def _see_reset(self) -> None:
        """What is unread may be lost, or delivered before the reset is seen."""
        expected, delivered = self.expected, len(self.expected.messages)
        possible = {CloseReason.RESET} | (self._reasons - self._settled)
        if not self._reasons <= NO_FAULTS:
            possible = self._reasons
        elif not self._holds:
            while self._may_read():
                self._read()
            expected.maybe = expected.messages[delivered:]
            del expected.messages[delivered:]
            possible |= self._reasons
            if self._stopping:
                possible.add(CloseReason.SHUTDOWN)
        expected.reasons = possible
        self._drop(complete=False)


def expect(setting: Setting, steps: Sequence[Step]) -> Expected:
    """What must come of ``steps``."""
    model = Model(setting)
    for number, step in enumerate(steps):
        model.step(number, step)
    return model.expected
