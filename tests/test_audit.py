"""The audit log: who did what, from where, with what result; and what becomes of a log that was changed."""

import json
import re
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import requests
import tritonclient.grpc as grpcclient

from conftest import BINARY, MODELS, PATIENCE_S
from parts import until

REFERENCE = Path(__file__).parent.parent / "docs/reference/audit.md"
FREEZE = {"endpoint": "digits", "target": 0.99, "window": "7d", "policy": "freeze"}


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def server(start, data):
    return start(MODELS / "digits", data=data)


def audit(data, *arguments, check=True):
    """What `tidegate audit` prints; the ended process where it may fail."""
    command = [BINARY, "audit", *arguments, "--data", str(data)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert not check or ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout if check else ended


def rows(data, *arguments):
    return [json.loads(line) for line in audit(data, "list", "--json", *arguments).splitlines()]


def told(data, *arguments):
    return [(row["action"], row["resource"], row["result"], row["code"]) for row in rows(data, *arguments)]


def control(server, verb, model="digits"):
    return requests.post(server.url(f"/v2/repository/models/{model}/{verb}"), timeout=PATIENCE_S)


def put(server, name, body=FREEZE):
    return requests.put(server.url(f"/api/slos/{name}"), json=body, timeout=PATIENCE_S)


def test_each_action_is_in_the_log_with_its_result_and_states(server, data):
    assert control(server, "load").status_code == 200
    assert control(server, "load", "none").status_code == 404
    with grpcclient.InferenceServerClient(server.grpc) as client:
        client.unload_model("digits")
        client.load_model("digits")
    assert put(server, "quick").status_code == 200
    assert put(server, "quick", FREEZE | {"target": 0.9}).status_code == 200
    thaw = {"duration_s": 60, "author": "ada", "comment": "a fix"}
    assert requests.post(server.url("/api/slos/quick/thaw"), json=thaw, timeout=PATIENCE_S).status_code == 200
    assert requests.delete(server.url("/api/slos/quick"), timeout=PATIENCE_S).status_code == 200
    silence = {"matchers": ['endpoint="digits"'], "duration_s": 60, "author": "ada", "comment": "works"}
    added = requests.post(server.url("/api/silences"), json=silence, timeout=PATIENCE_S).json()["id"]
    form = {"matchers": 'endpoint="digits"', "duration_s": "60", "author": "ada", "comment": "works"}
    requests.post(server.url("/console/silences"), data=form, timeout=PATIENCE_S)
    assert requests.delete(server.url(f"/api/silences/{added}"), timeout=PATIENCE_S).status_code == 200

    ended = [row for row in rows(data) if row["result"] != "started"]
    assert [(row["action"], row["resource_kind"], row["result"]) for row in ended] == [
        ("model.load", "model", "ok"),
        ("model.load", "model", "failed"),
        ("model.unload", "model", "ok"),
        ("model.load", "model", "ok"),
        ("objective.set", "objective", "ok"),
        ("objective.set", "objective", "ok"),
        ("rollout.thaw", "objective", "ok"),
        ("objective.remove", "objective", "ok"),
        ("silence.add", "silence", "ok"),
        ("silence.add", "silence", "ok"),
        ("silence.expire", "silence", "ok"),
    ]
    assert (ended[1]["resource"], ended[1]["code"]) == ("none", "unknown_model")
    assert [row["state_after"] for row in ended[2:4]] == ['{"versions":[]}', '{"versions":["1"]}']
    assert json.loads(ended[5]["state_before"])["target"] == 0.99
    assert json.loads(ended[5]["state_after"])["target"] == 0.9
    assert json.loads(ended[6]["state_after"])["comment"] == "a fix" and ended[7]["state_after"] == ""
    assert (ended[8]["resource"], ended[10]["resource"]) == (added, added)
    assert {(row["actor"], row["source"]) for row in rows(data)} == {("anonymous", "127.0.0.1")}
    # Each has a row from before it began.
    assert len([row for row in rows(data) if row["result"] == "started"]) == len(ended)
    assert server.metric("tidegate_audit_rows_total") == 2 * len(ended)
    assert told(data, "--action", "rollout")[-1][1:3] == ("quick", "ok")
    assert told(data, "--resource", "none", "--since", "1h", "--limit", "1") == [
        ("model.load", "none", "failed", "unknown_model")
    ]
    shown = audit(data, "list", "--limit", "1")
    assert "anonymous silence.expire silence" in shown and "from 127.0.0.1" in shown
    assert audit(data, "verify").startswith("whole: 22 rows")


def test_changes_of_the_registry_are_in_the_log(registry, graph):
    registry.run("push", graph("matmul"), "--alias", "champion")
    registry.run("push", graph("softmax"), "--alias", "champion")
    registry.run("rollback", "m")
    registry.run("registry", "delete", "m:2")
    assert [row["action"] for row in rows(registry.data)] == [
        "version.push", "alias.move", "version.push", "alias.move", "alias.rollback", "version.delete",
    ]  # fmt: skip
    [rollback] = rows(registry.data, "--action", "alias.rollback")
    assert rollback["actor"].startswith("ada@") and rollback["resource"] == "m@champion"
    assert (rollback["state_before"], rollback["state_after"]) == ('{"version":2}', '{"version":1}')
    assert audit(registry.data, "verify").startswith("whole: 6 rows")


def test_denials_are_counted_and_do_not_fill_the_log(server, data):
    foreign = {"Sec-Fetch-Site": "cross-site"}
    for _ in range(50):
        answer = requests.delete(server.url("/api/slos/quick"), headers=foreign, timeout=PATIENCE_S)
        assert answer.status_code == 403
    server.stop()
    denied = rows(data, "--action", "request.denied")
    assert sum(row["occurrences"] for row in denied) == 50 and len(denied) < 10
    first = denied[0]
    assert (first["resource"], first["code"], first["source"]) == ("objective.remove", "foreign_origin", "127.0.0.1")
    assert told(data, "--action", "objective") == []


def test_the_source_is_the_peer_and_not_what_a_header_says(start, data):
    # IPv6, so that the address of an IPv4 client has a longer form too.
    server = start(MODELS / "digits", data=data, http="[::]:0", flags=("--allow-unauthenticated",))
    url = f"http://127.0.0.1:{server.http.rsplit(':', 1)[1]}/api/slos/quick"
    for number in range(20):
        forged = {"X-Forwarded-For": f"10.0.0.{number}", "Forwarded": f"for=10.0.1.{number}", "X-Real-IP": f"10.0.2.{number}"}
        headers = {"Sec-Fetch-Site": "cross-site", **forged}
        assert requests.delete(url, headers=headers, timeout=PATIENCE_S).status_code == 403
    server.stop()
    denied = rows(data, "--action", "request.denied")
    assert {row["source"] for row in denied} == {"127.0.0.1"}
    assert sum(row["occurrences"] for row in denied) == 20


def python_of(page):
    [code] = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    return code


def test_the_script_of_the_reference_verifies_an_export(server, data):
    for at in range(5):
        put(server, f"slo-{at}")
    exported = audit(data, "export")
    assert len(exported.splitlines()) == 10
    script = [sys.executable, "-c", python_of(REFERENCE)]

    def check(text):
        return subprocess.run(script, input=text, capture_output=True, text=True, timeout=PATIENCE_S)

    whole = check(exported)
    assert whole.returncode == 0 and whole.stdout.startswith("whole up to row 10"), whole.stderr
    changed = check(exported.replace("slo-3", "slo-x", 1))
    assert changed.returncode == 1 and "was changed" in changed.stderr
    lines = exported.splitlines(keepends=True)
    shorter = check("".join(lines[:4] + lines[5:]))
    assert shorter.returncode == 1 and "does not follow" in shorter.stderr
    assert len(audit(data, "export", "--from", "7").splitlines()) == 4


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE audit SET actor = 'somebody' WHERE number = 3", "row 3: it was changed"),
        ("DELETE FROM audit WHERE number = 3", "row 3: rows 3 to 3 are missing"),
        ("DELETE FROM audit WHERE number > 3", "rows 4 to 6, which an anchor knows, are missing"),
    ],
)
def test_a_log_that_was_changed_is_found(server, data, change, said):
    for at in range(3):
        put(server, f"slo-{at}")
    server.stop()
    with sqlite3.connect(data / "registry.db") as database:
        database.execute(change)
    found = audit(data, "verify", check=False)
    assert found.returncode == 1 and said in found.stdout and "NOT whole" in found.stdout
    # A check that found something must not make an anchor of what it found.
    assert audit(data, "verify", check=False).returncode == 1


