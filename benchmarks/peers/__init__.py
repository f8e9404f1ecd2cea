"""Framed u32 echo servers in other languages and on other libraries, measured next to epollo.

Each is one small file in `programs`, as its own users would write it, with a function that is
called for each message. Each serves 127.0.0.1 on the port that it is given, prints one line,
`NAME: serving on 127.0.0.1:PORT`, and ends on SIGTERM with status 0.
"""
