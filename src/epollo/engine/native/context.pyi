class ConnectionContext:
    """What the connections of one protocol on one loop have in common."""
