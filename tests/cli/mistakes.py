"""The table of what people mistype, `mistakes.txt`, and the files that it is about.

Each row is two lines: the command, and the status and the text of its error. ``TAKEN`` is an
address where another socket listens, ``CLOSED`` one where nobody does, ``HERE`` the directory of
the files, ``OURS`` the number of this process.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

_TABLE = Path(__file__).with_suffix(".txt")


@dataclass(frozen=True)
class Mistake:
    """One row.

    Attributes:
        typed: the command.
        said: its line on stderr, after "epollo: error: ".
        status: its exit status.
    """

    typed: str
    said: str
    status: int

    def words(self, places: dict[str, str]) -> list[str]:
        """The words after ``epollo``; what stands for ``places`` is replaced."""
        words = shlex.split(replaced(self.typed, places))
        return words[words.index("epollo") + 1 :]

    def environment(self, places: dict[str, str]) -> dict[str, str]:
        """The variables set before ``epollo``."""
        words = shlex.split(replaced(self.typed, places))
        return dict(word.split("=", 1) for word in words[: words.index("epollo")])


def replaced(text: str, places: dict[str, str]) -> str:
    """``text`` with each name of ``places`` replaced."""
    return re.sub("|".join(places), lambda match: places[match[0]], text)


def _read() -> list[Mistake]:
    rows = re.findall(r"^\$ (.*)\n(\d): (.*)$", _TABLE.read_text(), re.MULTILINE)
    return [Mistake(typed, said, int(status)) for typed, status, said in rows]


MISTAKES = _read()

APPLICATIONS = {
    "app.py": """\
def handle(message):
    return message


async def later(message):
    return message


class Generating:
    def received(self, message): ...

    async def connected(self, connection):
        yield b"welcome"


def three(message, connection, more):
    pass


number = 5


class Broken:
    def __init__(self):
        self.database = no_such_name

    def received(self, message):
        return message


class Needs:
    def __init__(self, database):
        pass

    def received(self, message):
        return message


def broken_factory():
    return no_such_name
""",
    "app.json": "5",
    "unknown.toml": "max_frame = 1024\nmax_fram = 1024\n",
    "foreign.toml": "port = 8091\n",
    "context.toml": "tls = true\n",
    "unit.toml": "# times\n\nidle_timeout = '5 parsecs'\n",
    "bounds.toml": "in_flight = 0\n",
    "contradiction.toml": "max_unsent = '1MiB'\nhigh_water = '2MiB'\n",
    "kind.toml": "max_frame = [1]\n",
    "spec.toml": "framing = 'u33'\n",
    "several.toml": "bind = [\n  '127.0.0.1:0',\n  '8091',\n]\n",
    "syntax.toml": "max_frame = 5\nhigh_water = ?\n",
    "application.toml": "app = 'gone:handle'\n",
    "load.toml": "rate = '1k'\ndepth = 2\n",
    "wrong.env": "EPOLLO_MAX_FRAME=1KiB\nEPOLLO HIGH WATER\n",
    "broken.py": "x = 1\n\ndef handle(message)\n    return message\n",
    "deep.py": "import json\n\nlimits = json.loads('{')\n",
    "exits.py": "import sys\n\nsys.exit(3)\n",
    "missing.py": "import no_such_library\n",
}
"""The files, by name."""
