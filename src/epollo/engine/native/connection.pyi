from epollo.engine.connection import BaseConnection

class Connection(BaseConnection):
    """A socket in the loop; made by ``Loop.attach``."""
