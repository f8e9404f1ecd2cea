"""Why a connection was closed, or refused."""

from enum import StrEnum


class CloseReason(StrEnum):
    """Why a connection was closed; given exactly once per connection."""

    EOF = "eof"  # the peer ended its stream and got all replies
    RESET = "reset"  # the peer, or the network, broke the connection
    TRUNCATED = "truncated"  # the peer ended its stream inside a frame
    BAD_FRAME = "bad_frame"  # bytes that can never be a frame
    BAD_MESSAGE = "bad_message"  # a whole message that the handler refused: it raised BadMessage
    FRAME_TOO_LARGE = "frame_too_large"  # a frame over max_frame
    IDLE_TIMEOUT = "idle_timeout"  # no byte came or was sent for idle_timeout
    FRAME_TIMEOUT = "frame_timeout"  # a frame was begun and not completed in frame_timeout
    WRITE_TIMEOUT = "write_timeout"  # the peer took none of its bytes for write_timeout
    TLS_ERROR = "tls_error"  # the handshake failed, or a record is invalid
    PROXY_ERROR = "proxy_error"  # the PROXY header is missing or invalid
    SLOW_CONSUMER = "slow_consumer"  # more than max_unsent bytes waited for the peer
    MEMORY = "memory"  # max_memory was exceeded, and it held the most bytes
    HANDLER_ERROR = "handler_error"  # the handler raised, or returned an invalid reply
    REFUSED = "refused"  # never established: the peer, or the poller's limit, refused
    SHUTDOWN = "shutdown"  # the server stopped
    LOCAL = "local"  # closed by this side's own call


class Refusal(StrEnum):
    """Why a connection was closed as soon as it was accepted, and never served."""

    MAX_CONNECTIONS = "max_connections"  # as many as allowed are open
    MAX_PER_IP = "max_per_ip"  # as many as allowed are open from its address
    MAX_CONNECT_RATE_PER_IP = "max_connect_rate_per_ip"  # too many come from its address a second
    DESCRIPTORS = "descriptors"  # no descriptor is left for it (ulimit -n)
    POLLER = "poller"  # the poller cannot watch it, or its setup failed
