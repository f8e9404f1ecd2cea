"""What ends a run."""


class BenchmarkError(Exception):
    """The run cannot go on; the message is one line that names the thing and the cause."""


class NoReply(BenchmarkError):
    """Nothing came back within the window: the window was short, and the machine busy."""
