from epollo.bench.messages import Messages as PythonMessages
from epollo.framing import Framing

class Messages:
    """Makes the messages of a run."""

    def __init__(self, payload: PythonMessages, framing: Framing) -> None: ...
    def message(self, connection: int, number: int, intended: int) -> bytes: ...
