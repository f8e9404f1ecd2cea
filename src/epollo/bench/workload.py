"""What to send, how much of it, and when: the description of one run."""

from __future__ import annotations

from dataclasses import dataclass

from epollo import address, framing
from epollo.errors import EncodeError, SettingError
from epollo.framing import DEFAULT_MAX_FRAME, Delimiter, Framing, LengthField, Raw
from epollo.units import format_size

_MAX_SIZE = 1 << 30


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """A closed loop: each connection keeps ``depth`` messages outstanding.

    It runs for ``duration`` seconds, or until ``messages`` (in all) are sent, whichever comes
    first; None is no bound. ``warmup`` seconds come before, once all connections are open, and
    are not measured; without them all is measured, the opening too. ``size`` is that of a message
    in bytes, without its frame's header. ``timeout`` seconds bound each connect and each reply.
    Raises UsageError for what cannot be run.
    """

    address: str
    connections: int = 100
    messages: int | None = None
    duration: float | None = 10.0
    warmup: float = 1.0
    depth: int = 1
    size: int = 64
    framing: str = "u32"
    timeout: float = 5.0

    def __post_init__(self) -> None:
        address.parse(self.address)
        self._check_bounds()
        self._check_framing()

    def new_framing(self) -> Framing:
        """The framing named, for frames as large as the messages need."""
        return framing.parse(self.framing, max(DEFAULT_MAX_FRAME, self.size + 16))

    def _check_bounds(self) -> None:
        for name in ("connections", "depth"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name}: must be at least 1")
        if not 0 <= self.size <= _MAX_SIZE:
            raise SettingError(f"size: must be at most {format_size(_MAX_SIZE)}")
        if self.messages is None and self.duration is None:
            raise SettingError("duration: needed where messages is not given")
        if self.messages is not None and self.messages < 1:
            raise SettingError("messages: must be at least 1")
        if self.timeout <= 0 or (self.duration is not None and self.duration <= 0):
            raise SettingError("duration and timeout: must be above 0")
        if self.warmup < 0:
            raise SettingError("warmup: must be at least 0")

    def _check_framing(self) -> None:
        """Would every message of the load tester arrive, and as it was sent?"""
        how = self.new_framing()
        if isinstance(how, Raw):
            raise SettingError("framing: raw has no messages to time; take u32, line or another")
        if isinstance(how, LengthField) and how.in_place:
            raise SettingError(
                f"framing: {how.name} writes a length into each message, which then differs from "
                "the one sent; take u32, line or another"
            )
        # Messages that end at a delimiter are of printable text: see Payload.
        if isinstance(how, Delimiter) and 0x20 <= how.delimiter[0] < 0x7F:
            raise SettingError(
                f"framing: the text sent may have {how.delimiter!r} in it; take a delimiter that "
                "begins with a control character, such as delimiter:\\0"
            )
        try:
            how.encode(b"x" * self.size)
        except EncodeError as error:
            raise SettingError(f"size: {error}; take another size, or another framing") from None
