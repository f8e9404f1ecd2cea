"""What a connection in memory does not take."""

import epollo.testing

with epollo.testing.connect(bytes.upper) as connection:
    connection.advance(None)  # wrong
    connection.receive_bytes("text")  # wrong
    connection.server.call_later(print)  # wrong
    connection.server.run()  # wrong
