"""``epollo report`` as a user meets it: what it shows, writes and says, and its exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench.support import exponential, made_up
from tests.support import epollo, epollo_here

COMPARED = """\
A  a.json: 127.0.0.1:8091, 10 connections, closed loop of depth 1, 64 B messages, framing u32, 12 s
B  b.json: 127.0.0.1:8091, 10 connections, closed loop of depth 1, 64 B messages, framing u32, 12 s
"""


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder of results: a.json, the slower b.json, the short c.json, and a folder of repeats."""
    (tmp_path / "repeats").mkdir()
    write(tmp_path / "a.json", seed=1)
    write(tmp_path / "b.json", mean=300_000, seed=2)
    write(tmp_path / "c.json", seconds=3, seed=3)
    for number in range(3):
        write(tmp_path / "repeats" / f"{number}.json", mean=300_000, seconds=3, seed=4 + number)
    return tmp_path


def write(path: Path, mean: float = 200_000, seconds: int = 12, seed: int = 1) -> None:
    run = made_up(exponential(mean), seconds, per_second=100, seed=seed, connections=10)
    path.write_text(run.to_json())


def row(output: str, name: str) -> list[str]:
    """The cells of the first table's row."""
    return next(line for line in output.splitlines() if line.startswith(name)).split("   ")


def test_two_runs_are_compared_figure_by_figure(runs: Path) -> None:
    run = epollo_here("report", "a.json", "b.json", cwd=runs)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith(COMPARED)
    cells = [cell.strip() for cell in row(run.stdout, "p50") if cell.strip()]
    assert cells[0] == "p50"
    assert cells[1].endswith("µs")
    assert float(cells[3]) == pytest.approx(1.5, rel=0.2)
    low, _, high = cells[4].partition(" to ")
    assert 1 < float(low) < float(cells[3]) < float(high)
    assert cells[5] == "higher"
    assert row(run.stdout, "rate")[-1] == "no difference shown"
    assert "from the variation between the seconds of each run" in run.stdout


def test_what_has_to_be_known_stands_below(runs: Path) -> None:
    run = epollo_here("report", "a.json", "c.json", cwd=runs)
    assert "\n\nB: too short to compare: 3 seconds; run at least 10s\n" in run.stdout
    assert row(run.stdout, "p50")[-1].strip() == "not compared: too short"
    assert run.returncode == 0


def test_a_directory_holds_repeats(runs: Path) -> None:
    run = epollo_here("report", "a.json", "repeats", cwd=runs)
    assert run.returncode == 0
    assert "\nrepeats  3 runs of 127.0.0.1:8091, 10 connections" in run.stdout
    assert row(run.stdout, "p50")[-1] == "higher"
    assert "from the variation between the runs of each side" in run.stdout


def test_each_of_several_is_held_against_the_first(runs: Path) -> None:
    run = epollo_here("report", "a.json", "b.json", "a.json", cwd=runs)
    assert "B / A" in run.stdout
    assert "C / A" in run.stdout


def test_a_single_result_is_shown_as_its_run_was(runs: Path) -> None:
    run = epollo_here("report", "a.json", cwd=runs)
    assert run.returncode == 0
    assert run.stdout.startswith("epollo bench 127.0.0.1:8091\n")
    assert "\nverdict      every reply came" in run.stdout


def test_a_limit_is_for_all_but_the_first(runs: Path) -> None:
    run = epollo_here("report", "a.json", "b.json", "--fail-if", "p50>1.1*a.json", cwd=runs)
    assert run.returncode == 1
    assert run.stdout.splitlines()[-1].startswith("FAILED: b.json: p50 is ")
    kept = epollo_here("report", "b.json", "a.json", "--fail-if", "p50>1.1*a.json", cwd=runs)
    assert kept.returncode == 0
    assert "FAILED" not in kept.stdout


def test_a_limit_is_for_the_only_one(runs: Path) -> None:
    assert epollo_here("report", "a.json", "--fail-if", "p50>1us", cwd=runs).returncode == 1
    assert epollo_here("report", "a.json", "--fail-if", "p50>1s", cwd=runs).returncode == 0


def test_a_condition_fails_by_the_whole_interval(runs: Path) -> None:
    run = epollo_here("report", "a.json", "b.json", "--fail-if", "p50 higher by 5%", cwd=runs)
    assert (run.returncode, run.stderr) == (1, "")
    line = run.stdout.splitlines()[-1]
    assert line.startswith("FAILED: b.json: p50 is ")
    assert line.endswith(", all of it beyond 1.05 (p50 higher by 5%)")
    cells = [cell.strip() for cell in row(run.stdout, "p50") if cell.strip()]
    assert f"{cells[3]} times the {cells[1]} of a.json, interval {cells[4]}" in line


@pytest.mark.parametrize("condition", ["p50 lower", "rate lower", "p50 higher by 300%"])
def test_a_condition_that_is_not_met_passes(runs: Path, condition: str) -> None:
    run = epollo_here("report", "a.json", "b.json", "--fail-if", condition, cwd=runs)
    assert run.returncode == 0
    assert "FAILED" not in run.stdout


def test_what_cannot_be_told_fails(runs: Path) -> None:
    run = epollo_here("report", "a.json", "c.json", "--fail-if", "p50 higher", cwd=runs)
    assert run.returncode == 1
    assert run.stdout.splitlines()[-1] == (
        "FAILED: c.json: p50 cannot be compared: too short; run at least 10s, or compare "
        "directories of repeats (p50 higher)"
    )


