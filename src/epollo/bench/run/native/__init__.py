"""The work per message, in Cython; the Python version is in `epollo.bench.run.python`."""
