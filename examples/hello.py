"""The smallest server: hello to whoever says who they are.

python examples/hello.py
epollo serve examples.hello:handle
"""

import sys

import epollo


def handle(message: bytes, connection: epollo.Connection) -> bytes:
    return b"hello, " + message


if __name__ == "__main__":
    epollo.serve(handle, *sys.argv[1:2], framing="u32")
