r"""A directory that ldapsearch and other LDAP clients read, with StartTLS.

    python examples/ldap.py 127.0.0.1:3389 cert.pem key.pem
    epollo serve examples.ldap:Directory --framing ldap --tls-start handler \
        --tls-cert cert.pem --tls-key key.pem
    ldapsearch -ZZ -x -H ldap://127.0.0.1:3389 -D cn=reader,dc=example,dc=org -w secret \
        -b dc=example,dc=org '(|(uid=ann)(mail=bob@*))' cn mail

RFC 4511 for the messages, which are BER (X.690). It is only read: nothing here writes.
"""

from __future__ import annotations

import hmac
import sys
from collections.abc import Callable, Iterator
from typing import TypeAlias

import epollo

BIND, UNBIND, SEARCH, EXTENDED = 0x60, 0x42, 0x63, 0x77  # requests, by their tag
BOUND, ENTRY, FOUND, EXTENDED_ANSWER = 0x61, 0x64, 0x65, 0x78  # answers
OTHERS = {0x66: 0x67, 0x68: 0x69, 0x4A: 0x6B, 0x6C: 0x6D, 0x6E: 0x6F}  # from modify to compare
INTEGER, STRING, ENUMERATED, SEQUENCE, SET = 0x02, 0x04, 0x0A, 0x30, 0x31
SIMPLE = 0x80  # a bind by name and password
SUCCESS, PROTOCOL_ERROR, SIZE_LIMIT, NO_SASL, NEEDS_TLS = 0, 2, 4, 7, 13  # results
NO_SUCH_OBJECT, WRONG_PASSWORD, NO_ACCESS, UNWILLING = 32, 49, 50, 53
START_TLS = b"1.3.6.1.4.1.1466.20037"
LARGEST = 64 << 10  # bytes of a message: there are only requests to read
DEEPEST = 32  # filters within each other

Attributes: TypeAlias = dict[str, list[str]]
Filter: TypeAlias = Callable[[Attributes], bool]

READER, PASSWORD = "cn=reader,dc=example,dc=org", b"secret"
PEOPLE = "ou=people,dc=example,dc=org"
DIRECTORY: dict[str, Attributes] = {
    "dc=example,dc=org": {"objectClass": ["domain"], "dc": ["example"]},
    PEOPLE: {"objectClass": ["organizationalUnit"], "ou": ["people"]},
    f"uid=ann,{PEOPLE}": {
        "objectClass": ["inetOrgPerson"],
        "uid": ["ann"],
        "cn": ["Ann Li"],
        "mail": ["ann@example.org", "li@example.org"],
    },
    f"uid=bob,{PEOPLE}": {
        "objectClass": ["inetOrgPerson"],
        "uid": ["bob"],
        "cn": ["Bob Öz"],
        "mail": ["bob@example.org"],
    },
}


class Directory:
    def connected(self, connection: epollo.Connection[str]) -> None:
        connection.state = ""  # the name that the client has proved to have

    def received(
        self, message: bytes, connection: epollo.Connection[str]
    ) -> Iterator[bytes] | bytes | None:
        try:
            [(_, content)] = parts(message)
            (_, number), (kind, body), *_ = parts(content)
            if kind == SEARCH:
                return search(number, body, connection.state)
            if kind == BIND:
                return answer(number, BOUND, *bind(body, connection))
            if kind == EXTENDED:
                return start_tls(number, body, connection)
        except (ValueError, IndexError):
            connection.close()  # RFC 4511, 4.1.1: behind a notice
            return answer(b"\0", EXTENDED_ANSWER, PROTOCOL_ERROR, "this is no LDAP message")
        if kind in OTHERS:
            return answer(number, OTHERS[kind], UNWILLING, "this directory is only read")
        if kind == UNBIND:
            connection.close()
        return None  # to abandon a request has no answer either


def bind(body: bytes, connection: epollo.Connection[str]) -> tuple[int, str]:
    _, (_, name), (method, password) = parts(body)
    connection.state = ""
    if method != SIMPLE:
        return NO_SASL, "only simple binds are known here"
    if not name and not password:  # anonymous
        return SUCCESS, ""
    if connection.tls is None:
        return NEEDS_TLS, "a password needs StartTLS"
    if normal(name) != READER or not hmac.compare_digest(password, PASSWORD):
        return WRONG_PASSWORD, ""
    connection.state = READER
    return SUCCESS, ""


def start_tls(number: bytes, body: bytes, connection: epollo.Connection[str]) -> bytes | None:
    (_, operation), *_ = parts(body)
    if operation != START_TLS or connection.tls is not None:
        return answer(number, EXTENDED_ANSWER, PROTOCOL_ERROR, "only StartTLS is known, once")
    connection.send(answer(number, EXTENDED_ANSWER, SUCCESS))
    connection.start_tls()
    return None


