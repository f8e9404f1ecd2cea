"""The host names of a certificate: the DNS names in its subjectAltName (RFC 5280, 4.2.1.6).

Python decodes only the certificate of a verified peer. So the fields on the way to the names are
read here, from the certificate's DER (X.690): each is a tag, a length and that many bytes.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator

_PEM = re.compile(
    rb"-----BEGIN ((?:X509 |TRUSTED )?CERTIFICATE)-----(.*?)-----END \1-----",
    re.DOTALL,
)
_SUBJECT_ALT_NAME = bytes.fromhex("551d11")  # 2.5.29.17
_OBJECT_IDENTIFIER, _OCTET_STRING, _SEQUENCE = 0x06, 0x04, 0x30
_EXTENSIONS = 0xA3  # [3] of TBSCertificate
_DNS_NAME = 0x82  # [2] of GeneralName


def names_in(pem: bytes) -> tuple[str, ...]:
    """The names of the first certificate in ``pem``, in lower case; ``*.example`` is a wildcard.

    Without a subjectAltName there are none: the common name is no host name any more (RFC 9525, 2).
    Raises ValueError if there is no certificate.
    """
    block = _PEM.search(pem)
    if block is None:
        raise ValueError("no certificate")
    der = ssl.PEM_cert_to_DER_cert(
        f"{ssl.PEM_HEADER}\n{block[2].strip().decode('ascii')}\n{ssl.PEM_FOOTER}"
    )
    return tuple(dict.fromkeys(_dns_names(der)))


def _dns_names(der: bytes) -> Iterator[str]:
    certificate = _first(der)
    for tag, field in _elements(_first(certificate)):
        if tag != _EXTENSIONS:
            continue
        for _, extension in _elements(_first(field)):
            parts = dict(_elements(extension))
            if parts.get(_OBJECT_IDENTIFIER) == _SUBJECT_ALT_NAME:
                for kind, name in _elements(_first(parts[_OCTET_STRING])):
                    if kind == _DNS_NAME:
                        yield name.decode("ascii").lower()


def _first(data: bytes) -> bytes:
    """The content of the first element of ``data``, a sequence."""
    tag, content = next(_elements(data), (0, b""))
    if tag != _SEQUENCE:
        raise ValueError("not a certificate")
    return content


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each element of ``data``."""
    at = 0
    while at < len(data):
        if at + 2 > len(data):
            raise ValueError("not a certificate")
        tag, size, start = data[at], data[at + 1], at + 2
        if size & 0x80:  # the long form: the size of the length
            start += size & 0x7F
            size = int.from_bytes(data[at + 2 : start], "big")
        at = start + size
        if at > len(data):
            raise ValueError("not a certificate")
        yield tag, data[start:at]
