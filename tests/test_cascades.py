"""Cascades: a cheap version answers where it is confident, and another one checks some of its answers."""

import json
import subprocess

import numpy as np
import pytest
import requests
import tritonclient.grpc as grpc
import tritonclient.http as http
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from conftest import BINARY, PATIENCE_S
from onnx_file import identity, table_lookup
from parts import until
from test_fallbacks import model
from test_traffic import call, put

SURE, UNSURE = [0.05, 0.85, 0.05, 0.05], [0.1, 0.6, 0.2, 0.1]
FIRST, SECOND = "1", "2"


@pytest.fixture
def models(tmp_path):
    folder = tmp_path / "models"
    contents = {
        # What a client sends is what it says, so a test decides how confident it is.
        "1": identity(dimensions=("N", 4)),
        # The same order of classes, other probabilities.
        "2": identity(dimensions=("N", 4), operator="Sigmoid"),
        # The first class, whatever is sent.
        "3": identity(dimensions=("N", 4), operator="Floor"),
        # Knows only numbers below 4.
        "4": table_lookup(1.0, 4),
        "5": identity("x", "z", dimensions=("N", 4)),
    }
    model(folder, "m", contents)
    return folder


@pytest.fixture
def server(start, models):
    return start(models)


def policy(second=2, **cascade):
    cascade = {"first": 1, "output": "y", "confidence": 0.8, **cascade}
    return {"versions": [{"version": second}], "cascade": cascade}


def ask(server, *rows, **more):
    data = [value for row in rows for value in row]
    body = {"inputs": [{"name": "x", "shape": [len(rows), 4], "datatype": "FP32", "data": data}], **more}
    return requests.post(server.url("/v2/models/m/infer"), json=body, timeout=PATIENCE_S)


def version(server, *rows, **more):
    answer = ask(server, *rows, **more)
    assert answer.status_code == 200, answer.text
    return answer.json()["model_version"]


def figures(server):
    return call(server, "GET").json()["cascade"]


def test_the_first_version_answers_where_it_is_confident(server):
    put(server, policy())
    until(lambda: call(server, "GET").json()["in_force"])
    assert version(server, SURE) == FIRST
    answer = ask(server, UNSURE).json()
    assert answer["model_version"] == SECOND
    assert answer["outputs"][0]["data"] == pytest.approx(1 / (1 + np.exp(-np.array(UNSURE))), rel=1e-6)
    # Every row must be sure, and what is no probability is not.
    assert version(server, SURE, UNSURE, SURE) == SECOND
    assert version(server, SURE, SURE) == FIRST
    assert version(server, [4.0, -1.0, 0.0, 0.0]) == SECOND
    shown = figures(server)
    assert (shown["first"], shown["unsure"], shown["failed"], shown["audited"]) == (2, 3, 0, 0)
    metrics = requests.get(server.url("/metrics"), timeout=PATIENCE_S).text
    assert 'tidegate_cascade_requests_total{endpoint="m",result="unsure"} 3' in metrics


def test_grpc_goes_through_the_cascade_too(server):
    put(server, policy())
    until(lambda: call(server, "GET").json()["in_force"])
    client = grpc.InferenceServerClient(server.grpc)
    for row, expected in [(SURE, FIRST), (UNSURE, SECOND)]:
        tensor = grpc.InferInput("x", [1, 4], "FP32")
        tensor.set_data_from_numpy(np.array([row], np.float32))
        assert client.infer("m", [tensor]).get_response().model_version == expected
    client.close()


def test_every_wire_form_reaches_the_second_version(server):
    put(server, policy())
    until(lambda: call(server, "GET").json()["in_force"])
    expected = pytest.approx(1 / (1 + np.exp(-np.array(UNSURE))), rel=1e-6)
    answer = requests.post(server.url("/v1/models/m:predict"), json={"instances": [UNSURE]}, timeout=PATIENCE_S)
    assert answer.status_code == 200, answer.text
    predicted = answer.json()["predictions"][0]
    assert (predicted["y"] if isinstance(predicted, dict) else predicted) == expected
    client = http.InferenceServerClient(server.http)
    tensor = http.InferInput("x", [1, 4], "FP32")
    tensor.set_data_from_numpy(np.array([UNSURE], np.float32))
    result = client.infer("m", [tensor])
    assert result.get_response()["model_version"] == SECOND and list(result.as_numpy("y")[0]) == expected
    client.close()
    assert figures(server)["unsure"] == 2


def test_a_request_that_names_a_version_gets_it(server):
    put(server, policy())
    until(lambda: call(server, "GET").json()["in_force"])
    body = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": SURE}]}
    answer = requests.post(server.url("/v2/models/m/versions/2/infer"), json=body, timeout=PATIENCE_S)
    assert answer.json()["model_version"] == SECOND and figures(server)["first"] == 0


