"""Servers of one group count objectives together, share what people told one of them, and tell of alerts once."""

import os
import sqlite3
import subprocess

import pytest
import requests

from conftest import BINARY, FRAGILE, MODELS, PATIENCE_S, server_fault
from parts import Network, Postgres, Receiver, until

CONFIG = """
[replicas]
group = "digits"
database = "{database}"
exchange_interval_ms = 300

[[slo]]
name = "available"
target = 0.9

[[slo]]
name = "careful"
target = 0.9
policy = "freeze"
"""

ROUTE = """
[[alerts.routes]]
name = "us"
group_wait_s = 0
[alerts.routes.webhook]
url = "{url}/us"
"""

# Longer than two exchanges, or a lease that nobody renews.
SOON_S = 60


@pytest.fixture
def replica(start, tmp_path):
    def replica(name, database, more="", data=None):
        config = tmp_path / f"{name}.toml"
        config.write_text(CONFIG.format(database=database) + more)
        return start(MODELS / "digits", FRAGILE, data=data or tmp_path / name, flags=("--config", str(config)))

    return replica


@pytest.fixture
def database(tmp_path):
    return tmp_path / "group.db"


def slos(server):
    return {slo["name"]: slo for slo in requests.get(server.url("/api/slos"), timeout=PATIENCE_S).json()}


def counts(server, name="available"):
    slo = slos(server)[name]
    return slo["good"], slo["total"]


def ask(server, digits, count, **parameters):
    body = {"inputs": [digits.tensor(slice(0, 1))], "parameters": parameters}
    return [server.infer("digits", body).status_code for _ in range(count)]


def fail(server, count):
    for _ in range(count):
        server_fault(server)


def group(server):
    return requests.get(server.url("/api/replicas"), timeout=PATIENCE_S).json()


def are_connected(*servers):
    return all(len(group(server)["replicas"]) == len(servers) for server in servers)


def tidegate(server, *arguments, check=True):
    command = [BINARY, *arguments, "--url", f"http://{server.http}"]
    return subprocess.run(command, check=check, capture_output=True, text=True, timeout=60)


def test_requests_of_all_replicas_count_together_and_once(replica, database, digits, tmp_path):
    one, other = replica("one", database), replica("other", database)
    ask(one, digits, 20)
    ask(other, digits, 10)
    until(lambda: counts(one) == counts(other) == (30, 30), patience_s=SOON_S)
    assert counts(one, "careful") == (30, 30)
    assert one.metric("tidegate_replicas", group="digits") == 2
    assert one.metric("tidegate_replicas_connected", group="digits") == 1
    ask(other, digits, 5)
    other.stop()
    until(lambda: counts(one) == (35, 35), patience_s=SOON_S)
    # From its file, and what the others counted meanwhile.
    ask(one, digits, 1)
    until(lambda: counts(one) == (36, 36))
    again = replica("again", database, data=tmp_path / "other")
    until(lambda: counts(again) == (36, 36), patience_s=SOON_S)
    # One that has no file learns everything from the others.
    new = replica("new", database)
    until(lambda: counts(new) == (36, 36), patience_s=SOON_S)


def test_a_killed_replica_takes_only_its_last_seconds_along(replica, database, digits, tmp_path):
    one, other = replica("one", database), replica("other", database)
    ask(one, digits, 20)
    until(lambda: counts(other) == (20, 20), patience_s=SOON_S)
    one.process.kill()
    one.wait()
    again = replica("again", database, data=tmp_path / "one")
    ask(again, digits, 3)
    until(lambda: counts(again) == counts(other) == (23, 23), patience_s=SOON_S)


