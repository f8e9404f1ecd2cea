"""Compares runs: ratios with confidence intervals, and caveats."""
