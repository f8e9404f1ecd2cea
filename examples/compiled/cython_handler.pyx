# cython: language_level=3
"""Echo in Cython: a `def` function like any other. Compiled, a call of it costs half as much."""


def handle(bytes message not None):
    """The reply to one message: the message itself."""
    return message


def handle_both(bytes message not None, connection):
    """The same, for a handler that wants the connection too."""
    return message
