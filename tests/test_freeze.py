"""Rollouts wait while an error budget is spent; going back does not."""

import json
import subprocess

import pytest
import requests

from conftest import BINARY, PATIENCE_S
from onnx_file import table_lookup
from parts import until

# One of four requests may fail: enough good ones bring the budget back.
SLO = """
[fleet]
poll_interval_ms = 50

[[slo]]
name = "adds"
endpoint = "adder"
target = 0.75
policy = "freeze"
"""


@pytest.fixture
def adder(tmp_path):
    """Bundles of a model that adds a number."""

    def adder(added):
        folder = tmp_path / f"adder-{added}"
        folder.mkdir()
        # It fails for large numbers, through no fault of the client.
        (folder / "model.onnx").write_bytes(table_lookup(added))
        (folder / "model.toml").write_text('name = "adder"\n')
        return folder

    return adder


@pytest.fixture
def follow(registry, start, tmp_path):
    def follow(config=SLO):
        path = tmp_path / "tidegate.toml"
        path.write_text(config)
        return start(data=registry.data, flags=("--config", str(path)))

    return follow


def ask(server, number=0):
    body = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [number] * 4}]}
    return server.infer("adder", body)


def added(server):
    return ask(server).json()["outputs"][0]["data"][0]


def slo(server):
    [slo] = requests.get(server.url("/api/slos"), timeout=PATIENCE_S).json()
    return slo


def spend(server):
    """Fails so many requests that the budget is spent."""
    until(lambda: [ask(server, 1e6) for _ in range(10)] and "frozen_since_ms" in slo(server))


def events(server, name):
    return requests.get(server.url("/api/events"), params={"name": name}, timeout=PATIENCE_S).json()


def tidegate(server, *arguments):
    command = [BINARY, *arguments, "--url", f"http://{server.http}"]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.strip()


def champion(registry, version):
    registry.out("registry", "alias", "set", "champion", f"adder:{version}")


def test_a_spent_budget_holds_what_is_new_and_lets_go_back(registry, adder, follow):
    registry.out("push", adder(1))
    registry.out("push", adder(2), "--alias", "champion")
    server = follow()
    assert added(server) == 2
    spend(server)
    until(lambda: events(server, "rollouts.frozen"))
    registry.out("push", adder(3), "--alias", "champion")
    until(lambda: slo(server).get("held_back") == {"adder": {"default": 3, "champion": 3}})
    assert added(server) == 2, "the version that was served goes on"
    assert "frozen: adder@champion -> 3" in tidegate(server, "slo")
    report = subprocess.run(
        [BINARY, "doctor", "--server", f"http://{server.http}", "--json"], capture_output=True, text=True, timeout=60
    )
    told = [finding["what"] for finding in json.loads(report.stdout)["findings"] if finding["check"] == "objectives"]
    assert report.returncode == 1 and "rollouts are frozen: adder@champion -> 3" in told[0]
    champion(registry, 1)
    until(lambda: added(server) == 1)
    champion(registry, 2)
    until(lambda: added(server) == 2)
    assert "frozen_since_ms" in slo(server) and "held_back" not in slo(server)


def test_a_restart_is_no_way_around_it_and_loads_for_availability_go_on(registry, adder, follow):
    registry.out("push", adder(1), "--alias", "champion")
    server = follow()
    spend(server)
    registry.out("push", adder(2), "--alias", "champion")
    until(lambda: slo(server).get("held_back"))
    server.stop()
    server = follow()
    assert added(server) == 1 and slo(server)["held_back"] == {"adder": {"default": 2, "champion": 2}}
    for action in ("unload", "load"):
        done = requests.post(server.url(f"/v2/repository/models/adder/{action}"), timeout=PATIENCE_S)
        assert done.status_code == 200
    assert added(server) == 1
    server.stop()
    server = follow(SLO.replace('policy = "freeze"', ""))
    until(lambda: added(server) == 2)


def test_somebody_lets_rollouts_go_on(registry, adder, follow):
    registry.out("push", adder(1), "--alias", "champion")
    server = follow()
    spend(server)
    registry.out("push", adder(2), "--alias", "champion")
    until(lambda: slo(server).get("held_back"))
    tidegate(server, "slo", "thaw", "adds", "--for", "1h", "--comment", "this is the fix")
    until(lambda: added(server) == 2)
    [thawed] = events(server, "rollouts.thawed")
    assert thawed["fields"]["comment"] == "this is the fix" and thawed["fields"]["slo"] == "adds"
    assert "frozen_since_ms" not in slo(server)
    wrong = subprocess.run(
        [BINARY, "slo", "thaw", "none", "--for", "1h", "--comment", "x", "--url", f"http://{server.http}"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert wrong.returncode != 0 and "no objective" in wrong.stderr


def test_a_budget_that_comes_back_lets_what_waited_take_over(registry, adder, follow):
    registry.out("push", adder(1), "--alias", "champion")
    server = follow()
    spend(server)
    registry.out("push", adder(2), "--alias", "champion")
    until(lambda: slo(server).get("held_back"))
    until(lambda: [ask(server) for _ in range(100)] and "frozen_since_ms" not in slo(server))
    until(lambda: added(server) == 2)
    # Events are left by the next look, which may come a little later.
    until(lambda: [event["name"] for event in events(server, "rollouts")] == ["rollouts.thawed", "rollouts.frozen"])
