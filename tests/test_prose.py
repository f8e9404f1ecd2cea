"""The prose of the code is plain: `python -m tests.prose` finds what is not."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from tests.documents import ROOT
from tests.passages import Passage, paragraphs, passages
from tests.prose import PAGES, PATTERNS, check, check_all, check_help

FOUND = {
    "where (if)": [
        "Raises OSError where not connected.",
        "Call the hook, where set, in the end.",
        "Where it is not required, any stream passes.",
        "seconds, where asyncio would take None",
    ],
    "is none": ["Raises UsageError for a PROXY line that is none.", "They are none."],
    ", for (because)": [
        "One recv, for the others are waiting too.",
        "A thread draws, for that takes milliseconds.",
        "Later, for the caller may be counting.",
    ],
    "beside": ["an echo server beside the test"],
    "so many": ["a length, and so many bytes", "so few of them"],
    "but for": ["all but for the trailer"],
    "that of": ["Its end comes with that of the pipe."],
    "who (of a thing)": ["Who takes nothing is dropped.", "whoever holds it", "not his"],
    "What + verb": ["What is sent later is lost.", "It ends. What comes then is lost."],
    "metaphor": ["the two rooms of it", "bury the dead", "The engine is a guest of asyncio."],
}
ALLOWED = [
    "It says where it is, and where to listen.",
    "Where the connections of a run come from.",
    "where its message begins",
    "Where the window ends, in seconds.",
    "It is there if there is none.",
    "The default is None",
    "Connect again, for an address with several hosts, after a pause.",
    "those of them that are open",
    "The user who wrote it, and people who read it.",
    "What is it? What a message is on the wire",
    "The kernel has room for more.",
    "It is here, for a block that ends.",
]


def test_the_prose_of_the_source_is_plain() -> None:
    found = check_all([ROOT / "src"])
    assert not found, "\n".join(map(str, found))


@pytest.mark.parametrize("page", PAGES)
def test_the_prose_of_the_pages_is_plain(page: str) -> None:
    found = check_all([ROOT / page])
    assert not found, "\n".join(map(str, found))


def test_the_help_of_every_command_is_plain() -> None:
    found = check_help()
    assert not found, "\n".join(map(str, found))


def test_the_help_is_read_paragraph_by_paragraph(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command(help="Serve where set.\n\nWhat is left is dropped.")
    def command() -> None: ...

    monkeypatch.setattr("tests.prose.cli", command)
    assert [finding.pattern for finding in check_help()] == ["where (if)", "What + verb"]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_is_found(pattern: str) -> None:
    for text in FOUND[pattern]:
        assert [finding.pattern for finding in check(_passage(text))] == [pattern], text


@pytest.mark.parametrize("text", ALLOWED)
def test_good_english_is_not_found(text: str) -> None:
    assert list(check(_passage(text))) == []


def test_prose_is_read_from_comments_docstrings_and_texts(tmp_path: Path) -> None:
    path = tmp_path / "module.pyx"
    path.write_text(
        '"""A docstring with `code` in it,\nand a second line."""\n'
        "x = 1  # one\n"
        "# a comment\n"
        "# in two lines\n"
        "\n"
        "# another\n"
        "raise Error(\n"
        '    f"no {x!r} "\n'
        "    'was \\'found\\'',\n"
        ")\n"
    )
    assert [passage.text for passage in passages(path)] == [
        "A docstring with xxxxxx in it, and a second line.",
        "one a comment in two lines",
        "another",
        "no xxxxx was \\'found\\'",
    ]


def test_a_finding_tells_its_line(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text('x = """A text,\n\nlonger `than\none line`, but\nfor a bit."""\n')
    (finding,) = check_all([tmp_path])
    assert (finding.path, finding.line, finding.pattern) == (path, 4, "but for")


def test_prose_is_read_from_the_paragraphs_of_a_page(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("# Title\nA\nparagraph.\n\n    code\n\n```\ncode\n```\n| a | row |\n")
    assert [passage.text for passage in paragraphs(path)] == [
        "# Title A paragraph.",
        "| a | row |",
    ]


def _passage(text: str) -> Passage:
    return Passage(Path("module.py"), ((1, text),))
