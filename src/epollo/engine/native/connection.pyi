from epollo.engine.lifecycle import Lifecycle

class Connection(Lifecycle):
    """A socket in the loop; made by ``Loop.attach``."""
