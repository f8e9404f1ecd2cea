from epollo.bench.load.messages import Messages as PythonMessages

class Messages:
    """Makes the messages of a run."""

    def __init__(self, payload: PythonMessages) -> None: ...
    def message(self, connection: int, number: int, intended: int) -> bytes: ...
