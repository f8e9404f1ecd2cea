"""The files for a deployment: valid, of this version, and agreeing with each other."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from epollo import Settings
from tests.documents import ROOT
from tests.metrics.support import Scraped
from tests.workers.support import supervised

DEPLOY = ROOT / "examples" / "deploy"
DASHBOARD = ROOT / "examples" / "grafana" / "epollo.json"


def _found(tool: str) -> str | None:
    """Where it is: beside this Python, or on the path."""
    return shutil.which(tool, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")


def _needs(tool: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(_found(tool) is None, reason=f"{tool} is not installed")


def _passes(tool: str, *arguments: str | Path) -> None:
    command = [_found(tool) or tool, *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The full names of all samples of a server with workers."""
    folder = tmp_path_factory.mktemp("dashboard")
    with supervised(folder, "--metrics", f"unix:{folder}/metrics", workers=1):
        families = Scraped(f"unix:{folder}/metrics").families.values()
    return {sample.name for family in families for sample in family.samples}


def _metrics_in(expression: str) -> set[str]:
    return set(re.findall(r"\bepollo_\w+", expression))


def test_the_dashboard_shows_what_there_is(samples: set[str]) -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    panels = dashboard["panels"]
    shown = {panel["title"]: panel.get("targets", []) for panel in panels}
    assert len(shown) == len(panels)
    places = [tuple(panel["gridPos"].values()) for panel in panels]
    assert len(set(places)) == len(places)
    variables = {each["name"] for each in dashboard["templating"]["list"]}
    for title, targets in shown.items():
        for target in targets:
            expression = target["expr"]
            assert _metrics_in(expression), title
            assert _metrics_in(expression) <= samples, title
            used = set(re.findall(r"\$(\w+)", expression)) - {"__rate_interval"}
            assert used <= variables, title


def test_the_dashboard_leaves_no_metric_out(samples: set[str]) -> None:
    shown = _metrics_in(DASHBOARD.read_text())
    bases = {re.sub(r"_(bucket|count|sum)$", "", name) for name in samples}
    shown = {re.sub(r"_(bucket|count|sum)$", "", name) for name in shown}
    assert bases - shown == set()


@_needs("promtool")
def test_the_expressions_of_the_dashboard_are_valid(tmp_path: Path) -> None:
    targets = [
        target["expr"].replace("$__rate_interval", "1m").replace("$", "")
        for panel in json.loads(DASHBOARD.read_text())["panels"]
        for target in panel.get("targets", [])
    ]
    rules = [{"record": f"r:{at}", "expr": target} for at, target in enumerate(targets)]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    _passes("promtool", "check", "rules", file)


def test_the_alerts_are_about_what_there_is(samples: set[str]) -> None:
    groups = yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"]
    for rule in groups[0]["rules"]:
        assert _metrics_in(rule["expr"]) <= samples


@_needs("promtool")
def test_prometheus_takes_its_files() -> None:
    _passes("promtool", "check", "config", DEPLOY / "prometheus.yml")


@_needs("systemd-analyze")
def test_systemd_takes_its_units(tmp_path: Path) -> None:
    """Where the program and the user are those of this machine."""
    for name in ("epollo.service", "epollo.socket"):
        text = (DEPLOY / name).read_text().replace("User=app", "User=daemon")
        text = re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", text, flags=re.MULTILINE)
        (tmp_path / name).write_text(text.replace("=/srv/app", "=/"))
    run = subprocess.run(
        ["systemd-analyze", "verify", *tmp_path.iterdir()],
        capture_output=True,
        text=True,
        check=False,
    )
    complaints = [line for line in run.stderr.splitlines() if str(tmp_path) in line]
    assert (run.returncode, complaints) == (0, [])


def _service() -> configparser.SectionProxy:
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(DEPLOY / "epollo.service")
    return unit["Service"]


def _commands() -> dict[str, list[str]]:
    """The commands that serve, from ``epollo`` on."""
    docker = (DEPLOY / "Dockerfile").read_text()
    [exec_form] = re.findall(r"^CMD (\[.*\])$", docker, flags=re.MULTILINE)
    return {
        "systemd": shlex.split(_service()["ExecStart"])[1:],
        "docker": json.loads(exec_form)[1:],
    }


@pytest.mark.parametrize("name", ["systemd", "docker"])
def test_the_command_is_one_that_epollo_takes(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "epollo", *_commands()[name], "--show-config"]
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert run.returncode == 0, run.stderr


def test_a_stop_has_its_time() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    grace = Settings().graceful_timeout
    assert int(_service()["TimeoutStopSec"]) > grace
    assert int(compose["services"]["epollo"]["stop_grace_period"].removesuffix("s")) > grace


def test_the_files_of_the_compose_file_are_there() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    build = services["epollo"]["build"]
    assert (DEPLOY / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]).is_file()
    for service in services.values():
        for volume in service.get("volumes", []):
            assert (DEPLOY / volume.split(":")[0]).exists(), volume
    [target] = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"][0][
        "static_configs"
    ][0]["targets"]
    host, _, port = target.partition(":")
    assert host in services
    command = _commands()["docker"]
    assert command[command.index("--metrics") + 1].endswith(f":{port}")


@_needs("hadolint")
def test_the_dockerfile_is_clean() -> None:
    _passes("hadolint", DEPLOY / "Dockerfile")


@_needs("yamllint")
def test_the_yaml_is_clean() -> None:
    rules = "{extends: default, rules: {document-start: disable, line-length: {max: 120}}}"
    _passes("yamllint", "--strict", "-d", rules, *DEPLOY.glob("*.y*ml"))
