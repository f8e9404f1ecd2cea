"""The native engine, always made from its Cython sources. The rest stands in pyproject.toml.

EPOLLO_NATIVE says what becomes of the install where it cannot be compiled: `auto` (the default)
goes on with the Python engine, `require` fails, `off` does not try.
"""

import os
import sys
from pathlib import Path

from setuptools import Extension, setup

NATIVE = Path("src/epollo/engine/native")


def extensions() -> list[Extension]:
    wish = os.environ.get("EPOLLO_NATIVE", "auto")
    if wish not in ("auto", "require", "off"):
        raise SystemExit(f"EPOLLO_NATIVE is {wish!r}; set it to auto, require or off")
    if wish == "off" or (wish == "auto" and sys.platform != "linux"):
        return []
    from Cython.Build import cythonize

    found = [
        Extension(f"epollo.engine.native.{source.stem}", [str(source)], optional=wish == "auto")
        for source in sorted(NATIVE.glob("*.pyx"))
    ]
    directives = {"language_level": 3, "boundscheck": False, "wraparound": False, "cdivision": True}
    return cythonize(found, build_dir="build/cython", compiler_directives=directives, force=True)


setup(ext_modules=extensions())
