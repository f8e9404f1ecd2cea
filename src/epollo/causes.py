"""The cause of an error of the system or of a library, as a part of one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl


def cause_of(error: BaseException) -> str:
    """The system's text for ``error``, such as "no such file or directory"."""
    said = getattr(error, "strerror", None) or str(error)
    return clause(said) if said else type(error).__name__


def text_of(error: BaseException) -> str:
    """What ``error`` says. Its type may be the user's, and what tells it may raise."""
    try:
        return str(error)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:
        return type(error).__name__


def clause(sentence: str) -> str:
    """``sentence`` without its full stop, and without a capital at its start. The case of the rest
    is kept: it may quote a host or a file of the user."""
    plain = sentence.rstrip(".")
    capitalised = plain[:1].isupper() and (plain[1:2].islower() or plain[1:2] == " ")
    return plain[0].lower() + plain[1:] if capitalised else plain


def tls_cause_of(error: ssl.SSLError) -> str:
    """OpenSSL's text for ``error``: about a certificate, if it is that, or else the name of the
    error, such as "wrong version number"."""
    about_certificate = getattr(error, "verify_message", "")
    if about_certificate or not error.reason:
        return clause(about_certificate or str(error))
    return error.reason.replace("_", " ").lower()  # a constant, as WRONG_VERSION_NUMBER
