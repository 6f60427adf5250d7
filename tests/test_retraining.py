"""Data sets of captured predictions, and rules that ask for new versions, as operators and receivers see them."""

import hashlib
import hmac
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib

import pyarrow.parquet as parquet
import pytest
import requests

from conftest import BINARY, PATIENCE_S, ROOT, Registry, Server
from parts import Receiver, free_port, until
from test_quality import FRAUD, get, label, predict, rows, watched  # noqa: F401

GUIDE = (ROOT / "docs/guides/retraining.md").read_text(encoding="utf-8")
KEY = "a key of your own"
CAPTURE = """
[capture]
drift_window_s = {window_s}
flush_s = 1

[[capture.endpoint]]
name = "fraud"
"""


@pytest.fixture
def serve(start, tmp_path):
    def serve(*paths, window_s=3600, more="", **options):
        config = tmp_path / "tidegate.toml"
        config.write_text(CAPTURE.format(window_s=window_s) + more)
        return start(*(paths or [FRAUD]), flags=["--config", str(config)], **options)

    return serve


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.stop()


def rule(receiver, **keys):
    """A section `[[retrain]]` that asks the receiver at once."""
    settings = {"name": "rule", "endpoint": "fraud", "debounce_s": 0, **keys}
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    webhook = f'webhook = {{ url = "{receiver.url}/hook", secret = "{KEY}" }}'
    return "\n[[retrain]]\n" + "\n".join([*lines, webhook]) + "\n"


def send(server, records, labels=(), batch=100):
    """Sends records, and labels for the first of them; the rows by their id and number."""
    sent = {}
    for begin in range(0, len(records), batch):
        part = records[begin : begin + batch]
        answer = predict(server, part).json()
        truths = labels[begin : begin + batch]
        feedback = [
            {"prediction_id": answer["prediction_id"], "row": row, "label": truth} for row, truth in enumerate(truths)
        ]
        if feedback:
            label(server, {"feedback": feedback})
        for row, record in enumerate(part):
            truth = truths[row] if row < len(truths) else None
            sent[answer["prediction_id"], row] = (record, truth, answer["predictions"][row]["score"])
    return sent


def tidegate(*arguments, place, check=True):
    command = [BINARY, *map(str, arguments), *map(str, place)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, env={**os.environ, "USER": "ada"})
    assert not check or ended.returncode == 0, ended.stderr
    return ended


def dataset(*arguments, place, **options):
    return tidegate("dataset", *arguments, place=place, **options).stdout.strip()


def at(server):
    return ["--url", server.url("")]


def triggers(server):
    return get(server, "/api/retraining")["triggers"]


def in_state(server, *states):
    """The newest trigger, if it is in one of these states."""
    found = triggers(server)
    return found[0] if found and found[0]["state"] in states else None


def events(server, name):
    return [event for event in get(server, "/api/events") if event["name"] == name]


def is_signed(headers, body):
    mac = hmac.new(KEY.encode(), headers["x-tidegate-timestamp"].encode() + b"." + body, hashlib.sha256)
    age_s = abs(time.time() - int(headers["x-tidegate-timestamp"]))
    return headers["x-tidegate-signature"] == f"sha256={mac.hexdigest()}" and age_s < 60


