"""Service level objectives: counted in the server, kept over restarts, and the same in a real Prometheus."""

import json
import shutil
import subprocess
import time

import pytest
import requests

from conftest import BINARY, FRAGILE, MODELS, PATIENCE_S, server_fault
from parts import Alertmanager, free_port, until

CONFIG = """
[[slo]]
name = "available"

[[slo]]
name = "digits-fast"
endpoint = "digits"
sli = "latency"
threshold_ms = 13107.2
target = 0.99
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "tidegate.toml"
    path.write_text(CONFIG)
    return path


def slos(server):
    return {slo["name"]: slo for slo in requests.get(server.url("/api/slos"), timeout=PATIENCE_S).json()}


def counts(server, name):
    slo = slos(server)[name]
    return slo["good"], slo["total"]


def ask(server, digits, **parameters):
    body = {"inputs": [digits.tensor(slice(0, 1))], "parameters": parameters}
    return server.infer("digits", body).status_code


def spend(server, digits):
    """Twenty good requests, three that the client got wrong, one of them in how long it waits, and two that the server
    failed."""
    assert [ask(server, digits) for _ in range(20)] == [200] * 20
    assert [server.infer("digits", {"inputs": []}).status_code for _ in range(2)] == [400] * 2
    assert ask(server, digits, timeout=1) == 400
    for _ in range(2):
        server_fault(server)


def test_requests_are_counted_and_kept_over_a_restart(start, config, digits, tmp_path):
    data = tmp_path / "kept"
    server = start(MODELS / "digits", FRAGILE, data=data, flags=("--config", str(config)))
    assert counts(server, "available") == (0, 0)
    spend(server, digits)
    good, total = until(lambda: counts(server, "available")[1] >= 22 and counts(server, "available"))
    assert total - good == 2, "wrong requests do not count"
    assert counts(server, "digits-fast") == (good, good), "what was not answered has no latency"
    slo = slos(server)["available"]
    assert slo["budget_remaining"] == pytest.approx(1 - 2 / total / 0.001)
    assert slo["burn_rates"]["1h"] == pytest.approx(2 / total / 0.001)
    shown = subprocess.run([BINARY, "slo", "--url", f"http://{server.http}"], capture_output=True, text=True, timeout=60)
    assert "available" in shown.stdout and f"of {total}" in shown.stdout
    server.stop()
    server = start(MODELS / "digits", FRAGILE, data=data, flags=("--config", str(config)))
    assert counts(server, "available") == (good, total)


def test_a_wrong_objective_stops_the_start_and_says_why(config):
    config.write_text('[[slo]]\nname = "x"\ntarget = 1.5\n')
    command = [BINARY, "serve", str(MODELS / "digits"), "--config", str(config), "--http", "127.0.0.1:0"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode != 0 and 'slo "x": target' in ended.stderr


def test_what_is_written_for_others_reads_back(config, tmp_path):
    def out(*arguments):
        return subprocess.run([BINARY, "observe", *map(str, arguments)], check=True, capture_output=True, text=True).stdout

    rules = tmp_path / "rules.yml"
    rules.write_text(out("rules", "--config", config))
    subprocess.run(["promtool", "check", "rules", str(rules)], check=True, capture_output=True)
    documents = tmp_path / "slos.yml"
    documents.write_text(out("export", "--config", config))
    imported = out("import", documents)
    assert 'name = "available"' in imported and "threshold_ms = 13107.2" in imported
    again = tmp_path / "again.toml"
    again.write_text(imported)
    assert out("rules", "--config", again) == rules.read_text()
    written = out("dashboards", "--out", tmp_path / "dashboards").split()
    assert len(written) == 3 and all(json.load(open(path, encoding="utf-8"))["panels"] for path in written)


class Prometheus:
    """A real one, which scrapes a server every second and evaluates rules."""

    def __init__(self, folder, server, rules, interval="1s"):
        folder.mkdir()
        settings = folder / "prometheus.yml"
        settings.write_text(
            json.dumps(
                {
                    "global": {"scrape_interval": interval, "evaluation_interval": interval},
                    "rule_files": [str(rules)] if rules else [],
                    "scrape_configs": [{"job_name": "tidegate", "static_configs": [{"targets": [server.http]}]}],
                }
            )
        )
        program = shutil.which("prometheus")
        assert program, "Prometheus is not installed: run `cargo xtask setup --tests`"
        self.url = f"http://127.0.0.1:{free_port()}"
        listen = self.url.removeprefix("http://")
        command = [program, f"--config.file={settings}", f"--storage.tsdb.path={folder / 'data'}"]
        self.process = subprocess.Popen(
            [*command, f"--web.listen-address={listen}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def value(self, query):
        """The only value of a query; `None` as long as there is none."""
        try:
            answer = requests.get(f"{self.url}/api/v1/query", params={"query": query}, timeout=PATIENCE_S)
        except requests.ConnectionError:
            return None
        if answer.status_code != 200:
            return None
        result = answer.json()["data"]["result"]
        return float(result[0]["value"][1]) if len(result) == 1 else None

    def stop(self):
        self.process.kill()
        self.process.wait(PATIENCE_S)


def test_a_real_prometheus_counts_and_evaluates_the_same(start, config, digits, tmp_path):
    server = start(MODELS / "digits", FRAGILE, flags=("--config", str(config)))
    rules = tmp_path / "rules.yml"
    written = subprocess.run([BINARY, "observe", "rules", "--config", str(config)], check=True, capture_output=True)
    rules.write_bytes(written.stdout)
    prometheus = Prometheus(tmp_path / "prometheus", server, rules)
    try:
        until(lambda: prometheus.value('up{job="tidegate"}') == 1)
        spend(server, digits)
        good, total = until(lambda: counts(server, "available")[1] >= 22 and counts(server, "available"))
        answered = "sum(nv_inference_request_success)"
        failed = 'sum(nv_inference_request_failure{reason="execution_failed"})'
        until(lambda: prometheus.value(answered) == good)
        assert prometheus.value(failed) == total - good
        wanted = slos(server)["available"]["burn_rates"]["1h"]
        ours = 'tidegate_slo_burn_rate{slo="available",window="1h"}'
        until(lambda: prometheus.value(ours) == pytest.approx(wanted))
        groups = requests.get(f"{prometheus.url}/api/v1/rules", timeout=PATIENCE_S).json()["data"]["groups"]
        loaded = [rule for group in groups for rule in group["rules"]]
        assert len(loaded) >= 20 and not [rule for rule in loaded if rule.get("lastError")]
    finally:
        prometheus.stop()


def test_a_real_alertmanager_hears_of_an_outage_within_two_minutes(start, config, digits, tmp_path):
    alertmanager = Alertmanager(tmp_path / "alertmanager")
    with config.open("a") as file:
        file.write(f'\n[alerts]\nalertmanagers = ["{alertmanager.url}"]\nrunbooks = "https://runbooks.example"\n')
    try:
        server = start(MODELS / "digits", FRAGILE, flags=("--config", str(config)))
        for _ in range(20):
            server_fault(server)
        # Looked at every whole minute.
        end = time.monotonic() + 2 * 60
        while not alertmanager.alerts() and time.monotonic() < end:
            time.sleep(0.5)
        pages = [alert for alert in alertmanager.alerts() if alert["labels"]["severity"] == "page"]
        assert {alert["labels"]["long_window"] for alert in pages} == {"1h", "6h"}
        page = pages[0]
        assert page["labels"]["alertname"] == "TidegateAvailabilityBurn" and page["labels"]["slo"] == "available"
        assert page["annotations"]["runbook_url"] == "https://runbooks.example/availability-burn.md"
        assert "requests in the last" in page["annotations"]["description"]
        firing = [alert["state"] for alert in slos(server)["available"]["alerts"] if alert["severity"] == "page"]
        assert firing == ["firing", "firing"]
        assert 'tidegate_alert_deliveries_total{outcome="ok"}' in requests.get(server.url("/metrics"), timeout=60).text
    finally:
        alertmanager.stop()


def test_the_exposition_is_as_promtool_wants_it(server):
    text = requests.get(server.url("/metrics"), timeout=PATIENCE_S).text
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=60)
    # Triton's names are Triton's.
    complaints = [line for line in checked.stderr.splitlines() if not line.startswith("nv_inference_")]
    assert not complaints, complaints
