"""What one process that serves says about itself: the answers to the questions of
`epollo.control`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from epollo.control.inquirer import Answer, Values

if TYPE_CHECKING:
    from epollo.server.application_protocol import ApplicationProtocol


class Inspection:
    """Answers for the connections of one protocol. In the loop's thread."""

    def __init__(self, protocol: ApplicationProtocol) -> None:
        self._protocol = protocol
        self._questions: dict[str, Callable[..., Values]] = {"counters": self._counters}

    def answer(self, question: str, **arguments: Any) -> Values:
        """Raises KeyError for a question that there is not."""
        return self._questions[question](**arguments)

    def _counters(self) -> Values:
        """Connections, in totals since the process began."""
        counts = self._protocol.counters.snapshot()
        return {
            "accepted": counts.accepted,
            "open": counts.open,
            "refused": {str(each): count for each, count in counts.refused.items()},
            "closed": {str(each): count for each, count in counts.closed.items()},
        }


class OwnInquiry:
    """Asks the one process of a server without workers, which is this one."""

    def __init__(self, inspection: Inspection) -> None:
        self._inspection = inspection

    def ask(
        self,
        question: str,
        done: Callable[[list[Answer]], object],
        *,
        process: int | None = None,
        **arguments: Any,
    ) -> None:
        own = os.getpid()
        if process not in (None, own):
            done([])
            return
        done([Answer(own, None, "serves", self._inspection.answer(question, **arguments))])
