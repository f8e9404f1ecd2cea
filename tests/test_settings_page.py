"""The page of settings is the one that its command makes of the dataclass."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from epollo.settings import Settings
from tests.settings_page import MORE, PAGE, made
from tests.support import epollo_here

TOML = re.findall(r"^```toml\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)


def test_the_tables_are_up_to_date() -> None:
    page = PAGE.read_text()
    assert made(page) == page, "run python -m tests.settings_page"


def test_what_is_said_of_a_section_is_of_one_that_there_is() -> None:
    sections = {setting.metadata["section"] for setting in Settings.__dataclass_fields__.values()}
    assert set(MORE) <= sections


@pytest.mark.parametrize("text", TOML)
def test_each_file_on_the_page_is_taken(text: str, tmp_path: Path) -> None:
    file = tmp_path / "epollo.toml"
    file.write_text(text)
    run = epollo_here("serve", "--config", str(file), "--show-config")
    assert (run.stderr, run.returncode) == ("", 0)
