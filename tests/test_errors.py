"""The errors, the page about them, and their former names, which still work."""

from __future__ import annotations

import subprocess
import sys

import pytest

import epollo
from epollo import errors
from epollo.bench.results import files, thresholds
from tests.documents import ROOT, Document

ROWS = {
    name.strip("`"): (bases, status)
    for name, bases, _, _, status in Document(ROOT / "docs" / "errors.md").rows(
        "error", "bases", "raised", "what to do", "status"
    )
}
ERRORS = {
    name: error
    for name, error in vars(errors).items()
    if isinstance(error, type) and issubclass(error, errors.EpolloError)
}
FORMER = {
    "ConnectFailed": epollo.ConnectError,
    "ReplyTimeout": epollo.ClientTimeout,
    "TLSFailed": epollo.TLSHandshakeError,
}


def test_the_page_has_every_error() -> None:
    assert set(ROWS) == set(ERRORS)
    assert set(ERRORS) <= set(epollo.__all__)


@pytest.mark.parametrize("name", ERRORS)
def test_the_page_has_the_bases_and_the_exit_status_of_an_error(name: str) -> None:
    error = ERRORS[name]
    bases, status = ROWS[name]
    assert bases == ", ".join(base.__name__ for base in error.__bases__)
    assert status == str(error.exit_status)


def test_a_limit_and_a_result_file_are_told_apart_from_settings() -> None:
    for error in (epollo.LimitError, epollo.ResultFileError):
        assert issubclass(error, epollo.SettingError)  # as they once were
    assert not issubclass(epollo.LimitError, epollo.ResultFileError)
    with pytest.raises(epollo.LimitError):
        thresholds.parse("p99>5")
    with pytest.raises(epollo.ResultFileError):
        files.read("/no/such/file")


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
