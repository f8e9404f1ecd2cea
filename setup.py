"""The native engine, made from its Cython sources. The rest stands in pyproject.toml.

EPOLLO_NATIVE says what to do if it cannot be compiled: `auto` (the default) installs epollo with
the Python engine only, `require` fails, `off` does not try. Without native code the wheel is for
any platform. What is installed has no symbols, unless CFLAGS asks for them with -g.

EPOLLO_ADDRESS is where the files of this revision are, such as https://github.com/NAME/epollo/blob/v1.
A release sets it, so that the links of README work on the page of the package, too.
"""

import hashlib
import os
import re
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.errors import BaseError, CCompilerError, CompileError, LinkError

FOLDERS = {  # of native sources, with their compiler options
    # gcc would copy a message with `rep movs`, which takes 30 cycles to get going.
    Path("src/epollo/engine/native"): ["-fno-builtin-memcpy"],
    Path("src/epollo/engine/native/formats"): ["-fno-builtin-memcpy"],
    Path("src/epollo/bench/run/native"): [],
}
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
TRANSLATED = Path("build/cython")  # the C files
STAMP = TRANSLATED / "made-from"  # what they were made from
SYMBOLS = any(flag.startswith("-g") for flag in os.environ.get("CFLAGS", "").split())
NATIVE = os.environ.get("EPOLLO_NATIVE", "auto")
ADDRESS = os.environ.get("EPOLLO_ADDRESS", "")


def extensions() -> list[Extension]:
    if NATIVE not in ("auto", "require", "off"):
        raise SystemExit(f"EPOLLO_NATIVE is {NATIVE!r}; set it to auto, require or off")
    if NATIVE == "off" or (NATIVE == "auto" and sys.platform != "linux"):
        return []
    sources = [source for folder in FOLDERS for source in folder.glob("*.pyx")]
    # The largest first: what is compiled last should not keep one core busy for long.
    return [extension(each) for each in sorted(sources, key=lambda each: -each.stat().st_size)]


def extension(source: Path) -> Extension:
    # Each message calls into Python, and would go through a stub for it.
    options = ["-O3", "-fno-plt", *FOLDERS[source.parent]]
    return Extension(
        ".".join(source.with_suffix("").parts[1:]),
        [str(source)],
        extra_compile_args=options if SYMBOLS else [*options, "-g0"],  # Python's flags may have -g
        extra_link_args=[] if SYMBOLS else ["-Wl,-s"],
    )


class BuildExt(build_ext):
    """Compiles on all cores. All modules are built, or none."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.parallel = self.parallel or CORES
        self.force = True  # the times of files do not tell what a module was compiled from

    def run(self) -> None:
        # Here, not in `extensions`: pip runs this file three times for one install.
        translate(self.extensions, self.parallel)
        super().run()

    def build_extensions(self) -> None:
        try:
            super().build_extensions()
        except (BaseError, CCompilerError, CompileError, LinkError) as error:
            if NATIVE == "require":
                raise
            self.warn(f"no native engine: {error}; EPOLLO_NATIVE=require makes this an error")
            for each in self.extensions:
                Path(self.get_ext_fullpath(each.name)).unlink(missing_ok=True)
            self.extensions = self.distribution.ext_modules = []


def description() -> str:
    """README.md; with ADDRESS, without a link that is relative."""
    text = Path("README.md").read_text("utf-8")
    if not ADDRESS:
        return text
    text = re.sub(r"\]\((?![a-z]+:|#)", f"]({ADDRESS}/", text)
    return re.sub(r'(src|srcset)="([^":]+)"', rf'\1="{ADDRESS}/\2?raw=true"', text)


def translate(modules: list[Extension], processes: int) -> None:
    """Make C files of the Cython sources, in `processes` at once."""
    modules = [each for each in modules if each.sources[0].endswith(".pyx")]  # not twice
    if not modules:
        return
    from Cython.Build import cythonize

    directives = {
        "language_level": 3,
        "boundscheck": False,
        "wraparound": False,
        "cdivision": True,
        # An interpreter without the GIL takes it back when it imports these: docs/engines.md.
        "freethreading_compatible": False,
    }
    # By contents: a C file of an older source would be compiled as if it were the source, and a
    # checkout, or a copy, gives files times that say nothing.
    contents = fingerprint(modules, directives)
    current = STAMP.exists() and STAMP.read_text() == contents
    STAMP.unlink(missing_ok=True)
    made = cythonize(
        modules,
        nthreads=processes,
        build_dir=str(TRANSLATED),
        compiler_directives=directives,
        force=not current,
    )
    STAMP.parent.mkdir(parents=True, exist_ok=True)
    STAMP.write_text(contents)
    sources = {each.name: each.sources for each in made}
    for each in modules:
        each.sources = sources[each.name]


def fingerprint(modules: list[Extension], directives: dict[str, object]) -> str:
    """The sources of all modules, as they may include each other, and what else C depends on."""
    import Cython

    known = hashlib.sha256(f"{Cython.__version__} {directives}".encode())
    known.update(Path(__file__).read_bytes())
    known.update("".join(sorted(each.name for each in modules)).encode())
    for folder in FOLDERS:
        for path in sorted(folder.glob("*.p[yx]*")):
            known.update(f"\0{path}\0".encode() + path.read_bytes())
    return known.hexdigest()


class BdistWheel(bdist_wheel):
    """Names the wheel once it is known whether there is native code in it."""

    def run(self) -> None:
        self.run_command("build")
        self.root_is_pure = not self.distribution.has_ext_modules()
        super().run()


if __name__ == "__main__":  # not in the processes of `translate`
    setup(
        long_description=description(),
        long_description_content_type="text/markdown",
        project_urls={"Source": ADDRESS.partition("/blob/")[0]} if ADDRESS else {},
        ext_modules=extensions(),
        cmdclass={"build_ext": BuildExt, "bdist_wheel": BdistWheel},
    )
