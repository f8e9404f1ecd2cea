"""Groups across nodes: the parts that need no NATS; tests/services has those that do."""