def test_a_group_goes_on_while_its_database_is_away(replica, digits, tmp_path):
    postgres = Postgres(tmp_path / "postgres")
    network = Network(postgres.port)
    try:
        url = f"postgres://tidegate@127.0.0.1:{network.port}/registry"
        one, other = replica("one", url), replica("other", url)
        ask(one, digits, 10)
        until(lambda: counts(other) == (10, 10), patience_s=SOON_S)
        network.cut()
        ask(one, digits, 5)
        ask(other, digits, 7)
        until(lambda: counts(one) == (15, 15) and counts(other) == (17, 17), patience_s=SOON_S)
        until(lambda: "problem" in group(one), patience_s=SOON_S)
        # Nobody knows who tells of alerts: each does.
        until(lambda: "tells_alerts" not in group(one) and "tells_alerts" not in group(other), patience_s=SOON_S)
        network.mend()
        until(lambda: counts(one) == counts(other) == (22, 22), patience_s=2 * SOON_S)
        assert "problem" not in group(one)
    finally:
        network.stop()
        postgres.stop()


def test_silences_objectives_and_thaws_are_shared(replica, database, digits, tmp_path):
    one, other = replica("one", database), replica("other", database)
    until(are_connected, one, other, patience_s=SOON_S)

    tidegate(one, "silence", "add", 'endpoint="digits"', "--for", "1h", "--comment", "a test")
    silences = lambda server: requests.get(server.url("/api/silences"), timeout=PATIENCE_S).json()
    until(lambda: len(silences(other)) == 1, patience_s=SOON_S)
    tidegate(other, "silence", "expire", silences(other)[0]["id"])
    until(lambda: silences(one)[0]["state"] == "expired", patience_s=SOON_S)

    ask(one, digits, 4)
    sections = tmp_path / "more.toml"
    sections.write_text('[[slo]]\nname = "quick"\nsli = "latency"\nthreshold_ms = 100\ntarget = 0.5\n')
    assert tidegate(one, "slo", "set", str(sections)).stdout == "quick\n"
    until(lambda: "quick" in slos(other), patience_s=SOON_S)
    ask(one, digits, 2)
    ask(other, digits, 3)
    until(lambda: counts(one, "quick")[1] == counts(other, "quick")[1] == 5, patience_s=SOON_S)
    tidegate(other, "slo", "remove", "quick")
    until(lambda: "quick" not in slos(one), patience_s=SOON_S)

    fail(one, 20)
    until(lambda: all("frozen_since_ms" in slos(server)["careful"] for server in (one, other)), patience_s=SOON_S)
    tidegate(other, "slo", "thaw", "careful", "--for", "1h", "--comment", "a test")
    until(lambda: "frozen_since_ms" not in slos(one)["careful"], patience_s=SOON_S)
    names = {event["name"] for event in requests.get(one.url("/api/events"), timeout=PATIENCE_S).json()}
    assert {"silence.added", "silence.expired", "objective.set", "objective.removed", "rollouts.thawed"} <= names


def test_one_replica_tells_of_an_alert_and_another_one_when_that_is_gone(replica, database, digits):
    receiver = Receiver()
    try:
        route = ROUTE.format(url=receiver.url)
        servers = [replica(name, database, route) for name in ("one", "other")]
        until(are_connected, *servers, patience_s=SOON_S)
        # Most of them fail, at one replica only: the whole group's objective is missed.
        ask(servers[0], digits, 20)
        fail(servers[0], 200)

        def burn(server):
            alerts = requests.get(server.url("/api/alerts"), timeout=PATIENCE_S).json()
            burning = [alert for alert in alerts if alert["labels"].get("slo") == "available"]
            return next((alert for alert in burning if alert["severity"] == "page" and alert["state"] == "firing"), None)

        until(lambda: all(burn(server) for server in servers), patience_s=3 * SOON_S)
        until(lambda: receiver.bodies("/us"), patience_s=SOON_S)
        by = [burn(server).get("suppressed", {}).get("by") for server in servers]
        assert sorted(by, key=str) == [None, "replica"]
        teller, silent = sorted(servers, key=lambda server: "suppressed" in burn(server))
        assert burn(silent)["suppressed"]["what"] == group(teller)["name"] == group(silent)["tells_alerts"]
        told = len(receiver.bodies("/us"))
        teller.stop()
        until(lambda: burn(silent) and "suppressed" not in burn(silent), patience_s=SOON_S)
        until(lambda: len(receiver.bodies("/us")) > told, patience_s=SOON_S)
    finally:
        receiver.stop()


