"""The application that every peer serves."""


def handle(message: bytes) -> bytes:
    """Return the reply to one message: the message itself."""
    return message
