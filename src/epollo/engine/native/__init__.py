"""The engine to run: `engine/python` once more, compiled, with the system calls made directly.

formats      what a valid frame looks like, framing by framing
decoder      cuts the messages out of one stream
outbox       the unsent output of one connection
context      what all connections of a loop, and of a protocol on it, share: the buffers
endpoint     the data of a connection, and its socket; what Python and Cython call it with
sending      bytes out
connection   bytes in, messages to the handler, replies out
protocol     a protocol that is compiled too
eager        the first step of a coroutine
listener     accepting
loop         epoll_wait, and the sources of its events
"""
