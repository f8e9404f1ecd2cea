"""The names in a certificate are those that OpenSSL and cryptography find."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
import subprocess
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from epollo.certificate_names import names_in


@cache
def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def certificate(*names: x509.GeneralName, critical: bool = False) -> bytes:
    """A certificate for ``names``, and other extensions before and after them."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "common.test")])
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder(name, name, key().public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + dt.timedelta(days=1))
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical)
    usage = x509.SubjectKeyIdentifier.from_public_key(key().public_key())
    signed = builder.add_extension(usage, critical=False).sign(key(), hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize("critical", [False, True])
@pytest.mark.parametrize("count", [1, 3, 20, 3000])  # lengths of one, two and three bytes
def test_its_names_are_those_for_hosts(count: int, critical: bool) -> None:
    hosts = [f"{'long-label.' * (number % 9)}host-{number}.test" for number in range(count)]
    names: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    names += [x509.DNSName(host) for host in hosts]
    names += [
        x509.RFC822Name("someone@mail.test"),
        x509.UniformResourceIdentifier("https://uri.test"),
        x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), b"\x0c\x05other"),
        x509.DNSName("*.Wild.TEST"),
        x509.DNSName(hosts[0].upper()),
    ]
    assert names_in(certificate(*names, critical=critical)) == (*hosts, "*.wild.test")


def test_a_common_name_is_none() -> None:
    assert names_in(certificate()) == ()
    assert names_in(certificate(x509.RFC822Name("someone@mail.test"))) == ()


def test_it_is_the_first_certificate_in_a_file_with_other_things() -> None:
    first, second = (certificate(x509.DNSName(name)) for name in ("first.test", "second.test"))
    pem = serialization.Encoding.PEM
    secret = key().private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    text = b"subject=CN = common.test\n"
    assert names_in(text + secret + text + first + second) == ("first.test",)
    assert names_in(first.replace(b"\n", b"\r\n")) == ("first.test",)
    assert names_in(first.replace(b" CERTIFICATE", b" X509 CERTIFICATE")) == ("first.test",)
    command = ["openssl", "x509", "-trustout", "-addtrust", "serverAuth"]
    trusted = subprocess.run(command, input=first, capture_output=True, check=True).stdout
    assert b"BEGIN TRUSTED CERTIFICATE" in trusted
    assert names_in(trusted) == ("first.test",)


def test_what_is_not_a_certificate_is_refused() -> None:
    whole = certificate(x509.DNSName("host.test"))
    der = x509.load_pem_x509_certificate(whole).public_bytes(serialization.Encoding.DER)
    for size in range(len(der)):
        with pytest.raises(ValueError, match="certificate"):
            names_in(pem_of(der[:size]))
    for text in (b"", b"no PEM", pem_of(b"\x30"), pem_of(b"\x02\x01\x05")):
        with pytest.raises(ValueError, match="certificate"):
            names_in(text)


def pem_of(der: bytes) -> bytes:
    return ssl.DER_cert_to_PEM_cert(der).encode()
