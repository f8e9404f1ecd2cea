"""The files of a run or a report: one that fails costs no other, and no good file is damaged."""

from __future__ import annotations

import io
import json
import resource
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from epollo import Server
from epollo.bench.output import html
from tests.bench.support import made_up
from tests.bench.terminal import new_screen, run_here, terminal
from tests.support import epollo, serving

LOAD = ["-c", "2", "-n", "200", "--warmup", "0", "-q"]


@pytest.fixture(scope="module")
def fonts() -> None:
    """Open the fonts: matplotlib keeps their files open for as long as the process lives."""
    pytest.importorskip("matplotlib")
    html.page([made_up()])
    pytest.importorskip("epollo.bench.output.pictures.sheet").sheet([made_up()]).savefig(
        io.BytesIO(), format="svg"
    )


Bench = Callable[..., tuple[int, str]]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """Run ``epollo bench`` with these flags; returns its status and what it prints on stderr. The
    folders ``gone`` and ``lost`` exist when it begins, and not when it ends."""
    monkeypatch.chdir(tmp_path)

    def remove_them(message: bytes) -> bytes:
        for name in ("gone", "lost"):
            shutil.rmtree(name, ignore_errors=True)
        return message

    def run(*flags: str) -> tuple[int, str]:
        for name in ("gone", "lost"):
            Path(name).mkdir()
        with new_screen() as screen:
            status, _ = run_here(screen, monkeypatch, "bench", server.addresses[0], *flags)
            return status, screen.said()

    with Server(remove_them, "127.0.0.1:0") as server:
        yield run


@pytest.mark.parametrize("broken", ["json", "hlog"])
def test_a_file_that_cannot_be_written_costs_no_other(broken: str, bench: Bench) -> None:
    status, said = bench(*LOAD, f"--{broken}", "gone/run", "--csv", "run.csv")
    assert (status, "gone/run" in said) == (1, True)
    assert Path("run.csv").is_file()
    assert len(Path("run.csv").read_text().splitlines()) >= 2


def test_each_file_that_cannot_be_written_is_named(bench: Bench) -> None:
    status, said = bench(*LOAD, "--json", "gone/run.json", "--csv", "lost/run.csv")
    assert status == 1
    assert "gone/run.json" in said
    assert "lost/run.csv" in said


@pytest.mark.usefixtures("fonts")
def test_a_file_of_a_search_that_cannot_be_written_costs_no_other(bench: Bench) -> None:
    load = ["-c", "2", "-R", "100", "-d", "100ms", "--warmup", "0", "-q", "--find-rate", "rate>1m"]
    status, said = bench(*load, "--json", "gone/search.json", "--plot", "search.svg")
    assert (status, "gone/search.json" in said) == (1, True)
    assert Path("search.svg").is_file()


@pytest.mark.usefixtures("fonts")
def test_a_page_that_cannot_be_written_costs_no_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run.json").write_text(made_up(seconds=2, connections=2).to_json())
    files = ["--html", "/dev/full", "--plot", str(tmp_path / "run.svg")]
    with new_screen() as screen:
        status, _ = run_here(screen, monkeypatch, "report", str(tmp_path / "run.json"), *files)
        said = screen.said()
    assert (status, "/dev/full" in said) == (1, True)
    assert (tmp_path / "run.svg").is_file()


def on_a_full_disk() -> None:
    """Writing more than 100 bytes to a file fails with EFBIG (setrlimit(2))."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))


@pytest.mark.parametrize("name", ["json", "hlog"])
def test_a_file_is_replaced_by_a_whole_one_or_not_at_all(name: str, tmp_path: Path) -> None:
    file = tmp_path / f"run.{name}"
    file.write_text("of another run")
    run = epollo("bench", *LOAD, f"--{name}", str(file), preexec_fn=on_a_full_disk)
    assert (run.returncode, str(file) in run.stderr) == (1, True)
    assert file.read_text() == "of another run"


def has_a_second(folder: Path) -> bool:
    """Is one in the files of a run that goes on?"""
    rows = (folder / "run.csv.partial").read_text().count("\n") - 1
    return rows >= 1 and "Tag=response" in (folder / "run.hlog.partial").read_text()


def test_what_was_measured_survives_a_kill(tmp_path: Path) -> None:
    files = {name: tmp_path / f"run.{name}" for name in ("json", "csv", "hlog")}
    flags = [word for name, file in files.items() for word in (f"--{name}", str(file))]
    with serving() as server, terminal("bench", server.address, "-c", "2", *flags) as run:
        run.wait_for(" msg/s   p50 ")
        begun = {file.name for file in tmp_path.iterdir()}
        assert begun >= {f"run.{name}.partial" for name in files}
        while not has_a_second(tmp_path):
            run.shown = b""
            run.wait_for(" elapsed")
        run.process.kill()
        run.process.wait()
    report = epollo("report", str(tmp_path / "run.json.partial"))
    assert (report.returncode, report.stderr) == (0, "")
    assert "mean round trip " in report.stdout
    assert len((tmp_path / "run.csv.partial").read_text().splitlines()) >= 2
    assert "Tag=response" in (tmp_path / "run.hlog.partial").read_text()


def test_a_good_result_replaces_another(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    file.write_text("of another run")
    assert epollo("bench", *LOAD, "--json", str(file)).returncode == 0
    assert json.loads(file.read_text())["messages"] == 200
    assert [each.name for each in tmp_path.iterdir()] == ["run.json"]
