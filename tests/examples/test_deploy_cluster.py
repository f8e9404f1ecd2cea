"""The files for three nodes: valid for the programs that read them, and agreeing with each other.
tests/services/test_cluster.py runs haproxy.cfg and nats.conf."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from epollo.address import parse_broker
from epollo.units import parse_seconds
from tests.documents import ROOT
from tests.interop.support import absent

DEPLOY = ROOT / "examples" / "deploy" / "cluster"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
KUBERNETES = {
    each["kind"]: each for each in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())
}
NODES = ("node-1", "node-2", "node-3")


def passes(tool: str, *arguments: str | Path, **environment: str) -> None:
    """Run ``tool``, found beside this Python or on the path; it must be content."""
    where = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    command = [shutil.which(tool, path=where) or absent(tool), *arguments]
    run = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_haproxy_takes_its_file() -> None:
    environment = {name: str(value) for name, value in COMPOSE["haproxy"]["environment"].items()}
    passes("haproxy", "-c", "-f", DEPLOY / "haproxy.cfg", **environment)


@pytest.mark.services
@pytest.mark.parametrize("name", ["nats-1", "nats-2", "nats-3"])
def test_nats_takes_its_file(name: str) -> None:
    passes("nats-server", "-t", "-c", DEPLOY / "nats.conf", **COMPOSE[name]["environment"])


def test_the_yaml_is_clean() -> None:
    rules = "{extends: default, rules: {document-start: disable, line-length: {max: 120}}}"
    passes("yamllint", "--strict", "-d", rules, *DEPLOY.glob("*.y*ml"))


@pytest.mark.parametrize("kind", ["Deployment", "Service", "PodDisruptionBudget"])
def test_kubernetes_takes_its_objects(kind: str) -> None:
    validate = pytest.importorskip("kubernetes_validate").validate
    validate(KUBERNETES[kind], "1.30", strict=True)


def test_the_route_leads_to_the_pods() -> None:
    """No package of PyPI has the schemas of Gateway and TCPRoute."""
    gateway, route, service = (KUBERNETES[kind] for kind in ("Gateway", "TCPRoute", "Service"))
    assert {gateway["apiVersion"], route["apiVersion"]} == {"gateway.networking.k8s.io/v1"}
    [listener], [parent] = gateway["spec"]["listeners"], route["spec"]["parentRefs"]
    assert (parent["name"], parent["sectionName"]) == (
        gateway["metadata"]["name"],
        listener["name"],
    )
    assert listener["allowedRoutes"]["kinds"] == [{"kind": "TCPRoute"}]
    [backend] = route["spec"]["rules"][0]["backendRefs"]
    [port] = service["spec"]["ports"]
    assert backend == {"name": service["metadata"]["name"], "port": port["port"]}
    pod = KUBERNETES["Deployment"]["spec"]["template"]
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    assert port["targetPort"] in {each["name"] for each in container()["ports"]}


def container() -> dict[str, Any]:
    [found] = KUBERNETES["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def value(arguments: list[str], option: str) -> str:
    [found] = [each for each in arguments if each.startswith(f"--{option}=")]
    return found.partition("=")[2]


def test_a_stop_has_its_time() -> None:
    """The delay, the grace of 30 s, and what comes before them."""
    for name in NODES:
        node = COMPOSE[name]
        delay = parse_seconds(value(node["command"], "drain-delay"))
        assert parse_seconds(node["stop_grace_period"]) >= delay + 30
        assert delay >= 3 * 0.5, "HAProxy has seen /readyz"
    pod = KUBERNETES["Deployment"]["spec"]["template"]["spec"]
    before = int(container()["lifecycle"]["preStop"]["exec"]["command"][1])
    delay = parse_seconds(value(container()["args"], "drain-delay"))
    assert pod["terminationGracePeriodSeconds"] >= before + delay + 30


@pytest.mark.parametrize("arguments", [COMPOSE["node-1"]["command"], container()["args"]])
def test_the_command_is_one_that_epollo_takes(arguments: list[str]) -> None:
    command = [sys.executable, "-m", *arguments, "--show-config"]
    run = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT / "examples"
    )
    assert run.returncode == 0, run.stderr


def test_the_nodes_and_their_brokers_are_there() -> None:
    proxy = COMPOSE["haproxy"]["environment"]
    for at, name in enumerate(NODES, 1):
        assert proxy[f"NODE_{at}"] == f"{name}:8091"
        assert value(COMPOSE[name]["command"], "metrics").endswith(f":{proxy[f'READY_{at}']}")
        urls = parse_broker(COMPOSE[name]["environment"]["EPOLLO_BROKER"]).urls
        assert urls[0] == f"nats://nats-{at}:4222", "the nearest one first"
        assert set(urls) == {f"nats://nats-{other}:4222" for other in (1, 2, 3)}
        assert COMPOSE[name]["build"]["dockerfile"] == "examples/deploy/cluster/Dockerfile"
    [broker] = [each["value"] for each in container()["env"] if each["name"] == "EPOLLO_BROKER"]
    parse_broker(broker)


def test_the_dockerfile_is_clean() -> None:
    passes("hadolint", DEPLOY / "Dockerfile")
