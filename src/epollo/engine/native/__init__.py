"""The engine to be run: `engine/python` once more, compiled, with the system calls made directly.

rules        what a good frame looks like, framing by framing
decoder      cuts the messages out of one stream
outbox       what one connection has still to send
turn         what all connections of a loop share: the buffers, and who is being served
connection   bytes in, messages to the handler, replies out
step         the first step of a coroutine
loop         epoll_wait, and whom it is for
"""
