"""The pictures of the page in docs/images: ``python -m tests.bench.pictures [RESULT.json ...]``.

Without a result, that of a run that never was. Needs a browser: Debian's chromium.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from epollo.bench.output import html
from epollo.bench.results.result import Result
from tests.bench.browser import browser
from tests.bench.scenes import stalled

IMAGES = Path(__file__).parents[2] / "docs" / "images"
WIDTH = 1000
# The page's top: its figures, and the first of its pictures.
_END = "document.querySelectorAll('figure')[2].getBoundingClientRect().bottom + 28"


def main(paths: list[str]) -> None:
    """Draw the results of the files, and take the page in both colours."""
    results = [Result.from_json(Path(path).read_text()) for path in paths] or [stalled()]
    with TemporaryDirectory() as directory, browser() as tab:
        page = Path(directory) / "page.html"
        html.write(str(page), results, [Path(path).name for path in paths])
        for name, dark in (("light", False), ("dark", True)):
            tab.open(page, WIDTH, dark)
            picture = IMAGES / f"bench-report-{name}.png"
            picture.write_bytes(tab.screenshot(round(tab.run(_END))))
            print(picture.relative_to(IMAGES.parents[1]))


if __name__ == "__main__":
    main(sys.argv[1:])