@pytest.mark.parametrize("required", [True, False])
def test_what_cannot_be_recorded_is_not_done_if_it_must_be(start, digits, tmp_path, required):
    config = tmp_path / "tidegate.toml"
    config.write_text(f'[audit]\ndatabase = "/proc/none/audit.db"\nrequired = {str(required).lower()}\n')
    server = start(MODELS / "digits", flags=("--config", str(config)))
    answer = control(server, "unload")
    body = {"inputs": [digits.tensor(slice(0, 1))]}
    assert server.metric("tidegate_audit_failures_total") > 0
    if required:
        assert (answer.status_code, answer.json()["code"]) == (503, "audit_unavailable")
        assert "nothing was done" in answer.json()["error"]
        assert server.infer("digits", body).status_code == 200
        with grpcclient.InferenceServerClient(server.grpc) as client:
            with pytest.raises(Exception, match="audit log cannot be written"):
                client.unload_model("digits")
        ready = requests.get(server.url("/v2/health/ready"), timeout=PATIENCE_S).json()
        assert "audit log" in json.dumps(ready)
    else:
        assert answer.status_code == 200 and server.infer("digits", body).status_code == 503


def test_a_killed_server_loses_no_action_that_it_answered(server, data):
    answered = []

    def work(own):
        try:
            for at in range(1000):
                put(server, f"slo-{own}-{at % 20}", FREEZE | {"target": 0.5 + at / 10000})
                answered.append(f"slo-{own}-{at % 20}")
        except requests.ConnectionError:
            pass

    workers = [threading.Thread(target=work, args=(own,)) for own in range(4)]
    for worker in workers:
        worker.start()
    until(lambda: len(answered) > 40)
    server.process.kill()
    server.process.wait()
    for worker in workers:
        worker.join()
    ended = [resource for _, resource, result, _ in told(data, "--limit", "10000") if result != "started"]
    for name in set(answered):
        assert ended.count(name) >= answered.count(name)
    assert audit(data, "verify").startswith("whole")


def test_a_log_that_is_switched_off_is_not_written(tmp_path, start):
    config = tmp_path / "tidegate.toml"
    config.write_text("[audit]\nenabled = false\n")
    server = start(MODELS / "digits", data=tmp_path / "data", flags=("--config", str(config)))
    assert control(server, "load").status_code == 200
    assert server.metric("tidegate_audit_rows_total") is None
    # The database is there: traffic policies are kept in it too.
    assert rows(tmp_path / "data") == []
    missing = audit(tmp_path / "no-data", "list", check=False)
    assert missing.returncode == 1 and "registry.db" in missing.stderr
