"""Objectives that are set while a server runs."""

import json
import subprocess

import pytest
import requests

from conftest import BINARY, MODELS, PATIENCE_S
from parts import until

CONFIG = '[[slo]]\nname = "available"\n'
QUICK = {"endpoint": "digits", "sli": "latency", "threshold_ms": 13107.2, "target": 0.99, "window": "7d"}


@pytest.fixture
def server(start, tmp_path):
    path = tmp_path / "tidegate.toml"
    path.write_text(CONFIG)
    return start(MODELS / "digits", data=tmp_path / "kept", flags=("--config", str(path)))


def put(server, name, body):
    return requests.put(server.url(f"/api/slos/{name}"), json=body, timeout=PATIENCE_S)


def slos(server):
    return {slo["name"]: slo for slo in requests.get(server.url("/api/slos"), timeout=PATIENCE_S).json()}


def ask(server, digits, count):
    body = {"inputs": [digits.tensor(slice(0, 1))]}
    assert [server.infer("digits", body).status_code for _ in range(count)] == [200] * count


def test_one_counts_from_when_it_is_set_and_over_restarts(server, start, digits, tmp_path):
    ask(server, digits, 5)
    assert put(server, "quick", QUICK).status_code == 200
    ask(server, digits, 3)
    until(lambda: slos(server)["quick"]["total"] == 3 and slos(server)["available"]["total"] == 8)
    quick = slos(server)["quick"]
    assert (quick["origin"], quick["window"], quick["target"]) == ("api", "7d", 0.99)
    assert slos(server)["available"]["origin"] == "configuration"
    until(lambda: server.metric("tidegate_slo_error_budget_remaining", slo="quick") == 1)
    # Set again with another target, it goes on; measuring something else, it begins anew.
    put(server, "quick", QUICK | {"target": 0.5})
    assert slos(server)["quick"]["total"] == 3
    put(server, "quick", QUICK | {"threshold_ms": 100})
    assert slos(server)["quick"]["total"] == 0
    ask(server, digits, 2)
    server.stop()
    again = start(MODELS / "digits", data=tmp_path / "kept")
    assert list(slos(again)) == ["quick"] and slos(again)["quick"]["total"] == 2


def test_one_that_is_removed_leaves_nothing(server, digits):
    put(server, "quick", QUICK)
    ask(server, digits, 2)
    until(lambda: slos(server)["quick"]["total"] == 2)
    assert requests.delete(server.url("/api/slos/quick"), timeout=PATIENCE_S).status_code == 200
    assert list(slos(server)) == ["available"]
    metrics = requests.get(server.url("/metrics"), timeout=PATIENCE_S).text
    assert 'slo="quick"' not in metrics and 'tidegate_slo_error_budget_remaining{slo="available"}' in metrics
    assert requests.delete(server.url("/api/slos/quick"), timeout=PATIENCE_S).status_code == 404
    put(server, "quick", QUICK)
    assert slos(server)["quick"]["total"] == 0


@pytest.mark.parametrize(
    ("name", "body", "status", "code"),
    [
        ("quick", {"target": 2}, 400, "invalid_parameter"),
        ("Quick", {}, 400, "invalid_parameter"),
        ("quick", {"sli": "latency"}, 400, "invalid_parameter"),
        ("quick", {"sli": "speed"}, 400, "malformed_request"),
        ("quick", {"name": "other"}, 400, "malformed_request"),
        ("quick", {"window": "1y"}, 400, "malformed_request"),
        ("available", {"target": 0.5}, 409, "conflict"),
    ],
)
def test_one_that_cannot_be_is_refused(server, name, body, status, code):
    answer = put(server, name, body)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert list(slos(server)) == ["available"]


def test_the_configuration_keeps_what_it_has(server):
    answer = requests.delete(server.url("/api/slos/available"), timeout=PATIENCE_S)
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


def test_what_is_set_and_what_is_exported_are_the_same(server, tmp_path):
    """OpenSLO out of one server and into it again; rules for Prometheus know both kinds."""

    def tidegate(*arguments):
        command = [BINARY, *arguments, "--url", f"http://{server.http}"]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout

    put(server, "quick", QUICK | {"tier": "gold", "min_events": 25, "policy": "freeze"})
    before = slos(server)["quick"]
    documents = tmp_path / "slos.yml"
    documents.write_text(tidegate("observe", "export"))
    rules = tidegate("observe", "rules")
    assert "slo: quick" in rules and "slo: available" in rules
    requests.delete(server.url("/api/slos/quick"), timeout=PATIENCE_S)
    only = documents.read_text().split("---")
    documents.write_text("---".join(part for part in only if "quick" in part))
    assert tidegate("slo", "set", str(documents)).split() == ["quick"]
    after = slos(server)["quick"]
    kept = ("endpoint", "sli", "threshold_ms", "target", "window", "tier", "min_events", "policy")
    assert {key: after[key] for key in kept} == {key: before[key] for key in kept}
    assert json.loads(tidegate("slo", "--json"))
