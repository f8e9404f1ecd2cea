"""The cause of an error, with the user's own words as they were written."""

from __future__ import annotations

import errno
import os
import ssl

import pytest

from epollo.causes import cause_of, clause, tls_cause_of


@pytest.mark.parametrize(
    ("sentence", "said"),
    [
        ("No such file or directory", "no such file or directory"),
        ("A file is there.", "a file is there"),
        ("Hostname mismatch for 'Example.COM'.", "hostname mismatch for 'Example.COM'"),
        ("IP address mismatch", "IP address mismatch"),
        ("I/O error", "I/O error"),
        ("", ""),
    ],
)
def test_only_the_capital_at_the_start_is_changed(sentence: str, said: str) -> None:
    assert clause(sentence) == said


def test_a_cause_is_the_systems_text_or_the_errors_own() -> None:
    assert cause_of(OSError(errno.EACCES, os.strerror(errno.EACCES))) == "permission denied"
    assert cause_of(ValueError("Bad Host 'A'")) == "bad Host 'A'"
    assert cause_of(ConnectionResetError()) == "ConnectionResetError"


def test_a_cause_of_tls_is_openssls_name_or_its_text_about_a_certificate() -> None:
    error = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number")
    error.reason = "WRONG_VERSION_NUMBER"
    assert tls_cause_of(error) == "wrong version number"
    error.verify_message = "Hostname mismatch for 'Example.COM'."  # type: ignore[attr-defined]
    assert tls_cause_of(error) == "hostname mismatch for 'Example.COM'"
