"""Filters between the socket and the framing: TLS, and the PROXY header."""
