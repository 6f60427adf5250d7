"""`tidegate doctor` on healthy and on broken servers: findings, next steps, exit status."""

import json
import shutil
import subprocess
import tempfile
import threading

import pytest
import requests

from conftest import BINARY, BUSY, FRAGILE, GRAPHS, MODELS, PATIENCE_S, server_fault
from parts import Network, Postgres, free_port, until

SLO = """
[[slo]]
name = "available"
target = 0.999
"""


def doctor(url, *flags):
    command = [BINARY, "doctor", "--server", url, "--json", *flags]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    report = json.loads(ended.stdout)
    assert report["status"] == ended.returncode, ended.stderr
    return report


def examine(server, *flags):
    return doctor(f"http://{server.http}", "--watch", "1", *flags)


def findings(report, check, *severities):
    found = [finding for finding in report["findings"] if finding["check"] == check]
    return [finding for finding in found if not severities or finding["severity"] in severities]


def the(report, check, severity, text):
    """The one finding of a check with this text."""
    found = [finding for finding in findings(report, check, severity) if text in finding["what"]]
    assert len(found) == 1, json.dumps(report, indent=1)
    return found[0]


def has_room():
    """Whether the disk of this machine is none that the doctor warns of."""
    disk = shutil.disk_usage(tempfile.gettempdir())
    return disk.free > 0.11 * disk.total


def is_well(report):
    """Whether nothing is wrong, apart from a full disk of the machine that runs the tests."""
    wrong = {finding["check"] for finding in report["findings"] if finding["severity"] in ("warning", "critical")}
    return wrong == set() or (wrong == {"data"} and not has_room())


def serve(start, tmp_path, *paths, config="", **options):
    path = tmp_path / "tidegate.toml"
    path.write_text(config)
    return start(*paths, flags=("--config", str(path)), **options)


def ask(server, digits, **parameters):
    return server.infer("digits", {"inputs": [digits.tensor(slice(0, 1))], "parameters": parameters}).status_code


def test_a_healthy_server(start, digits):
    server = start(MODELS / "digits")
    assert ask(server, digits) == 200
    report = examine(server)
    assert is_well(report), report
    assert report["status"] == 0 or not has_room()
    checks = [finding["check"] for finding in report["findings"]]
    assert {"health", "versions", "objectives", "alerts", "registry", "traffic", "machine", "data", "clock"} <= set(checks)
    assert "ready" in the(report, "health", "ok", "version")["what"]
    the(report, "versions", "ok", "serving models: 1; ready versions: 1 of 1")
    if has_room():
        the(report, "data", "ok", "are free on the data folder's disk")
    shown = subprocess.run(
        [BINARY, "doctor", "--url", f"http://{server.http}", "--watch", "1"], capture_output=True, text=True, timeout=60
    )
    assert shown.returncode == report["status"] and "health: ready" in shown.stdout and not shown.stderr


def test_no_server():
    url = f"http://127.0.0.1:{free_port()}"
    report = doctor(url)
    assert report["status"] == 2
    [finding] = report["findings"]
    assert finding["severity"] == "critical" and "cannot" in finding["what"]
    assert finding["next"] == f"curl -i {url}/v2/health/live" and finding["runbook"].endswith("/down.md")


def test_another_server_is_none_of_ours(server):
    report = doctor(f"http://{server.grpc}")
    assert report["status"] == 2, "gRPC's port is no REST"


def broken(tmp_path):
    """A folder with one model that works and one that does not."""
    models = tmp_path / "models"
    (models / "broken").mkdir(parents=True)
    (models / "broken/model.onnx").write_bytes(b"no model")
    (models / "digits").symlink_to(MODELS / "digits")
    return models


def test_a_model_that_does_not_load(start, tmp_path):
    server = start(broken(tmp_path))
    report = examine(server)
    assert report["status"] == 1
    # What is good is served, and the server stays ready.
    assert "1 problem" in the(report, "health", "notice", "ready")["what"]
    finding = the(report, "versions", "critical", "broken")
    assert "model.onnx" in finding["what"] or "protobuf" in finding["what"].lower()
    assert finding["next"] == f"curl -X POST http://{server.http}/v2/repository/models/broken/load"
    assert finding["runbook"].endswith("/model-load-failed.md")
    until(lambda: findings(examine(server), "alerts", "warning", "critical"))
    alert = the(examine(server), "alerts", "warning", "TidegateModelLoadFailed")
    assert alert["runbook"].endswith("/model-load-failed.md")


