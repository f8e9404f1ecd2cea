"""The tables of docs/settings.md, made from the dataclass: `python -m tests.settings_page`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields

from epollo.settings import Settings
from tests.documents import ROOT

PAGE = ROOT / "docs" / "settings.md"

_MADE = re.compile(r"(<!-- settings: [^\n]* -->\n).*?(<!-- end of settings -->)", re.DOTALL)

MORE = {
    "Address and framing": "[Sockets](sockets.md) and [framing](framing.md) explain them.",
    "Engine": "[Engines](engines.md) explains them. The native engine has epoll only.",
    "Sockets": "[Sockets](sockets.md) explains them.",
    "Limits": "[Limits](limits.md) explains them.",
    "TLS and the PROXY header": "[TLS](tls.md) and [the PROXY header](proxy.md) explain them.",
    "Memory": "[Limits](limits.md) explains them.",
    "Timeouts": "[Limits](limits.md#how-long) explains them.",
    "Stop": "[Stopping](stopping.md) explains them.",
    "Cluster": "[Several nodes](clusters.md) explains it.",
    "Process": "[Stopping](stopping.md#user-group-pid-file-name) explains them.",
    "Handlers": "[Handlers that wait](async.md) explains them.",
    "Workers": "[Workers](workers.md) explains them.",
    "Log": "[Logs](logs.md) explains them.",
}
"""Where to read on, by section. A section without an entry is only its table."""


def tables() -> str:
    """The sections, each with its table, in Markdown."""
    return "\n".join(_lines()) + "\n"


def made(page: str) -> str:
    """``page`` with the tables as they should be."""
    assert _MADE.search(page), "the page has no part for the tables"
    return _MADE.sub(lambda match: f"{match[1]}{tables()}\n{match[2]}", page)


def _lines() -> Iterator[str]:
    for setting in fields(Settings):
        section = setting.metadata["section"]
        if section:
            yield from ("", f"### {section}", "")
            yield from ([MORE[section], ""] if section in MORE else [])
            yield from ("| setting | default | |", "|---|---|---|")
        about = setting.metadata["about"].replace("|", "\\|")
        in_python = "" if setting.metadata["metavar"] else "in Python only: "
        yield f"| `{setting.name}` | {setting.default or ''} | {in_python}{about} |"


if __name__ == "__main__":
    PAGE.write_text(made(PAGE.read_text()))