def test_a_data_set_is_captured_rows_with_their_labels(serve, tmp_path):
    data = tmp_path / "data"
    server = serve(data=data)
    records, labels = rows(150)
    sent = send(server, records, labels[:120])
    # Another spelling of the same class, and one that is none.
    ids = list(sent)
    label(server, {"prediction_id": ids[0][0], "row": 0, "label": ["legitimate", "fraud"][labels[0]]})
    label(server, {"prediction_id": ids[1][0], "row": 1, "label": "Fraud"})

    line = dataset("create", "fraud", "--from", "1h", place=at(server))
    digest = re.fullmatch(r"fraud@1 sha256:([0-9a-f]{64})", line)[1]
    file = tmp_path / "fraud.parquet"
    dataset("export", "fraud@1", "--output", file, place=at(server))
    assert hashlib.sha256(file.read_bytes()).hexdigest() == digest
    table = parquet.read_table(file)
    assert table.column_names[:8] == [
        "prediction_id", "row", "time", "model", "model_version", "tenant", "label", "label_time",
    ]  # fmt: skip
    found = {(row["prediction_id"], row["row"]): row for row in table.to_pylist()}
    assert found.keys() == sent.keys()
    for key, (record, truth, score) in sent.items():
        row = found[key]
        assert {name: row[f"field.{name}"] for name in record} == record
        assert round(row["output.probabilities"][1], 4) == score
        wanted = None if truth is None or key == ids[1] else ["legitimate", "fraud"][truth]
        assert (row["label"], row["label_time"] is None) == (wanted, wanted is None)

    shown = json.loads(dataset("show", "fraud@1", "--json", place=at(server)))
    assert (shown["rows"], shown["labels"], shown["digest"]) == (150, 119, digest)
    lineage = shown["lineage"]
    assert (lineage["versions"], lineage["unusable_labels"]) == (["1"], 1)
    assert lineage["redaction"]["detectors"] == ["email", "card", "iban"]
    described = json.loads((data / "datasets" / digest / "dataset.json").read_text())
    captures = described["lineage"]["captures"]
    assert sum(capture["rows"] for capture in captures) == 150 and len(captures) == lineage["captured_files"]
    for capture in captures:
        content = (data / "captures" / capture["path"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == capture["sha256"]

    labelled = dataset("create", "fraud", "--from", "1h", "--labelled", place=at(server))
    assert labelled.startswith("fraud@2 ")
    assert parquet.read_metadata(data / "datasets" / labelled[-64:] / "data.parquet").num_rows == 119
    diff = dataset("diff", "fraud@1", "fraud@2", place=at(server))
    assert "rows: 150 -> 119" in diff and "labelled_only: false -> true" in diff

    # The same rows are the same bytes, whoever makes them.
    server.stop()
    local = ["--data", data]
    assert dataset("create", "fraud", "--from", "1h", place=local) == line
    assert [one["version"] for one in json.loads(dataset("list", "--json", place=local))] == [1, 2]
    nothing = tidegate("dataset", "create", "other", place=local, check=False)
    assert nothing.returncode == 1 and "no captured prediction" in nothing.stderr


def test_erased_rows_are_in_no_later_data_set_and_earlier_ones_can_be_deleted(serve, tmp_path):
    data = tmp_path / "data"
    server = serve(data=data)
    records, labels = rows(20)
    for record in records[:5]:
        record["minutes_since_last"] = 4242.5
    send(server, records, labels)
    digest = dataset("create", "fraud", place=at(server))[-64:]
    body = {"column": "field.minutes_since_last", "value": "4242.5"}
    erased = requests.post(server.url("/api/captures/fraud/erase"), json=body, timeout=PATIENCE_S)
    assert erased.json() == {"rows": 5, "labels": 5}
    later = dataset("create", "fraud", place=at(server))
    assert later.startswith("fraud@2 ")
    values = parquet.read_table(data / "datasets" / later[-64:] / "data.parquet")["field.minutes_since_last"].to_pylist()
    assert len(values) == 15 and 4242.5 not in values

    assert dataset("delete", "fraud@1", place=at(server)) == "fraud@1 is deleted"
    assert not (data / "datasets" / digest).exists()
    shown = json.loads(dataset("show", "fraud@1", "--json", place=at(server)))
    assert shown["deleted_ms"] and shown["digest"] == digest
    gone = tidegate("dataset", "export", "fraud@1", "--output", tmp_path / "x", place=at(server), check=False)
    assert "was deleted" in gone.stderr and not (tmp_path / "x").exists()
    audit = requests.get(server.url("/api/audit"), timeout=PATIENCE_S).text
    assert "dataset.create" in audit and "dataset.delete" in audit


def test_a_data_set_without_room_on_the_disk_is_refused(serve, tmp_path):
    data = tmp_path / "data"
    server = serve(data=data)
    records, labels = rows(200)
    send(server, records, labels)
    dataset("create", "fraud", place=at(server))
    used = until(lambda: server.metric("tidegate_dataset_disk_bytes"))
    files = [path for path in (data / "datasets").glob("*/*")]
    assert used == sum(path.stat().st_size for path in files) and len(files) == 2
    server.stop()
    server = serve(data=data, more=f"\n[datasets]\nmax_disk_bytes = {int(used) + 2000}\n")
    send(server, records, labels)
    body = {"from_ms": 0, "to_ms": int(time.time() * 1000) + 1000}
    refused = requests.post(server.url("/api/datasets/fraud"), json=body, timeout=PATIENCE_S)
    assert (refused.status_code, refused.json()["code"]) == (409, "datasets_full"), refused.text
    assert "datasets.max_disk_bytes" in refused.json()["error"]
    assert server.metric("tidegate_datasets_refused_total") == 1
    assert not (data / "datasets/tmp").exists() and len(list((data / "datasets").glob("*/*"))) == 2
    dataset("delete", "fraud@1", place=at(server))
    assert until(lambda: server.metric("tidegate_dataset_disk_bytes") == 0)


def test_a_start_removes_folders_of_data_sets_that_have_no_record(serve, tmp_path):
    data = tmp_path / "data"
    server = serve(data=data)
    records, labels = rows(20)
    send(server, records, labels)
    digest = dataset("create", "fraud", place=at(server))[-64:]
    server.stop()
    folders = [data / "datasets" / (letter * 64) for letter in "ab"]
    for folder in folders:
        shutil.copytree(data / "datasets" / digest, folder)
    # What was left an hour ago, and what may be being made.
    os.utime(folders[0] / "dataset.json", (time.time() - 3700, time.time() - 3700))
    server = serve(data=data)
    until(lambda: not folders[0].exists())
    assert folders[1].exists() and (data / "datasets" / digest).exists()
    assert "without a record were removed" in server.log.read_text()


def test_a_version_that_came_while_no_server_ran_is_told(serve, receiver, tmp_path):
    registry = Registry(tmp_path)
    more = rule(receiver, every_s=1)
    server = serve(data=registry.data, more=more)
    records, labels = rows(10)
    send(server, records, labels)
    trigger = until(in_state, server, "open")
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    registry.run("push", FRAUD, "--no-check", "--trigger", trigger["id"])
    server = serve(data=registry.data, more=more)
    # The lease of the server that was killed ends by itself.
    [closed] = until(events, server, "retrain.closed", patience_s=2 * PATIENCE_S)
    assert closed["fields"]["trigger"] == trigger["id"] and closed["fields"]["version"] == "fraud:1"
    time.sleep(6)
    assert len(events(server, "retrain.closed")) == 1


def test_a_kill_leaves_no_half_data_set(serve, tmp_path):
    data = tmp_path / "data"
    server = serve(data=data)
    records, labels = rows()
    for _ in range(3):
        send(server, records, labels, batch=1000)
    server.stop()
    command = [BINARY, "dataset", "create", "fraud", "--data", str(data)]
    began = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    took_s = time.monotonic() - began
    first = json.loads(dataset("list", "--json", place=["--data", data]))[0]
    dataset("delete", "fraud@1", place=["--data", data])
    for share in range(1, 13):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(took_s * share / 12)
        process.send_signal(signal.SIGKILL)
        process.wait()
        for listed in json.loads(dataset("list", "--json", place=["--data", data])):
            file = data / "datasets" / listed["digest"] / "data.parquet"
            assert hashlib.sha256(file.read_bytes()).hexdigest() == listed["digest"] == first["digest"]
            dataset("delete", f"fraud@{listed['version']}", place=["--data", data])
        for folder in (data / "datasets").iterdir():
            if folder.name not in ["tmp", ".lock", ".names.lock", ".id"]:
                assert sorted(file.name for file in folder.iterdir()) == ["data.parquet", "dataset.json"]
    subprocess.run(command, check=True, capture_output=True)
    assert json.loads(dataset("list", "--json", place=["--data", data]))[0]["digest"] == first["digest"]
    assert not (data / "datasets/tmp").exists()


def test_a_version_says_which_data_set_it_was_trained_on(serve, tmp_path):
    registry = Registry(tmp_path)
    server = serve(data=registry.data)
    records, labels = rows(20)
    send(server, records, labels)
    digest = dataset("create", "fraud", place=at(server))[-64:]
    registry.run("push", FRAUD, "--no-check", "--dataset", "fraud@1")
    lineage = json.loads(registry.out("registry", "show", "fraud:1", "--json"))["manifest"]["lineage"]
    assert (lineage["dataset"], lineage["dataset_version"], lineage["dataset_digest"]) == ("fraud", "1", digest)
    folder = registry.out("registry", "fetch", "fraud:1")
    inspected = subprocess.run([BINARY, "inspect", folder], capture_output=True, text=True).stdout
    assert f"data digest {digest}" in inspected and "fraud@1" in inspected
    # A data set from elsewhere is only a name.
    registry.run("push", FRAUD, "--no-check", "--dataset", "warehouse@2026-11")
    lineage = json.loads(registry.out("registry", "show", "fraud:2", "--json"))["manifest"]["lineage"]
    assert (lineage["dataset"], lineage.get("dataset_digest", "")) == ("warehouse", "")
    assert "there is no retraining trigger" in registry.error("push", FRAUD, "--no-check", "--trigger", "rule-1")
    other = tmp_path / "other"
    shutil.copytree(FRAUD, other)
    with (other / "model.toml").open("a") as file:
        file.write(f'\n[lineage]\ndataset = "fraud"\ndataset_version = "1"\ndataset_digest = "{"0" * 64}"\n')
    assert f"has the digest {digest}" in registry.error("push", other, "--no-check")


def test_drift_asks_for_a_version_and_its_push_closes_the_trigger(serve, watched, receiver, tmp_path):  # noqa: F811
    registry = Registry(tmp_path)
    server = serve(watched, window_s=2, data=registry.data, more=rule(receiver, drift_windows=1))
    records, labels = rows()
    fresh = records[1000:]
    for record in fresh:
        record["credit_limit"] = record["credit_limit"] * 100
    send(server, fresh, labels[1000:], batch=250)
    trigger = until(in_state, server, "open")
    path, headers, body = receiver.posts[0]
    assert path == "/hook" and is_signed(headers, body)
    message = json.loads(body)
    assert message["trigger"] == trigger["id"] == headers["x-tidegate-delivery"]
    assert message["reason"]["kind"] == "drift" and message["reason"]["columns"][0] == "credit_limit"
    assert "credit_limit" in message["message"] and "multiplied by" in message["message"]
    shown = json.loads(dataset("show", "fraud@1", "--json", place=at(server)))
    assert message["dataset"] == {
        "reference": "fraud@1", "name": "fraud", "version": 1, "digest": "sha256:" + shown["digest"],
    }  # fmt: skip
    assert shown["labels"] == shown["rows"] == 1000

    listed = tidegate("retrain", "list", place=at(server)).stdout
    assert trigger["id"] in listed and "open" in listed
    pushed = registry.out("push", watched, "--no-check", "--dataset", "fraud@1", "--trigger", trigger["id"])
    closed = until(in_state, server, "closed")
    assert closed["closed_by"] == "fraud:1" and pushed.startswith("fraud:1 ")
    lineage = json.loads(registry.out("registry", "show", "fraud:1", "--json"))["manifest"]["lineage"]
    assert (lineage["trigger"], lineage["dataset_digest"]) == (trigger["id"], shown["digest"])
    assert until(events, server, "retrain.closed")[0]["fields"]["version"] == "fraud:1"
    assert events(server, "retrain.fired") and events(server, "retrain.asked")

    # The data still drifts, and the rule rests.
    send(server, fresh, batch=250)
    held_back = until(events, server, "retrain.held_back")
    assert "cools down" in held_back[0]["fields"]["why"]
    assert len(triggers(server)) == 1 and len(receiver.posts) == 1


def test_a_lost_accuracy_waits_for_approval_and_is_sent_over_a_restart(serve, receiver, tmp_path):
    data = tmp_path / "data"
    more = rule(receiver, accuracy_below=0.9, approval=True)
    server = serve(data=data, more=more)
    records, labels = rows(400)
    # What comes true is often something else than what was predicted.
    sent = send(server, records, [1 - truth if at % 3 == 0 else truth for at, truth in enumerate(labels)])
    trigger = until(in_state, server, "waiting")
    reason = trigger["reason"]
    assert (reason["kind"], reason["metric"], reason["labels"], reason["below"]) == ("accuracy", "accuracy", 400, 0.9)
    assert reason["low"] < reason["value"] < reason["high"] < 0.9
    assert events(server, "retrain.waiting") and trigger["dataset"] == "fraud@1" and len(sent) == 400
    assert receiver.posts == []

    receiver.status = 503
    approved = tidegate("retrain", "approve", trigger["id"], place=at(server)).stdout
    assert approved == f"{trigger['id']} is approved\n"
    again = tidegate("retrain", "approve", trigger["id"], place=at(server), check=False)
    assert again.returncode == 1 and "is approved" in again.stderr
    url = server.url(f"/api/retraining/fraud/{trigger['id']}/approve")
    refused = requests.post(url, timeout=PATIENCE_S)
    assert (refused.status_code, refused.json()["code"]) == (409, "trigger_state")
    until(lambda: in_state(server, "approved")["problem"])
    assert "answered 503" in triggers(server)[0]["problem"]
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    server = serve(data=data, more=more)
    receiver.status = 204
    until(in_state, server, "open")
    assert len(receiver.posts) == 1 and is_signed(*receiver.posts[0][1:])
    assert receiver.bodies("/hook")[0]["reason"] == reason
    audit = requests.get(server.url("/api/audit"), timeout=PATIENCE_S).text
    assert all(action in audit for action in ["retrain.fire", "retrain.approve", "dataset.create"])


def test_a_rule_fires_no_more_often_in_a_week_than_it_may(serve, receiver):
    server = serve(more=rule(receiver, every_s=1, cooldown_s=0, max_per_week=2))
    records, labels = rows(10)
    send(server, records, labels)
    held_back = until(events, server, "retrain.held_back")
    assert "fired 2 times in seven days" in held_back[0]["fields"]["why"]
    found = triggers(server)
    assert len(found) == 2 and found[0]["id"] > found[1]["id"]
    # The later one took the place of the earlier one; the data is the same.
    assert found[1]["state"] == "superseded" and {one["dataset"] for one in found} == {"fraud@1"}


def test_labels_that_came_are_a_reason_and_a_person_may_dismiss_it(serve, receiver, tmp_path):
    data = tmp_path / "data"
    server = serve(data=data, more=rule(receiver, new_labels=30, approval=True))
    records, labels = rows(40)
    send(server, records, labels[:29])
    assert until(lambda: get(server, "/api/retraining")["rules"])[0]["name"] == "rule"
    time.sleep(6)
    assert triggers(server) == []
    send(server, records, labels)
    trigger = until(in_state, server, "waiting")
    assert trigger["reason"]["kind"] == "labels" and trigger["reason"]["labels"] >= 30
    # Without the server: the database is enough.
    dismissed = tidegate("retrain", "dismiss", trigger["id"], place=["--data", data]).stdout
    assert dismissed == f"{trigger['id']} is dismissed\n"
    assert in_state(server, "dismissed")["decided_by"].startswith("ada@")
    assert receiver.posts == []
    unknown = requests.post(server.url("/api/retraining/fraud/rule-1/approve"), timeout=PATIENCE_S)
    assert unknown.status_code == 404, unknown.text
    other = requests.post(server.url(f"/api/retraining/digits/{trigger['id']}/approve"), timeout=PATIENCE_S)
    assert other.status_code == 404, "the permission is that of the endpoint"


def section(name):
    """A rule of the guide."""
    blocks = re.findall(r"^```toml\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)
    return next(block for block in blocks if f'name = "{name}"' in block)


@pytest.mark.parametrize(
    ("name", "address", "path"),
    [
        ("fraud-airflow", "http://127.0.0.1:8080", "/api/v2/dags/train_fraud/dagRuns"),
        ("fraud-github", "https://api.github.com", "/repos/OWNER/REPOSITORY/dispatches"),
    ],
)
def test_the_templates_of_the_guide_make_what_others_take(serve, receiver, name, address, path):
    config = section(name).replace("604800", "1\ndebounce_s = 0").replace(address, receiver.url)
    server = serve(more=config)
    records, labels = rows(10)
    send(server, records, labels)
    trigger = until(in_state, server, "open")
    posted, headers, body = receiver.posts[0]
    assert posted == path and headers["authorization"] == "Bearer TOKEN"
    assert headers["content-type"] == "application/json"
    body = json.loads(body)
    wanted = {"trigger": trigger["id"], "dataset": "fraud@1", "digest": "sha256:" + trigger["dataset_digest"]}
    if name == "fraud-airflow":
        assert body["dag_run_id"] == trigger["id"] and body["logical_date"] is None
        assert body["conf"] == {**wanted, "reason": trigger["reason"]}
    else:
        assert headers["accept"] == "application/vnd.github+json" and headers["x-github-api-version"]
        assert body["event_type"] == "tidegate-retrain" and len(body["client_payload"]) <= 10
        assert body["client_payload"] == {**wanted, "reason": trigger["reason"]["message"]}


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ('[[retrain]]\nname = "a"\nendpoint = "digits"', "it needs a reason to fire"),
        ('[[retrain]]\nname = "a b"\nendpoint = "digits"\nevery_s = 9', "a name has"),
        ('[[retrain]]\nname = "a"\nendpoint = "d"\nevery_s = 9\nwebhook = { url = "ftp://a" }', "must be http or https"),
    ],
)
def test_wrong_rules_are_refused_at_the_start(refusal, settings, problem):
    assert problem in refusal(settings)


def test_the_guide_goes_from_drift_to_a_new_version(watched, tmp_path):  # noqa: F811
    """The worked example: the rule of the guide, its receiver, and training with scikit-learn."""
    registry = Registry(tmp_path)
    registry.run("push", watched)
    port = free_port()
    config = tmp_path / "tidegate.toml"
    settings = section("fraud-drift").replace("drift_window_s = 10", "drift_window_s = 3")
    config.write_text(settings.replace(":9000", f":{port}"))
    assert tomllib.loads(config.read_text())["retrain"][0]["drift_windows"] == 1
    server = Server(registry.data, flags=["--config", str(config)])
    train = [str(watched), "--url", server.url(""), "--tidegate", BINARY, "--data", str(registry.data)]
    command = [sys.executable, ROOT / "examples/retraining/receive.py", "--port", str(port), "--", *train]
    with (tmp_path / "receive.log").open("w") as log:
        environment = {**os.environ, "RETRAIN_SECRET": KEY}
        receive = subprocess.Popen(command, stdout=log, stderr=log, cwd=tmp_path, env=environment)
    try:
        records, labels = rows()
        for record in records:
            record["credit_limit"] *= 100
        send(server, records, labels, batch=500)
        deadline = time.monotonic() + 180
        while not in_state(server, "closed"):
            assert time.monotonic() < deadline, (tmp_path / "receive.log").read_text()
            time.sleep(0.5)
        trigger = triggers(server)[0]
        assert trigger["closed_by"] == "fraud:2"
        version = json.loads(registry.out("registry", "show", "fraud:2", "--json"))
        lineage = version["manifest"]["lineage"]
        assert (lineage["trigger"], lineage["dataset_digest"]) == (trigger["id"], trigger["dataset_digest"])
        # It is served, and answers records as the version before did.
        url = server.url("/v2/models/fraud/versions/2/ready")
        until(lambda: requests.get(url, timeout=PATIENCE_S).status_code == 200)
        forged = requests.post(f"http://127.0.0.1:{port}/", json={"trigger": "x"}, timeout=PATIENCE_S)
        assert forged.status_code == 401
    finally:
        receive.kill()
        receive.wait()
        server.stop()
