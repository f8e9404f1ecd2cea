"""What is done for each message, in Cython; the Python version is in `epollo.bench.run.python`."""
