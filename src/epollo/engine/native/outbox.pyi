def live() -> int:
    """How many outboxes there are: for tests that look for leaks."""
