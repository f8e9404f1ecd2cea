"""Groups across nodes: published messages go to the other processes over NATS.

`broker` is what a server sees. `nats_client` is its connection to NATS; it runs on `nested_loop`,
an asyncio loop that is one descriptor in the server's. `outbox` holds what waits to be sent,
`envelope` is what a message is on the wire, and `subjects` how groups are named there. `published`
and `received` count messages, so that lost ones are noticed.

The package nats-py is optional: only `nats_client` imports it.
"""
