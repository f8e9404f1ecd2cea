"""A server that psql speaks to, with TLS and without, as far as ``select 1``.

python -m examples.postgres 127.0.0.1:5433 cert.pem key.pem
psql "host=127.0.0.1 port=5433 sslmode=require user=me dbname=any" -c "select 1"
"""

from __future__ import annotations

import sys

import epollo
from examples.postgres_messages import GSS_REQUEST, SSL_REQUEST, WELCOME, answers_to

STARTUP = "length(offset=0,size=4,adjust=-4,strip=4)"  # a length that counts itself
TYPED = "length(offset=1,size=4,adjust=-4)"  # behind the type of the message


def handle(message: bytes, connection: epollo.Connection) -> tuple[bytes, ...]:
    if connection.framing.name == TYPED:
        return answers_to(message)
    if message[:4] in (SSL_REQUEST, GSS_REQUEST):
        connection.framing = "raw"  # the answer is one byte, without a length
        connection.send(b"S" if message == SSL_REQUEST else b"N")
        connection.framing = STARTUP
        if message == SSL_REQUEST:
            connection.start_tls()
        return ()
    connection.framing = TYPED
    return WELCOME


if __name__ == "__main__":
    bind, cert, key = sys.argv[1:]
    epollo.serve(handle, bind, framing=STARTUP, tls_cert=cert, tls_key=key, tls_start="handler")
