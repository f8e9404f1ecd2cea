"""One run of the load tester."""
