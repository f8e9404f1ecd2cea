"""What the load tester does for each message, in Cython, where it was built: `python` is to be
read."""