def test_a_directory_of_repeats_is_a_baseline(runs: Path) -> None:
    kept = epollo_here("report", "repeats", "b.json", "--fail-if", "p50 higher", cwd=runs)
    assert kept.returncode == 0
    for number in range(3):
        write(runs / "repeats" / f"{number}.json", seconds=3, seed=7 + number)
    run = epollo_here("report", "repeats", "b.json", "--fail-if", "p50 higher", cwd=runs)
    assert run.returncode == 1
    assert run.stdout.splitlines()[-1].startswith("FAILED: b.json: p50 is ")
    assert " of repeats, interval " in run.stdout.splitlines()[-1]


@pytest.mark.parametrize("limit", ["p50 higher", "p50>9*a.json"])
def test_a_baseline_of_another_load_is_refused_unless_it_is_allowed(runs: Path, limit: str) -> None:
    other = made_up(exponential(200_000), 12, per_second=100, connections=10, depth=4)
    (runs / "other.json").write_text(other.to_json())
    compared = ["report", "a.json", "other.json"]
    refused = epollo_here(*compared, "--fail-if", limit, cwd=runs)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == (
        f"epollo: error: --fail-if: {limit!r}: other.json is of another load than a.json: "
        "depth 4 instead of 1; run the same load, or add --different-load\n"
    )
    allowed = epollo_here(*compared, "--fail-if", limit, "--different-load", cwd=runs)
    assert allowed.returncode == 0
    assert "not the same load: depth 1, 4" in allowed.stdout
    assert epollo_here(*compared, cwd=runs).returncode == 0


def test_repeats_of_different_loads_are_refused(runs: Path) -> None:
    other = made_up(exponential(200_000), 3, per_second=100, connections=9)
    (runs / "repeats" / "9.json").write_text(other.to_json())
    run = epollo_here("report", "repeats", "b.json", "--fail-if", "p50 higher", cwd=runs)
    assert run.returncode == 2
    assert "repeats/9.json is of another load than repeats/0.json: connections 9" in run.stderr


def test_a_failed_condition_is_on_the_page(runs: Path) -> None:
    failing = ["--fail-if", "p50 higher", "--html", "-"]
    run = epollo("report", "a.json", "b.json", *failing, cwd=runs)
    assert run.returncode == 1
    assert "<strong>Failed</strong> b.json: p50 is " in run.stdout


def test_a_page_and_a_picture_of_all_of_it(runs: Path) -> None:
    run = epollo(
        "report", "a.json", "b.json", "--html", "page.html", "--plot", "picture.svg", cwd=runs
    )
    assert (run.returncode, run.stderr) == (0, "")
    page = (runs / "page.html").read_text()
    assert "no difference shown" in page
    assert "b.json" in page
    assert "<svg" in (runs / "picture.svg").read_text()


def test_a_page_on_stdout_stands_there_alone(runs: Path) -> None:
    run = epollo("report", "a.json", "repeats", "--html", "-", cwd=runs)
    assert run.returncode == 0
    assert run.stdout.startswith("<!")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["gone.json"], "cannot read gone.json: no such file or directory"),
        (["a.json", "text.json"], "text.json: not a result of epollo bench --json: "),
        (["binary.json"], "binary.json: not a result of epollo bench --json: not text"),
        (["old.json"], "old.json: version 1 of a result; this epollo reads versions 2 and 3"),
        (["list.json"], "list.json: not a result of epollo bench --json: "),
        (["damaged.json"], "damaged.json: not a result of epollo bench --json: "),
        (["empty"], "empty: no file in this directory is named *.json; write the result of each"),
        (
            ["others"],
            "others/package.json: not a result of epollo bench --json: it has",
        ),
        (["unfinished"], "unfinished/2.json.partial: its run did not end; wait for it, or remove"),
        (["cut"], "cut/2.json: not a result of epollo bench --json: "),
        (["a.json", "--fail-if", "p50 higher"], "--fail-if: 'p50 higher' compares results; name"),
        (["a.json", "b.json", "--fail-if", "p50 higher by 5"], "--fail-if: 'p50 higher by 5' is"),
        (["a.json", "--different-load"], "--different-load: only for --fail-if; give that too"),
        (["a.json", "--fail-if", "p99"], "--fail-if: 'p99' is not a limit; write one such as"),
        (["a.json", "--fail-if", "p99>2*gone.json"], "cannot read gone.json: no such file"),
        (["a.json", "--plot", "picture.gif"], "--plot picture.gif: the name must end in"),
        (["a.json", "--html", "no/page.html"], "--html no/page.html: there is no directory"),
        ([], "RESULT...: is missing; write epollo report RESULT..."),
    ],
)
def test_an_error_is_one_line_with_the_fix(runs: Path, arguments: list[str], why: str) -> None:
    document = json.loads((runs / "a.json").read_text())
    document["response"]["encoded"] = "HISTFAAA"
    (runs / "damaged.json").write_text(json.dumps(document))
    (runs / "text.json").write_text("no JSON\n")
    (runs / "binary.json").write_bytes(b"\xff\xfe\x00")
    (runs / "old.json").write_text('{"version": 1}')
    (runs / "list.json").write_text("[]")
    (runs / "empty").mkdir()
    for name in ("others", "unfinished", "cut"):
        (runs / name).mkdir()
        (runs / name / "1.json").write_text((runs / "a.json").read_text())
    (runs / "others" / "package.json").write_text('{"name": "other"}')
    (runs / "unfinished" / "2.json.partial").write_text("")
    (runs / "cut" / "2.json").write_text((runs / "a.json").read_text()[:5000])
    run = epollo_here("report", *arguments, cwd=runs)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith(f"epollo: error: {why}")
    assert run.stderr.count("\n") == 1
