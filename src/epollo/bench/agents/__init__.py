"""Runs one workload on several agents: processes of this machine, or workers of a cluster."""