def test_a_rule_goes_before_the_cascade(server):
    rule = {"name": "beta", "when": [{"attribute": "header:x-beta", "equals": "1"}], "versions": [{"version": 3}]}
    put(server, {**policy(), "rules": [rule]})
    until(lambda: call(server, "GET").json()["in_force"])
    body = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": SURE}]}
    answer = requests.post(server.url("/v2/models/m/infer"), json=body, headers={"x-beta": "1"}, timeout=PATIENCE_S)
    assert answer.json()["model_version"] == "3" and figures(server)["first"] == 0


def test_the_other_version_answers_for_a_first_one_that_fails(server):
    put(server, policy(first=4))
    until(lambda: call(server, "GET").json()["in_force"])
    assert version(server, [0.0, 1.0, 0.0, 0.0]) == "4"
    assert version(server, [9.0, 0.0, 0.0, 0.0]) == SECOND
    assert figures(server)["failed"] == 1
    # A client's mistake is said once, by the first version that sees it.
    wrong = requests.post(server.url("/v2/models/m/infer"), json={"inputs": []}, timeout=PATIENCE_S)
    assert wrong.status_code == 400


def test_checked_answers_agree_or_stop_the_cascade(server):
    put(server, policy(audit="100%", agreement=0.9))
    until(lambda: call(server, "GET").json()["in_force"])
    for _ in range(60):
        assert version(server, SURE) == FIRST
    until(lambda: figures(server)["audited"] == 60)
    assert figures(server)["disagreed"] == 0 and not figures(server)["is_stopped"]
    put(server, policy(second=3, audit="100%", agreement=0.9))
    until(lambda: figures(server)["audited"] == 0)

    def stopped():
        version(server, SURE)
        return figures(server)["is_stopped"]

    until(stopped)
    assert version(server, SURE) == "3"
    events = until(lambda: [
        event
        for event in requests.get(server.url("/api/events"), timeout=PATIENCE_S).json()
        if event["name"] == "cascade.stopped"
    ])
    assert len(events) == 1 and events[0]["fields"]["disagreed"] > 0
    ready = requests.get(server.url("/v2/health/ready"), timeout=PATIENCE_S).json()
    assert any("cascade of m stopped" in problem for problem in ready["problems"]), ready


def test_what_cannot_be_a_cascade_is_refused(server):
    for cascade, text in [
        ({"confidence": 1.5}, "confidence"),
        ({"agreement": 0.9}, "audit"),
        ({"first": 9}, "version 9"),
        ({"output": ""}, "cascade"),
        ({"speed": 1}, "unknown field"),
    ]:
        answer = call(server, "PUT", policy=policy(**cascade))
        assert answer.status_code == 400 and text in answer.json()["error"], answer.text
    # Loaded versions show what no policy can: this one waits, and says why.
    put(server, policy(first=5))
    waiting = until(lambda: call(server, "GET").json().get("waiting"))
    assert 'it has no output "y"' in waiting, waiting


def test_an_answer_without_the_output_is_left_to_the_other_version(server):
    put(server, policy())
    until(lambda: call(server, "GET").json()["in_force"])
    assert version(server, SURE, outputs=[{"name": "y", "parameters": {"classification": 1}}]) == SECOND
    assert version(server, SURE, outputs=[{"name": "y"}]) == FIRST


def probabilities(path, values):
    path.write_text("".join(json.dumps({"p": list(map(float, row))}) + "\n" for row in values))
    return str(path)


def test_a_fitted_threshold_keeps_its_target_on_new_data(tmp_path):
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(3).permutation(len(images))
    images, labels = images[order] / 16, labels[order]
    expensive = LogisticRegression(max_iter=2000).fit(images[:600], labels[:600])
    cheap = LogisticRegression(max_iter=2000).fit(images[:600, ::3], labels[:600])
    pairs = cheap.predict_proba(images[:, ::3]), expensive.predict_proba(images)
    files = [probabilities(tmp_path / f"{place}.json", pair[600:1200]) for place, pair in enumerate(pairs)]
    command = [BINARY, "cascade", "fit", *files, "--output", "p", "--target", "0.97"]
    fitted = json.loads(subprocess.run([*command, "--json"], capture_output=True, check=True).stdout)
    confidence = pairs[0].max(axis=1)
    agrees = (pairs[0].argmax(axis=1) == pairs[1].argmax(axis=1)) | (confidence < fitted["confidence"])
    seen, new = agrees[600:1200], agrees[1200:]
    assert fitted["agreement"] == pytest.approx(seen.mean()) and fitted["agreement_at_least"] >= 0.97
    assert fitted["answered"] == pytest.approx((confidence[600:1200] >= fitted["confidence"]).mean())
    assert fitted["answered"] > 0.3 and new.mean() >= 0.96
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "[cascade]" in text and f"confidence = {fitted['confidence']}" in text
    short = probabilities(tmp_path / "short.json", pairs[1][600:700])
    wrong = subprocess.run([*command[:3], files[0], short, *command[5:]], capture_output=True, text=True)
    assert wrong.returncode == 1 and "600 rows and the second 100" in wrong.stderr
