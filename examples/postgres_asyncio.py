"""The server of ``postgres.py`` on asyncio's streams, to be compared with it."""

from __future__ import annotations

import asyncio
import ssl
import sys

from examples.postgres_messages import GSS_REQUEST, SSL_REQUEST, WELCOME, answers_to

MOST = 1 << 20  # bytes of a message


async def message(reader: asyncio.StreamReader, typed: bool) -> bytes:
    head = await reader.readexactly(5 if typed else 4)
    size = int.from_bytes(head[-4:], "big") - 4
    if not 0 <= size <= MOST:
        raise ValueError(f"a message of {size} bytes")
    return (head if typed else b"") + await reader.readexactly(size)


async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while (first := await message(reader, typed=False))[:4] in (SSL_REQUEST, GSS_REQUEST):
        writer.write(b"S" if first == SSL_REQUEST else b"N")
        await writer.drain()
        if first == SSL_REQUEST:
            if reader._buffer:  # type: ignore[attr-defined] # or what is there counts as encrypted
                raise ValueError("plain bytes behind the request for TLS")
            await writer.start_tls(context)
    writer.writelines(WELCOME)
    while True:
        writer.writelines(answers_to(await message(reader, typed=True)))
        await writer.drain()


async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await talk(reader, writer)
    except (ValueError, OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def main(bind: str) -> None:
    host, _, port = bind.rpartition(":")
    server = await asyncio.start_server(connected, host, int(port))
    print("serving on {}:{}".format(*server.sockets[0].getsockname()), flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*sys.argv[2:])
    asyncio.run(main(sys.argv[1]))
