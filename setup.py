"""The native engine, always made from its Cython sources. The rest stands in pyproject.toml.

EPOLLO_NATIVE says what becomes of the install where it cannot be compiled: `auto` (the default)
goes on with the Python engine, `require` fails, `off` does not try.
"""

import os
import sys
from pathlib import Path

from setuptools import Extension, setup

FOLDERS = {  # of native sources, with their compiler options
    # gcc would copy a message with `rep movs`, which takes 30 cycles to get going.
    Path("src/epollo/engine/native"): ["-fno-builtin-memcpy"],
    Path("src/epollo/bench/run/native"): [],
}


def extensions() -> list[Extension]:
    wish = os.environ.get("EPOLLO_NATIVE", "auto")
    if wish not in ("auto", "require", "off"):
        raise SystemExit(f"EPOLLO_NATIVE is {wish!r}; set it to auto, require or off")
    if wish == "off" or (wish == "auto" and sys.platform != "linux"):
        return []
    from Cython.Build import cythonize

    sources = [
        Extension(
            ".".join(source.with_suffix("").parts[1:]),
            [str(source)],
            # Each message calls into Python, and would go through a stub for it.
            extra_compile_args=["-O3", "-fno-plt", *options],
        )
        for folder, options in FOLDERS.items()
        for source in sorted(folder.glob("*.pyx"))
    ]
    directives = {"language_level": 3, "boundscheck": False, "wraparound": False, "cdivision": True}
    # Always: a C file older than its source would be compiled as if it were the source.
    made = cythonize(sources, build_dir="build/cython", compiler_directives=directives, force=True)
    for extension in made:
        extension.optional = wish == "auto"
    return made


setup(ext_modules=extensions())
