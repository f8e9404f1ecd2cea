"""The work per message, in Python; the fast version is in `epollo.bench.run.native`."""
