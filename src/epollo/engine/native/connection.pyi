from epollo.engine.lifecycle import Lifecycle

def live() -> int:
    """How many connections there are: for tests that look for leaks."""

class Plan:
    """What the connections of one protocol on one loop have in common."""

class Connection(Lifecycle):
    """A socket in the loop; made by ``Loop.attach``."""
