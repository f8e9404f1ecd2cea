"""The certificate of the servers that speak TLS: made for the run, and trusted by nobody else."""

import ssl

from benchmarks.build import BUILD

PEM = BUILD / "tls.pem"
"""The key, the certificate, and who signed it."""


def make() -> None:
    """Write it."""
    import trustme  # here: an interpreter whose instructions are counted may not have it

    server = trustme.CA().issue_cert("127.0.0.1")
    PEM.parent.mkdir(parents=True, exist_ok=True)
    server.private_key_and_cert_chain_pem.write_to_path(str(PEM))
    PEM.chmod(0o600)


def client_context() -> ssl.SSLContext:
    """Return what a client's side is made of; whose certificate it is, is not the question."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
