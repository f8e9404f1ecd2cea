"""What a run has measured: numbers, limits, files."""
