def live() -> int:
    """How many connections there are: for tests that look for leaks."""
