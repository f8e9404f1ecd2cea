"""The error for a failed TLS handshake: its cause, and what to do."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from epollo.causes import tls_cause_of
from epollo.client.endpoint import Endpoint
from epollo.client.stream import broken_by
from epollo.errors import TLSHandshakeError

_HOSTNAME_MISMATCH = 62  # X509_V_ERR_HOSTNAME_MISMATCH, and 64 for addresses (x509_vfy.h)
_IP_ADDRESS_MISMATCH = 64

# What OpenSSL reports for bytes that are not TLS; which one depends on its version and the bytes.
_NOT_TLS = (
    "WRONG_VERSION_NUMBER",
    "RECORD_LAYER_FAILURE",
    "PACKET_LENGTH_TOO_LONG",
    "HTTP_REQUEST",
    "UNKNOWN_PROTOCOL",
)


@dataclass(frozen=True, slots=True)
class Advice:
    """What to do about a certificate for another host (``name``) or an untrusted one."""

    name: str = "pass the host that it is for as server_hostname"
    trust: str = "load_verify_locations(CA) makes the context trust a CA"


def handshake_error(
    endpoint: Endpoint, error: Exception, advice: Advice | None = None
) -> TLSHandshakeError:
    """The error for a handshake with ``endpoint`` that ended in ``error``."""
    return TLSHandshakeError(
        f"cannot connect to {endpoint}: {_why(endpoint, error, advice or Advice())}"
    )


def _why(endpoint: Endpoint, error: Exception, advice: Advice) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _untrusted(endpoint, error, advice)
    if isinstance(error, TimeoutError):
        return "no TLS handshake in time; perhaps the server does not speak TLS"
    if isinstance(error, ssl.SSLError) and error.reason in _NOT_TLS:
        return "the server does not speak TLS; connect without tls"
    if isinstance(error, ssl.SSLEOFError | ConnectionError):
        return "the server broke off the TLS handshake; perhaps it does not speak TLS"
    return f"the TLS handshake failed: {broken_by(error).removeprefix('TLS: ')}"


def _untrusted(endpoint: Endpoint, error: ssl.SSLCertVerificationError, advice: Advice) -> str:
    whose = endpoint.server_hostname or str(endpoint)
    text = f"the certificate of {whose} is not trusted: {tls_cause_of(error)}"
    if error.verify_code in (_HOSTNAME_MISMATCH, _IP_ADDRESS_MISMATCH):
        return f"{text}; {advice.name}"
    return f"{text}; {advice.trust}"
