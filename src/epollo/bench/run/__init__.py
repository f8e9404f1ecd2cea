"""A run of the load tester, as it goes on."""