class Load:
    """Clients that ask `busy` for more than it can do, until they are told to stop."""

    def __init__(self, server, clients=12):
        self.stopped = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(server,)) for _ in range(clients)]
        for thread in self.threads:
            thread.start()

    def run(self, server):
        body = {"inputs": [{"name": "rounds", "shape": [1, 1], "datatype": "INT64", "data": [300]}]}
        while not self.stopped.is_set():
            server.infer("busy", body)

    def stop(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join()


def saturated(start, tmp_path):
    folder = tmp_path / "busy"
    folder.mkdir()
    (folder / "model.onnx").write_bytes((BUSY / "model.onnx").read_bytes())
    (folder / "model.toml").write_text('name = "busy"\n[batching]\nmax_batch_size = 1\nmax_queue_requests = 2\n')
    return start(folder)


def test_a_saturated_queue(start, tmp_path):
    server = saturated(start, tmp_path)
    load = Load(server)
    try:
        until(lambda: findings(examine(server), "traffic", "warning", "critical"))
        report = examine(server)
    finally:
        load.stop()
    assert report["status"] >= 1
    finding = the(report, "traffic", "critical", "requests for busy fail")
    assert "queue_full" in finding["what"] and finding["runbook"].endswith("/overload.md")
    assert finding["next"] == f"curl -s http://{server.http}/v2/models/busy/config"
    calm = until(lambda: is_well(report := examine(server)) and report)
    the(calm, "traffic", "ok", "none fails")


def burn(server):
    """Fails enough of the first requests that the budget is spent."""
    for _ in range(12):
        server_fault(server)


def test_an_objective_whose_budget_is_spent(start, tmp_path):
    server = serve(start, tmp_path, FRAGILE, config=SLO)
    burn(server)
    until(lambda: requests.get(server.url("/api/slos"), timeout=PATIENCE_S).json()[0]["total"] >= 12)
    report = examine(server)
    assert report["status"] == 1
    finding = the(report, "objectives", "critical", "available")
    assert "the error budget is overspent" in finding["what"] and "burn rate of the last hour" in finding["what"]
    assert finding["next"] == f"tidegate slo --url http://{server.http}"
    assert finding["runbook"].endswith("/availability-burn.md")


ANSWERED = """
[alerts]
builtin_rules = false
group_wait_s = 0
[[alerts.rules]]
name = "Answered"
metric = "nv_inference_count"
by = ["model"]
threshold = 0
severity = "page"
runbook = "bad-rollout"
"""


def test_an_alert_that_began_after_a_change_and_a_route_that_delivers_nothing(start, digits, tmp_path):
    data = tmp_path / "kept"
    server = serve(start, tmp_path, MODELS / "digits", config=ANSWERED, data=data)
    assert findings(examine(server), "changes", "ok"), "the first start is no change"
    server.stop()
    route = f'[[alerts.routes]]\nname = "hook"\nwebhook = {{ url = "http://127.0.0.1:{free_port()}/s3cret" }}\n'
    server = serve(start, tmp_path, MODELS / "digits", config=ANSWERED + route, data=data)
    [changed] = requests.get(server.url("/api/events?name=configuration"), timeout=PATIENCE_S).json()
    assert changed["fields"]["keys"] == "alerts.routes", "what changed, without its values"
    assert "s3cret" not in (data / "alerts.json").read_text()
    assert ask(server, digits) == 200
    until(lambda: findings(examine(server), "alerts", "critical") and findings(examine(server), "alerts", "warning"))
    report = examine(server)
    assert the(report, "alerts", "critical", "Answered of endpoint=digits")["runbook"].endswith("/bad-rollout.md")
    broken = the(report, "alerts", "warning", "delivery on route hook (webhook) has failed")
    assert "s3cret" not in json.dumps(report) and "waiting messages: 1" in broken["what"]
    suspect = the(report, "changes", "warning", "Answered began")
    assert "after the configuration changed (alerts.routes), and still fires" in suspect["what"]
    assert findings(examine(server, "--hours", "1"), "changes", "notice")


@pytest.fixture
def database(tmp_path):
    database = Postgres(tmp_path / "postgres")
    yield database
    database.stop()


def followed(registry, database, network, start, tmp_path):
    """A server that follows a registry behind a network."""
    folder = tmp_path / "adder"
    folder.mkdir()
    (folder / "model.onnx").write_bytes((GRAPHS / "add_constant.onnx").read_bytes())
    (folder / "model.toml").write_text('name = "adder"\n')
    url = f"postgres://tidegate@127.0.0.1:{network.port}/registry"
    registry.environment = {"TIDEGATE_REGISTRY__DATABASE": url}
    registry.out("push", folder, "--alias", "champion")
    return start(data=registry.data, environment=registry.environment)


def test_a_registry_that_is_gone(registry, database, start, tmp_path):
    network = Network(database.port)
    try:
        server = followed(registry, database, network, start, tmp_path)
        the(examine(server), "registry", "ok", "it can be read")
        network.cut()
        until(lambda: findings(examine(server), "registry", "warning"))
        report = examine(server)
        finding = the(report, "registry", "warning", "the registry cannot be read")
        assert "database" in finding["what"] and finding["runbook"].endswith("/registry-unreachable.md")
        assert the(report, "health", "notice", "problem")
        network.mend()
        until(lambda: findings(examine(server), "registry", "ok"))
        server.stop()
    finally:
        network.stop()
