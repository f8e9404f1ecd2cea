"""The errors' former names, which still work."""

from __future__ import annotations

import subprocess
import sys

import pytest

import epollo
from epollo import errors

FORMER = {
    "ConnectFailed": epollo.ConnectError,
    "ReplyTimeout": epollo.ClientTimeout,
    "TLSFailed": epollo.TLSHandshakeError,
}


@pytest.mark.parametrize("name", FORMER)
def test_a_former_name_is_the_new_error_and_warns(name: str) -> None:
    new = FORMER[name].__name__
    for module in (epollo, errors):
        with pytest.warns(DeprecationWarning, match=f"epollo.{name} is now epollo.{new}") as seen:
            assert getattr(module, name) is FORMER[name]
        assert seen[0].filename == __file__


@pytest.mark.filterwarnings("ignore:epollo.ReplyTimeout:DeprecationWarning")
def test_except_with_a_former_name_catches() -> None:
    try:
        raise epollo.ClientTimeout("no reply")
    except epollo.ReplyTimeout as error:
        caught = error
    assert isinstance(caught, epollo.EpolloError)
    assert isinstance(caught, TimeoutError)


def test_a_former_name_can_be_imported() -> None:
    with pytest.warns(DeprecationWarning, match="TLSHandshakeError"):
        from epollo.errors import TLSFailed
    assert issubclass(TLSFailed, epollo.ConnectError)


@pytest.mark.parametrize("module", [epollo, errors])
def test_an_unknown_name_is_an_attribute_error(module: object) -> None:
    with pytest.raises(AttributeError, match="no attribute 'NoSuchError'"):
        _ = module.NoSuchError  # type: ignore[attr-defined]


def test_importing_epollo_warns_of_nothing() -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", "import epollo"], check=True)
