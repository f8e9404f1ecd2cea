"""The pages in Chinese say what those in English say: `tests/translation.py`.

Their Python is run by `test_docs.py`; the code of README.zh.md is README's, which is run.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.documents import ROOT, Document
from tests.translation import CHINESE, compared, differences, english_of, sections

PAGE = """\
# A server

It takes 100 clients, see [limits](limits.md#how-many).

```python
import epollo  # the library
```

## Start it

    epollo serve --workers 2    # on port 80

- `--workers`: how many

| flag | default |
|---|---|
| `--backlog` | 2,048 |
"""
IN_CHINESE = """\
# 服务器

可以接 100 个客户端，见[限制](../limits.md#how-many)，术语见[术语表](glossary.md)。

```python
import epollo  # 这个库
```

## 启动

    epollo serve --workers 2  # 端口 80

- `--workers`：多少个

| 选项 | 默认值 |
|---|---|
| `--backlog` | 2,048 |
"""

_HAN = "[\u3400-\u9fff]"
_BAD_TYPE = {
    "a narrow comma, stop or bracket next to Chinese": rf"{_HAN}[,.;:!?()]|[,.;:!?()]{_HAN}",
    "no space between Chinese and other letters": rf"{_HAN}[A-Za-z0-9`]|[A-Za-z0-9`]{_HAN}",
    "a paragraph of two lines, between which browsers put a space": r"\n",
}
_BREAKS = {"softbreak": "\n", "hardbreak": "\n"}


@pytest.mark.parametrize("page", CHINESE)
def test_a_page_follows_the_english(page: str) -> None:
    if wrong := compared(page):
        pytest.fail(wrong, pytrace=False)


def test_the_first_steps_and_the_article_are_translated() -> None:
    pages = ["README.md", "docs/article.md", "docs/glossary.md"]
    pages += [str(path.relative_to(ROOT)) for path in (ROOT / "docs" / "tutorials").glob("*.md")]
    assert set(pages) == {english_of(page) for page in CHINESE}


@pytest.mark.parametrize("page", CHINESE)
def test_each_language_leads_to_the_other(page: str) -> None:
    english, chinese = ROOT / english_of(page), ROOT / page
    for here, there in ((english, chinese), (chinese, english)):
        first = "\n".join(here.read_text().splitlines()[:3])
        linked = [(here.parent / link).resolve() for link in re.findall(r"\]\((.*?)\)", first)]
        assert linked == [there], f"{here.relative_to(ROOT)}, line 3"


@pytest.mark.parametrize("page", CHINESE)
def test_chinese_is_set_as_chinese(page: str) -> None:
    for line, text in _texts(ROOT / page):
        for what, pattern in _BAD_TYPE.items():
            found = re.search(f".{{,10}}(?:{pattern}).{{,10}}", text)
            assert not found, f"{page}:{line}: {what}: {found[0]!r}"


def test_the_glossary_has_the_same_terms_in_both() -> None:
    english = Document(ROOT / "docs/glossary.md").rows("term", "中文", "meaning")
    chinese = Document(ROOT / "docs/zh/glossary.md").rows("术语", "English", "含义")
    assert [(row[1], row[0]) for row in english] == [(row[0], row[1]) for row in chinese]
    for (term, _, meaning), (_, _, translated) in zip(english, chinese, strict=True):
        names = [sorted(set(re.findall(r"`[^`]+`", text))) for text in (meaning, translated)]
        assert names[0] == names[1], term
        assert translated.endswith("。"), term


def test_pages_that_say_the_same_do_not_differ() -> None:
    assert _differences(PAGE) == []


@pytest.mark.parametrize(
    ("was", "now", "told"),
    [
        ("100 clients", "200 clients", "figures in English only: 200"),
        ("2,048", "4,096", "figures in Chinese only: 2,048"),
        ("on port 80", "on port 81", "figures in English only: 81"),
        ("import epollo ", "import epollo.bench ", "code in English only: \npython\nimport epo"),
        ("--workers 2", "--workers 3", "code in Chinese only: epollo serve --workers 2"),
        ("`--backlog`", "`--queue`", "names in English only: --queue"),
        ("limits.md#how-many", "limits.md#how-long", "links in English only: docs/limits.md#how-l"),
        ("- `--w", "- a\n- `--w", "parts in English only: items of lists"),
        ("## Start it", "### Start it", "\n    ### Start it                              ## 启动"),
        ("| 2,048 |", "| 2,048 |\n\n## Stop it", "\n    ## Stop it"),
        ("## Start it\n", "", f"\n    {' ' * 42}## 启动"),
    ],
)
def test_a_change_of_the_english_is_found(was: str, now: str, told: str) -> None:
    assert was in PAGE
    found = _differences(PAGE.replace(was, now))
    assert any(told in line for line in found), found


def _differences(english: str) -> list[str]:
    return list(
        differences(
            sections(english, "docs/article.md"), sections(IN_CHINESE, "docs/zh/article.md")
        )
    )


def _texts(path: Path) -> list[tuple[int, str]]:
    """Each paragraph, heading and cell, with its line."""
    tokens = MarkdownIt("commonmark").enable("table").parse(path.read_text())
    return [
        (token.map[0] + 1 if token.map else 0, "".join(map(_text, token.children or ())))
        for token in tokens
        if token.type == "inline"
    ]


def _text(token: Token) -> str:
    if token.type == "code_inline":
        return f"`{token.content}`"
    return _BREAKS.get(token.type, token.content)
