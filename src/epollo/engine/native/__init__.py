"""The fast engine: `engine/python` once more, compiled, with the system calls made directly.

formats      what a valid frame looks like, framing by framing
decoder      decodes the messages of one stream
protocol     a protocol that is compiled, too
context      what connections share: the buffers of a loop, the lookups of a protocol
outbox       the unsent output of one connection
endpoint     the data of a connection, and its socket
sending      bytes out
life         the stages of the usual connection
connection   bytes in, messages to the handler, replies out
listener     accept4
eager        the first step of a coroutine
loop         epoll_wait, and the sources of its events
"""
