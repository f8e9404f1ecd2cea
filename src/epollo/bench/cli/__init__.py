"""``epollo bench`` and ``epollo report``: their command lines."""
