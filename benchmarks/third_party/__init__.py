"""`epollo bench` next to other load testers: sockperf and redis-benchmark, each on its own server.

    python -m benchmarks.third_party            # some three minutes
    python -m benchmarks.third_party --quick    # seconds: does all still work?

In each round the two testers of a case load the same server process one after the other, in turns;
the server has one core and the tester another. The results are `results/third_party.md`, to be
read, and `results/third_party.json`, every raw number.
"""
