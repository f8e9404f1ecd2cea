"""The build: what a wheel is named, and what is in the native modules."""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
import sys
import sysconfig
from pathlib import Path
from zipfile import ZipFile

import pytest

import epollo
from epollo.engine import available
from tests.documents import ROOT

BUILD_WHEEL = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
ONE_MODULE = "listener.pyx"  # all of them would take a minute
ANY_PLATFORM = "py3-none-any"
LARGEST = 3_000_000  # bytes of all native modules; 1.5 million on x86-64

native = pytest.mark.skipif("native" not in available(), reason="the native engine was not built")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """What is built, with only one of the native modules."""
    ignore = shutil.ignore_patterns("*.so", "__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", tmp_path / "tree" / "src", ignore=ignore)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path / "tree")
    for source in (tmp_path / "tree").rglob("*.pyx"):
        if source.name != ONE_MODULE:
            source.unlink()
    return tmp_path / "tree"


def build_wheel(tree: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Build a wheel into ``tree / "dist"``."""
    command = [sys.executable, "-c", BUILD_WHEEL, str(tree / "dist")]
    environment = {
        name: text for name, text in os.environ.items() if name not in ("CC", "CFLAGS", "LDFLAGS")
    }
    environment |= {"PYTHONPATH": "", **variables}
    return subprocess.run(
        command, cwd=tree, env=environment, capture_output=True, text=True, check=False
    )


def tag_and_modules(tree: Path) -> tuple[str, list[str]]:
    """The platform tag of the only wheel, and the native modules in it."""
    (wheel,) = (tree / "dist").glob("*.whl")
    with ZipFile(wheel) as archive:
        modules = [name for name in archive.namelist() if name.endswith(".so")]
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/WHEEL"))
        tag = wheel.stem.split("-", 2)[2]
        assert f"\nTag: {tag}\n" in archive.read(metadata).decode()
    return tag, modules


@pytest.mark.parametrize(
    "variables",
    [
        pytest.param({"EPOLLO_NATIVE": "off"}, id="off"),
        pytest.param({"EPOLLO_NATIVE": "auto", "CC": "false"}, id="no compiler"),
    ],
)
def test_a_wheel_without_native_code_is_for_any_platform(
    variables: dict[str, str], tree: Path
) -> None:
    run = build_wheel(tree, **variables)
    assert run.returncode == 0, run.stderr
    assert tag_and_modules(tree) == (ANY_PLATFORM, [])
    told = "no native engine: " in run.stdout + run.stderr
    assert told == ("CC" in variables)


ADDRESS = "https://example.com/someone/epollo/blob/v1"


@pytest.mark.parametrize("address", ["", ADDRESS])
def test_with_an_address_no_link_of_the_description_is_relative(address: str, tree: Path) -> None:
    run = build_wheel(tree, EPOLLO_NATIVE="off", EPOLLO_ADDRESS=address)
    assert run.returncode == 0, run.stderr
    headers, description = read_metadata(tree)
    readme = (ROOT / "README.md").read_text()
    assert "Description-Content-Type: text/markdown" in headers
    if not address:
        assert description.strip() == readme.strip()
        assert "Project-URL" not in headers
        return
    assert "Project-URL: Source, https://example.com/someone/epollo" in headers.splitlines()
    assert links(readme)
    assert links(description) == [
        link if ":" in link else f"{ADDRESS}/{link}{'?raw=true' * link.endswith('.png')}"
        for link in links(readme)
    ]


def links(text: str) -> list[str]:
    """What links and pictures lead to."""
    return [a or b for a, b in re.findall(r'\]\(([^)]+)\)|(?:src|srcset)="([^"]+)"', text)]


def read_metadata(tree: Path) -> tuple[str, str]:
    """The headers and the description of the only wheel."""
    (wheel,) = (tree / "dist").glob("*.whl")
    with ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        headers, _, description = archive.read(name).decode().partition("\n\n")
    return headers, description


@native
def test_a_wheel_with_native_code_is_for_this_platform(tree: Path) -> None:
    run = build_wheel(tree, EPOLLO_NATIVE="require")
    assert run.returncode == 0, run.stderr
    tag, modules = tag_and_modules(tree)
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    assert tag.startswith(f"cp{sys.version_info[0]}{sys.version_info[1]}-")
    assert tag.endswith(f"-{platform}")
    assert [Path(name).name.partition(".")[0] for name in modules] == ["listener"]


@native
def test_c_files_are_made_anew_by_contents_and_not_by_times(tree: Path) -> None:
    (source,) = tree.rglob("*.pyx")
    assert build_wheel(tree, EPOLLO_NATIVE="require").returncode == 0
    made = tree / "build/cython" / source.relative_to(tree).with_suffix(".c")
    times = [made.stat().st_mtime_ns]
    assert build_wheel(tree, EPOLLO_NATIVE="require").returncode == 0
    assert [made.stat().st_mtime_ns] == times
    source.write_text(f"{source.read_text()}\nCHANGED_BY_A_TEST = 1\n")
    os.utime(source, (0, 0))  # older than the C file
    assert build_wheel(tree, EPOLLO_NATIVE="require").returncode == 0
    assert "CHANGED_BY_A_TEST" in made.read_text()


def test_without_a_compiler_require_fails(tree: Path) -> None:
    run = build_wheel(tree, EPOLLO_NATIVE="require", CC="false")
    assert run.returncode != 0
    assert not list(tree.glob("dist/*.whl"))


@native
@pytest.mark.parametrize(("flags", "kept"), [("", False), ("-g -O1", True)])
def test_symbols_are_kept_only_if_asked_for(flags: str, kept: bool, tree: Path) -> None:
    run = build_wheel(tree, EPOLLO_NATIVE="require", CFLAGS=flags)
    assert run.returncode == 0, run.stderr
    (module,) = tree.glob("build/lib*/**/*.so")
    assert ({".symtab", ".debug_info"} <= sections(module)) == kept


@native
def test_the_native_modules_are_small_and_without_symbols() -> None:
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    modules = list(Path(epollo.__path__[0]).rglob(f"*{suffix}"))
    assert modules
    for module in modules:
        found = {name for name in sections(module) if name.startswith(".debug")}
        assert found == set(), module
        assert ".symtab" not in sections(module), module
    assert sum(module.stat().st_size for module in modules) <= LARGEST


def sections(path: Path) -> set[str]:
    """The names of the sections of an ELF file of 64 bits (elf(5))."""
    data = path.read_bytes()
    assert data[:5] == b"\x7fELF\x02"
    order = "<" if data[5] == 1 else ">"
    (table,) = struct.unpack_from(f"{order}Q", data, 0x28)
    size, count, names = struct.unpack_from(f"{order}HHH", data, 0x3A)
    headers = [table + size * number for number in range(count)]
    (start,) = struct.unpack_from(f"{order}Q", data, headers[names] + 0x18)
    offsets = [struct.unpack_from(f"{order}I", data, header)[0] for header in headers]
    return {data[start + at : data.index(b"\0", start + at)].decode() for at in offsets}
