"""Records responses of real servers for the tests of `tidegate doctor`'s checks.

    TIDEGATE_BIN=target/debug/tidegate python -m pytest tests/record_doctor.py

writes `crates/cli/src/commands/doctor/recorded/*.json`. It is not a test: pytest runs it for its fixtures.
"""

import json
import re
import time

import pytest
import requests

from conftest import FRAGILE, MODELS, PATIENCE_S, ROOT
from parts import Network, Postgres, until
from test_doctor import ANSWERED, SLO, Load, ask, broken, burn, followed, saturated, serve

FOLDER = ROOT / "crates/cli/src/commands/doctor/recorded"


def get(server, path):
    return requests.get(server.url(path), timeout=PATIENCE_S)


def record(name, server, watch_s=1):
    """Asks as `tidegate doctor` does. Addresses are those of no machine."""
    before = get(server, "/metrics").text
    time.sleep(watch_s)
    ready = get(server, "/v2/health/ready").json()
    snapshot = {
        "at_ms": time.time_ns() // 1_000_000,
        "version": get(server, "/v2").json()["version"],
        "not_ready": ready.get("error"),
        "problems": ready.get("problems", []),
        "index": requests.post(server.url("/v2/repository/index"), timeout=PATIENCE_S).json(),
        "objectives": get(server, "/api/slos").json(),
        "alerts": get(server, "/api/alerts").json(),
        "routes": get(server, "/api/alerts/routes").json(),
        "events": get(server, "/api/events?limit=1000").json(),
        "metrics": get(server, "/metrics").text,
    }
    recorded = {"watch_s": watch_s, "before": before, "snapshot": snapshot}
    FOLDER.mkdir(exist_ok=True)
    text = re.sub(r"/[^ \"]*/test_\w+/", "/srv/", json.dumps(recorded, indent=1))
    (FOLDER / f"{name}.json").write_text(text + "\n")


def test_healthy(start, digits):
    server = start(MODELS / "digits")
    assert ask(server, digits) == 200
    record("healthy", server)


def test_broken(start, tmp_path):
    server = start(broken(tmp_path))
    until(lambda: get(server, "/api/events?name=alert.firing").json())
    record("broken", server)


def test_saturated(start, tmp_path):
    server = saturated(start, tmp_path)
    load = Load(server)
    until(lambda: "queue_full" in get(server, "/metrics").text)
    record("saturated", server)
    load.stop()


def test_burning(start, tmp_path):
    server = serve(start, tmp_path, FRAGILE, config=SLO)
    burn(server)
    until(lambda: get(server, "/api/slos").json()[0]["total"] >= 12)
    record("burning", server)


def test_changed(start, digits, tmp_path):
    data = tmp_path / "kept"
    serve(start, tmp_path, MODELS / "digits", config=ANSWERED, data=data).stop()
    route = '[[alerts.routes]]\nname = "hook"\nwebhook = { url = "http://127.0.0.1:1/hook" }\n'
    server = serve(start, tmp_path, MODELS / "digits", config=ANSWERED + route, data=data)
    assert ask(server, digits) == 200
    until(lambda: get(server, "/api/alerts/routes").json()[0].get("reason"))
    record("changed", server)


@pytest.fixture
def database(tmp_path):
    database = Postgres(tmp_path / "postgres")
    yield database
    database.stop()


def test_registry_gone(registry, database, start, tmp_path):
    network = Network(database.port)
    server = followed(registry, database, network, start, tmp_path)
    network.cut()
    until(lambda: get(server, "/v2/health/ready").json()["status"] == "degraded")
    record("registry_gone", server)
    network.mend()
    server.stop()
    network.stop()
