"""What is done for each message, in Python; the fast version is in `epollo.bench.run.native`."""
