"""What may stand between a socket and the framing: TLS, and the PROXY header."""
