"""A WebSocket server that echoes: one phase is the handshake over HTTP, the next one frames.

    python examples/websocket_echo.py 127.0.0.1:8765
    epollo serve examples.websocket_echo:Echo --framing headers
    websockets ws://127.0.0.1:8765/

RFC 6455, whose sections the comments name. For a server of your own, replace ``Echo.answer``.
"""

from __future__ import annotations

import base64
import hashlib
import sys
from dataclasses import dataclass, field

import epollo

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # (1.3)
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10  # opcodes (5.2)
FIN, RESERVED, MASKED = 0x80, 0x70, 0x80

GOING_AWAY, PROTOCOL_ERROR, NOT_UTF8, TOO_BIG = 1001, 1002, 1007, 1009  # (7.4.1)
CLOSE_CODES = range(1000, 1004), range(1007, 1015), range(3000, 5000)  # that may be sent
MAX_MESSAGE = 1 << 20  # bytes of all fragments


class Failed(Exception):
    """A frame after which the connection is closed with this code (7.1.7)."""

    def __init__(self, code: int, why: str) -> None:
        self.code, self.why = code, why


@dataclass
class Incoming:
    """The state of a connection: the fragments of a message that is not whole (5.4)."""

    kind: int = CONTINUATION  # TEXT or BINARY, once there is one
    data: bytearray = field(default_factory=bytearray)


class Echo:
    def answer(self, message: str | bytes) -> str | bytes | None:
        """The message that is sent back, if any: a text, or bytes."""
        return message

    def received(self, message: bytes, connection: epollo.Connection) -> bytes | None:
        if connection.state is None:
            self.shake_hands(message, connection)
            return None
        try:
            return self.frame(message, connection)
        except Failed as failed:
            connection.close()
            return close_frame(failed.code, failed.why)

    def closing(self, connection: epollo.Connection) -> None:
        """The server stops."""
        if connection.state is not None:
            connection.send(close_frame(GOING_AWAY, "the server stops"))

    def shake_hands(self, request: bytes, connection: epollo.Connection) -> None:
        try:
            accept = accept_of(request)
        except ValueError as error:
            text = f"{error}\n".encode()
            connection.send(b"%bContent-Length: %d\r\n\r\n%b" % (REFUSAL, len(text), text))
            connection.close()
            return
        connection.send(b"%bSec-WebSocket-Accept: %b\r\n\r\n" % (SWITCHING, accept))
        connection.framing = "websocket"
        connection.state = Incoming()

    def frame(self, frame: bytes, connection: epollo.Connection) -> bytes | None:
        if frame[0] & RESERVED or not frame[1] & MASKED:
            raise Failed(PROTOCOL_ERROR, "a reserved bit is set, or the frame is not masked")
        kind, final, data = frame[0] & 0x0F, bool(frame[0] & FIN), unmasked(frame)
        if kind < CLOSE:
            message = whole_message(connection.state, kind, final, data)
            answer = None if message is None else self.answer(message)
            return None if answer is None else message_frame(answer)
        if not final or len(data) > 125:
            raise Failed(PROTOCOL_ERROR, "a control frame is long, or in fragments")
        if kind == PING:
            return encoded(PONG, data)
        if kind == CLOSE:
            check_close(data)
            connection.close()
            return encoded(CLOSE, data[:2])
        if kind != PONG:
            raise Failed(PROTOCOL_ERROR, f"opcode {kind} is unknown")
        return None


SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
REFUSAL = b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
REFUSAL += b"Connection: close\r\n"


def accept_of(request: bytes) -> bytes:
    """The value that accepts a handshake (4.2.2). Raises ValueError for other requests (4.2.1)."""
    lines = request.decode("latin-1").split("\r\n")
    pairs = [line.partition(":") for line in lines[1:]]
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    words = lines[0].split(" ")
    if len(words) != 3 or words[0] != "GET" or words[2] != "HTTP/1.1":
        raise ValueError("this is not a GET of HTTP/1.1")
    if headers.get("upgrade", "").lower() != "websocket":
        raise ValueError("there is no upgrade to websocket")
    if "upgrade" not in [word.strip() for word in headers.get("connection", "").lower().split(",")]:
        raise ValueError("Connection does not name Upgrade")
    if headers.get("sec-websocket-version") != "13":
        raise ValueError("Sec-WebSocket-Version is not 13")
    key = headers.get("sec-websocket-key", "")
    try:
        size = len(base64.b64decode(key, validate=True))
    except ValueError:
        size = 0
    if size != 16:
        raise ValueError("Sec-WebSocket-Key is not 16 bytes in base64")
    digest = hashlib.sha1(key.encode() + GUID, usedforsecurity=False).digest()
    return base64.b64encode(digest)


def unmasked(frame: bytes) -> bytes:
    """The payload of a frame of a client (5.3). The framing has checked its length."""
    start = {126: 4, 127: 10}.get(frame[1] & 0x7F, 2)
    mask, data = frame[start : start + 4], frame[start + 4 :]
    repeated = mask * (len(data) // 4 + 1)
    number = int.from_bytes(data, "big") ^ int.from_bytes(repeated[: len(data)], "big")
    return number.to_bytes(len(data), "big")


def whole_message(incoming: Incoming, kind: int, final: bool, data: bytes) -> str | bytes | None:
    """The message that ``data`` completes; None if it is to be continued."""
    if kind > BINARY or (kind == CONTINUATION) != (incoming.kind != CONTINUATION):
        raise Failed(PROTOCOL_ERROR, f"opcode {kind} is unknown, or has the wrong place")
    if len(incoming.data) + len(data) > MAX_MESSAGE:
        raise Failed(TOO_BIG, f"a message has over {MAX_MESSAGE} bytes")
    incoming.kind = kind or incoming.kind
    incoming.data += data
    if not final:
        return None
    whole, is_text = bytes(incoming.data), incoming.kind == TEXT
    incoming.kind, incoming.data = CONTINUATION, bytearray()
    try:
        return whole.decode() if is_text else whole
    except UnicodeDecodeError:
        raise Failed(NOT_UTF8, "a text is not UTF-8") from None


def check_close(data: bytes) -> None:
    """Raises Failed for a code that nobody may send, or a reason that is not UTF-8 (7.4)."""
    code = int.from_bytes(data[:2], "big")
    if data and not any(code in codes for codes in CLOSE_CODES):
        raise Failed(PROTOCOL_ERROR, f"code {code} is not for a close frame")
    try:
        data[2:].decode()
    except UnicodeDecodeError:
        raise Failed(NOT_UTF8, "a reason is not UTF-8") from None


def message_frame(message: str | bytes) -> bytes:
    if isinstance(message, str):
        return encoded(TEXT, message.encode())
    return encoded(BINARY, message)


def close_frame(code: int, why: str) -> bytes:
    return encoded(CLOSE, code.to_bytes(2, "big") + why.encode())


def encoded(kind: int, data: bytes) -> bytes:
    """A frame of a server: whole, and not masked."""
    size = len(data)
    if size < 126:
        head = bytes([FIN | kind, size])
    elif size < 1 << 16:
        head = bytes([FIN | kind, 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([FIN | kind, 127]) + size.to_bytes(8, "big")
    return head + data


if __name__ == "__main__":
    epollo.serve(Echo(), *sys.argv[1:2], framing="headers", max_frame=MAX_MESSAGE + 14)
