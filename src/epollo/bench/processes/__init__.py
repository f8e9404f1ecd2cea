"""One workload on several processes, as if it were one."""
