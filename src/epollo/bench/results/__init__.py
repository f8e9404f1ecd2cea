"""The results of runs: numbers, limits, files."""
