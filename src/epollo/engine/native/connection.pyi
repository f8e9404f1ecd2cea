from epollo.engine.lifecycle import Lifecycle

class Plan:
    """What the connections of one protocol on one loop have in common."""

class Connection(Lifecycle):
    """A socket in the loop; made by ``Loop.attach``."""
