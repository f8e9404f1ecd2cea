"""Runs one workload on several processes."""