def copy(database, to):
    """A consistent copy of an SQLite database, as a backup is made."""
    with sqlite3.connect(database) as source, sqlite3.connect(to) as target:
        source.backup(target)


def forget_log(database):
    for end in ("-wal", "-shm"):
        database.with_name(database.name + end).unlink(missing_ok=True)


def test_counts_survive_a_database_that_is_restored_or_lost(replica, database, digits, tmp_path):
    one, other = replica("one", database), replica("other", database)
    ask(one, digits, 10)
    ask(other, digits, 10)
    until(lambda: counts(one) == counts(other) == (20, 20), patience_s=SOON_S)
    copy(database, tmp_path / "backup.db")
    ask(one, digits, 10)
    until(lambda: counts(one) == counts(other) == (30, 30), patience_s=SOON_S)
    os.replace(tmp_path / "backup.db", database)
    forget_log(database)
    ask(other, digits, 5)
    until(lambda: counts(one) == counts(other) == (35, 35), patience_s=SOON_S)
    database.unlink()
    forget_log(database)
    ask(one, digits, 5)
    until(lambda: counts(one) == counts(other) == (40, 40), patience_s=SOON_S)
    # Nothing is left behind that would count twice.
    new = replica("new", database)
    until(lambda: counts(new) == (40, 40), patience_s=SOON_S)


def test_what_is_set_while_the_database_is_away_survives_a_restart(replica, database, digits, tmp_path):
    database.mkdir()
    one = replica("one", database)
    until(lambda: "problem" in group(one))
    health = requests.get(one.url("/v2/health/ready"), timeout=PATIENCE_S).json()
    assert health["status"] == "degraded" and "the group digits cannot be reached" in health["problems"][0]
    tidegate(one, "silence", "add", 'endpoint="digits"', "--for", "1h", "--comment", "a test")
    one.stop()
    database.rmdir()
    replica("one", database)
    other = replica("other", database)
    silences = lambda: requests.get(other.url("/api/silences"), timeout=PATIENCE_S).json()
    until(silences, patience_s=SOON_S)


def test_a_change_that_cannot_be_written_is_not_answered_with_200(replica, database, tmp_path):
    one = replica("one", database)
    # In the place of the file that the state is written to first.
    for name in ("alerts.part", "objectives.part"):
        (tmp_path / "one" / name).mkdir()
    silence = {"matchers": ['endpoint="digits"'], "duration_s": 60, "author": "me", "comment": "a test"}
    answer = requests.post(one.url("/api/silences"), json=silence, timeout=PATIENCE_S)
    assert (answer.status_code, answer.json()["code"]) == (503, "not_saved")
    answer = requests.put(one.url("/api/slos/quick"), json={"target": 0.5}, timeout=PATIENCE_S)
    assert (answer.status_code, answer.json()["code"]) == (503, "not_saved")


def test_a_server_alone_is_in_no_group(server):
    answer = requests.get(server.url("/api/replicas"), timeout=PATIENCE_S)
    assert answer.status_code == 404 and "replicas.group" in answer.json()["error"]
    assert "tidegate_replicas" not in requests.get(server.url("/metrics"), timeout=PATIENCE_S).text


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ('[replicas]\ndatabase = "x.db"\n', "replicas.group is not"),
        ('[replicas]\ngroup = ""\n', "1 to 63 characters"),
        ('[replicas]\ngroup = "g"\nexchange_interval_ms = 1\n', "100 to 60000"),
    ],
)
def test_a_group_without_a_name_is_refused(refusal, settings, says):
    assert says in refusal(settings)
