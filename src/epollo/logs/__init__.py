"""The form of log lines, and files that they are written to."""
