"""pynetdicom's echoscu asks the application entity whether it is there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from epollo import address
from tests.engines import Engine
from tests.interop.support import absent
from tests.services.support import complaints, example
from tests.support import DEADLINE, ServerProcess

try:
    from pynetdicom import AE
except ImportError:
    absent("pynetdicom")

pytestmark = pytest.mark.services

CT_IMAGES = "1.2.840.10008.5.1.4.1.1.2"
ECHO = "1.2.840.10008.1.1"
BIG_ENDIAN = "1.2.840.10008.1.2.2"


@pytest.fixture
def server(engine: Engine) -> Iterator[ServerProcess]:
    with example(engine, "dicom:Echo", "--framing", "dicom") as server:
        yield server
        assert complaints(server) == []


def port(server: ServerProcess) -> int:
    return address.parse(server.address).port


def test_echoscu_is_answered(server: ServerProcess) -> None:
    where = ("127.0.0.1", str(port(server)))
    asked = subprocess.run(
        [sys.executable, "-m", "pynetdicom", "echoscu", *where, "--repeat", "3", "-v"],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert asked.returncode == 0, asked.stderr
    assert asked.stderr.count("Received Echo Response (Status: 0x0000 - Success)") == 3


def test_only_verification_is_agreed_on(server: ServerProcess) -> None:
    entity = AE()
    entity.add_requested_context(CT_IMAGES)
    entity.add_requested_context(ECHO)
    entity.add_requested_context(ECHO, BIG_ENDIAN)
    with_both = entity.associate("127.0.0.1", port(server))
    try:
        assert with_both.is_established
        assert [each.abstract_syntax for each in with_both.accepted_contexts] == [ECHO]
        assert with_both.send_c_echo().Status == 0
    finally:
        with_both.release()
    assert with_both.is_released
