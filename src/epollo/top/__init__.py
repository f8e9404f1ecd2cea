"""A running server, live in the terminal: `epollo top`.

`rates` compares two samples of its figures, `screen` makes lines of them, `viewer` asks, draws and
obeys keys. None of it is imported by a server.
"""
