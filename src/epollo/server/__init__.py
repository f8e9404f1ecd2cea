"""The server: where it listens, what it serves, how it stops."""