def search(number: bytes, body: bytes, reader: str) -> Iterator[bytes] | bytes:
    (_, name), (_, scope), _, (_, limit), _, (_, types_only), condition, (_, names) = parts(body)
    base, matches = normal(name), filter_of(*condition)
    wanted = {name.decode().lower() for _, name in parts(names)}
    if reader != READER:
        return answer(number, FOUND, NO_ACCESS, f"bind as {READER}")
    if base not in DIRECTORY:
        return answer(number, FOUND, NO_SUCH_OBJECT)

    def entries() -> Iterator[bytes]:  # each is made when the client takes it
        sent, most = 0, int.from_bytes(limit, "big") or len(DIRECTORY)
        for name, attributes in DIRECTORY.items():
            if not within(name, base, scope) or not matches(attributes):
                continue
            if sent == most:
                yield answer(number, FOUND, SIZE_LIMIT)
                return
            yield entry(number, name, attributes, wanted, any(types_only))
            sent += 1
        yield answer(number, FOUND, SUCCESS)

    return entries()


def normal(name: bytes) -> str:
    """A distinguished name to be compared. That a value may have a comma in it is left out here."""
    return ",".join(part.strip() for part in name.decode().lower().split(","))


def within(name: str, base: str, scope: bytes) -> bool:
    if scope == b"\0":  # the base itself
        return name == base
    if scope == b"\1":  # one level below it
        return name.partition(",")[2] == base
    return name == base or name.endswith(f",{base}")


def filter_of(tag: int, content: bytes, depth: int = 0) -> Filter:
    """RFC 4511, 4.5.1.7; orders and other rules for matching match nothing here."""
    if depth > DEEPEST:
        raise ValueError("too many filters within each other")
    if tag in (0xA0, 0xA1, 0xA2):
        inner = [filter_of(*part, depth + 1) for part in parts(content)]
        if tag == 0xA2:
            [one] = inner
            return lambda attributes: not one(attributes)
        combine = all if tag == 0xA0 else any
        return lambda attributes: combine(each(attributes) for each in inner)
    if tag == 0x87:
        name = content.decode()
        return lambda attributes: any(True for _ in values(attributes, name))
    if tag in (0xA3, 0xA8):  # equal, or about so
        name, value = (part.decode() for _, part in parts(content))
        return lambda attributes: value.lower() in values(attributes, name)
    if tag == 0xA4:
        (_, kind), (_, texts) = parts(content)
        name, pieces = kind.decode(), [(tag, text.decode().lower()) for tag, text in parts(texts)]
        return lambda attributes: any(has(each, pieces) for each in values(attributes, name))
    return lambda _: False


def values(attributes: Attributes, name: str) -> Iterator[str]:
    for key, found in attributes.items():
        if key.lower() == name.lower():
            yield from (value.lower() for value in found)


def has(value: str, pieces: list[tuple[int, str]]) -> bool:
    """Are the pieces of ``initial*any*final`` in it, in this order?"""
    at = 0
    for tag, piece in pieces:
        found = value.rfind(piece, at) if tag == 0x82 else value.find(piece, at)
        if found < 0 or (tag == 0x80 and found) or (tag == 0x82 and value[found:] != piece):
            return False
        at = found + len(piece)
    return True


def entry(
    number: bytes, name: str, attributes: Attributes, wanted: set[str], types_only: bool
) -> bytes:
    chosen = [
        element(
            SEQUENCE,
            text(key),
            element(SET, *([] if types_only else map(text, found))),
        )
        for key, found in attributes.items()
        if not wanted or "*" in wanted or key.lower() in wanted
    ]
    content = element(ENTRY, text(name), element(SEQUENCE, *chosen))
    return element(SEQUENCE, element(INTEGER, number), content)


def answer(number: bytes, tag: int, code: int, diagnostic: str = "") -> bytes:
    result = element(tag, element(ENUMERATED, bytes([code])), text(""), text(diagnostic))
    return element(SEQUENCE, element(INTEGER, number), result)


def text(value: str) -> bytes:
    return element(STRING, value.encode())


def element(tag: int, *contents: bytes) -> bytes:
    content = b"".join(contents)
    if len(content) < 0x80:
        return bytes([tag, len(content)]) + content
    return bytes([tag, 0x84]) + len(content).to_bytes(4, "big") + content


def parts(data: bytes) -> list[tuple[int, bytes]]:
    """The tags and contents of the elements in ``data``."""
    found, at = [], 0
    while at < len(data):
        tag, size = data[at], data[at + 1]
        at += 2
        if size >= 0x80:  # the length of the length
            begin, at = at, at + (size & 0x7F)
            size = int.from_bytes(data[begin:at], "big")
        if at + size > len(data):
            raise ValueError("an element is longer than what it stands in")
        found.append((tag, data[at : at + size]))
        at += size
    return found


if __name__ == "__main__":
    bind_to, cert, key = sys.argv[1:]
    epollo.serve(
        Directory(),
        bind_to,
        framing="ldap",
        max_frame=LARGEST,
        tls_cert=cert,
        tls_key=key,
        tls_start="handler",
    )
