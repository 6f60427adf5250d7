"""Captured predictions, their labels, accuracy and drift, as clients of a server see them."""

import csv
import json
import shutil
import signal
import subprocess
import uuid

import numpy as np
import pyarrow.parquet as parquet
import pytest
import requests
import tritonclient.grpc as grpc
import tritonclient.http as http
from sklearn.metrics import accuracy_score, f1_score, log_loss, precision_score, recall_score, roc_auc_score

from conftest import BINARY, MODELS, PATIENCE_S
from parts import until

FRAUD = MODELS / "fraud"
CAPTURE = """
[capture]
drift_window_s = {window_s}

[[capture.endpoint]]
name = "{name}"
rate = {rate}
"""


def rows(limit=2000):
    """Held-out transactions as records, and whether each was fraudulent."""
    with (FRAUD / "heldout/inputs.csv").open() as file:
        records = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    with (FRAUD / "heldout/labels.csv").open() as file:
        labels = [int(row["label"]) for row in csv.DictReader(file)]
    # The pipeline makes these itself.
    for record in records:
        del record["amount_to_mean"], record["amount_to_limit"]
        for name in ["is_foreign", "is_online", "chip_present", "device_new", "billing_matches_shipping"]:
            record[name] = bool(record[name])
    return records[:limit], labels[:limit]


@pytest.fixture
def serve(start, tmp_path):
    def serve(*paths, name="fraud", rate=1.0, window_s=3600, more="", **options):
        config = tmp_path / "tidegate.toml"
        config.write_text(CAPTURE.format(name=name, rate=rate, window_s=window_s) + more)
        return start(*(paths or [FRAUD]), flags=["--config", str(config)], **options)

    return serve


def predict(server, records, name="fraud", **options):
    answer = requests.post(
        server.url(f"/v1/endpoints/{name}/predict"), json={"instances": records}, timeout=PATIENCE_S, **options
    )
    assert answer.status_code == 200, answer.text
    return answer


def label(server, body, name="fraud", status=200):
    answer = requests.post(server.url(f"/v1/endpoints/{name}/feedback"), json=body, timeout=PATIENCE_S)
    assert answer.status_code == status, answer.text
    return answer.json()


def get(server, path, status=200, **params):
    answer = requests.get(server.url(path), params=params, timeout=PATIENCE_S)
    assert answer.status_code == status, answer.text
    return answer.json()


def accuracy(server, name="fraud"):
    versions = get(server, f"/api/quality/{name}/accuracy")["versions"]
    return {version["version"]: version for version in versions}


def value(version, name):
    return next(metric["value"] for metric in version["metrics"] if metric["name"] == name)


def send_labelled(server, records, labels, batch=100):
    scores = []
    for begin in range(0, len(records), batch):
        part = records[begin : begin + batch]
        answer = predict(server, part).json()
        scores += [prediction["score"] for prediction in answer["predictions"]]
        feedback = [
            {"prediction_id": answer["prediction_id"], "row": row, "label": truth}
            for row, truth in enumerate(labels[begin : begin + batch])
        ]
        assert label(server, {"feedback": feedback})["new"] == len(part)
    return scores


def test_accuracy_is_what_scikit_learn_says_of_the_same_labels(serve):
    server = serve()
    records, labels = rows()
    scores = send_labelled(server, records, labels)
    version = accuracy(server)["1"]
    assert (version["predictions"], version["labelled"], version["unusable_labels"]) == (2000, 2000, 0)
    answered = [score > 0.5 for score in scores]
    assert value(version, "accuracy") == pytest.approx(accuracy_score(labels, answered), abs=1e-9)
    assert value(version, "precision") == pytest.approx(precision_score(labels, answered), abs=1e-9)
    assert value(version, "recall") == pytest.approx(recall_score(labels, answered), abs=1e-9)
    assert value(version, "f1") == pytest.approx(f1_score(labels, answered), abs=1e-9)
    # The area comes from scores in 512 bins, and its interval covers what that may be off by.
    area = next(metric for metric in version["metrics"] if metric["name"] == "roc_auc")
    assert area["value"] == pytest.approx(roc_auc_score(labels, scores), abs=0.02)
    assert area["low"] < roc_auc_score(labels, scores) < area["high"]
    clipped = np.clip(scores, 1e-4, 1 - 1e-4)
    assert value(version, "log_loss") == pytest.approx(log_loss(labels, clipped), rel=0.05)
    metric = next(metric for metric in version["metrics"] if metric["name"] == "accuracy")
    assert metric["low"] < metric["value"] < metric["high"] and metric["n"] == 2000
    confusion = version["confusion"]
    assert sum(map(sum, confusion["counts"])) == 2000

    report = get(server, "/api/quality/fraud/accuracy", by="field.is_online")["versions"][0]
    segments = {segment["value"]: segment for segment in report["segments"]}
    online = [record["is_online"] for record in records]
    assert {name: segment["labelled"] for name, segment in segments.items()} == {
        "true": sum(online),
        "false": len(online) - sum(online),
    }
    of_online = [at for at, is_online in enumerate(online) if is_online]
    expected = accuracy_score([labels[at] for at in of_online], [answered[at] for at in of_online])
    assert value(segments["true"], "accuracy") == pytest.approx(expected, abs=1e-9)


def test_every_protocol_gives_the_id_that_labels_name(serve):
    server = serve(MODELS / "digits", name="digits")
    image = np.zeros((2, 64), np.float32)
    ids = []

    client = http.InferenceServerClient(server.http)
    tensor = http.InferInput("image", [2, 64], "FP32")
    tensor.set_data_from_numpy(image)
    answer = client.infer("digits", [tensor])
    ids.append(answer.get_response()["parameters"]["prediction_id"])

    client = grpc.InferenceServerClient(server.grpc)
    tensor = grpc.InferInput("image", [2, 64], "FP32")
    tensor.set_data_from_numpy(image)
    answer = client.infer("digits", [tensor])
    ids.append(answer.get_response().parameters["prediction_id"].string_param)

    instances = {"instances": image.tolist()}
    answer = requests.post(server.url("/v1/models/digits:predict"), json=instances, timeout=PATIENCE_S)
    ids.append(answer.headers["tidegate-prediction-id"])

    assert len(set(ids)) == 3 and all(uuid.UUID(one).version == 7 for one in ids)
    for one in ids:
        feedback = [{"prediction_id": one, "row": row, "label": truth} for row, truth in enumerate([3, "3"])]
        assert label(server, {"feedback": feedback}, "digits")["new"] == 2
    version = accuracy(server, "digits")["1"]
    assert (version["predictions"], version["labelled"], version["unusable_labels"]) == (6, 6, 0)


def test_a_correction_replaces_a_label_and_the_same_one_counts_once(serve):
    server = serve()
    records, _ = rows(1)
    prediction = predict(server, records).json()["prediction_id"]
    one = {"prediction_id": prediction, "label": "legitimate"}
    assert label(server, one) == {"new": 1, "corrected": 0, "same": 0, "not_captured": 0}
    assert label(server, one)["same"] == 1
    before = value(accuracy(server)["1"], "accuracy")
    assert label(server, {"prediction_id": prediction, "label": "fraud"})["corrected"] == 1
    version = accuracy(server)["1"]
    assert version["labelled"] == 1
    assert value(version, "accuracy") == 1 - before
    assert server.metric("tidegate_feedback_total", endpoint="fraud", outcome="corrected") == 1


def test_wrong_labels_are_refused_as_a_whole_or_counted_apart(serve):
    server = serve()
    records, _ = rows(1)
    prediction = predict(server, records).json()["prediction_id"]
    good = {"prediction_id": prediction, "label": 1}
    for wrong, problem in [
        ({"prediction_id": "7", "label": 1}, "feedback 1: prediction_id is not the id of an answer"),
        ({"prediction_id": prediction, "label": [1]}, "feedback 1: the label must be"),
    ]:
        refused = label(server, {"feedback": [good, wrong]}, status=400)
        assert refused["code"] == "malformed_request" and problem in refused["error"]
    assert accuracy(server)["1"]["labelled"] == 0
    label(server, {"prediction_id": prediction, "label": "Fraud"})
    version = accuracy(server)["1"]
    assert (version["labelled"], version["unusable_labels"], version["metrics"]) == (1, 1, [])
    unknown = str(uuid.UUID(prediction).hex[:-4] + "0000")
    label(server, {"prediction_id": str(uuid.UUID(unknown)), "label": 1})
    assert accuracy(server)["1"]["labelled"] == 1
    assert label(server, good, name="digits", status=404)["code"] == "not_found"


def test_labels_and_predictions_survive_a_kill(serve, tmp_path):
    data = tmp_path / "kept"
    server = serve(data=data)
    records, labels = rows(200)
    send_labelled(server, records, labels)
    before = accuracy(server)["1"]
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    server = serve(data=data)
    after = accuracy(server)["1"]
    assert after["labelled"] == 200
    assert after["metrics"] == before["metrics"]


def run(server, *arguments):
    command = [BINARY, "quality", *map(str, arguments), "--url", server.url("")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_the_command_line_labels_from_a_file_and_shows_the_accuracy(serve, tmp_path):
    server = serve()
    records, labels = rows(50)
    prediction = predict(server, records).json()["prediction_id"]
    lines = [f"{prediction},{row},{truth}" for row, truth in enumerate(labels)]
    path = tmp_path / "labels.csv"
    path.write_text("prediction_id,row,label\n" + "\n".join(lines) + "\n")
    assert run(server, "label", "fraud", path).startswith("50 new, 0 corrected, 0 the same")
    shown = run(server, "accuracy", "fraud")
    assert "version 1: 50 of 50 captured rows have a label" in shown and "accuracy" in shown
    assert "no version with a baseline was called" in run(server, "drift", "fraud")
    captures = [json.loads(line) for line in run(server, "captures", "fraud", "--limit", 3).splitlines()]
    assert [row["row"] for row in captures] == [49, 48, 47]


def test_the_share_of_captured_requests_is_the_rate(serve):
    server = serve(rate=0.25)
    records, _ = rows(1)
    ids = [predict(server, records).json()["prediction_id"] for _ in range(400)]
    captured = accuracy(server)["1"]["predictions"]
    # Six standard deviations of a binomial distribution.
    assert abs(captured - 100) < 53
    receipt = label(server, {"feedback": [{"prediction_id": one, "label": 0} for one in ids]})
    assert (receipt["new"], receipt["not_captured"]) == (captured, 400 - captured)
    assert accuracy(server)["1"]["labelled"] == captured


def test_captured_rows_are_parquet_that_others_read(serve, tmp_path):
    data = tmp_path / "data"
    server = serve(data=data)
    records, _ = rows(3)
    answer = predict(server, records).json()
    captures = get(server, "/api/captures/fraud")["rows"]
    assert [row["row"] for row in captures] == [2, 1, 0]
    table = parquet.read_table(data / "captures/endpoint=fraud")
    columns = table.to_pydict()
    assert set(columns["prediction_id"]) == {answer["prediction_id"]}
    assert columns["field.amount"] == [record["amount"] for record in records]
    assert columns["field.is_online"] == [record["is_online"] for record in records]
    scores = [round(probabilities[1], 4) for probabilities in columns["output.probabilities"]]
    assert scores == [prediction["score"] for prediction in answer["predictions"]]
    assert not any((data / "captures").glob("**/tmp/*"))


def test_labels_meet_the_rows_that_were_answered_where_some_have_failed(serve):
    server = serve()
    records, _ = rows(3)
    records[0] = {**records[0], "amount": "much"}
    url = server.url("/v1/endpoints/fraud/predict")
    answer = requests.post(url, params={"partial": "true"}, json={"instances": records}, timeout=PATIENCE_S).json()
    assert answer["predictions"][0] is None and answer["predictions"][2] is not None
    feedback = [{"prediction_id": answer["prediction_id"], "row": row, "label": 0} for row in range(3)]
    label(server, {"feedback": feedback})
    version = accuracy(server)["1"]
    assert (version["predictions"], version["labelled"]) == (2, 2)
    assert sorted(row["row"] for row in get(server, "/api/captures/fraud")["rows"]) == [1, 2]


def test_classes_that_a_client_asks_for_are_not_taken_for_probabilities(serve):
    server = serve(MODELS / "digits", name="digits")
    body = {
        "inputs": [{"name": "image", "shape": [1, 64], "datatype": "FP32", "data": [0.0] * 64}],
        "outputs": [{"name": "probabilities", "parameters": {"classification": 3}}],
    }
    answer = server.infer("digits", body).json()
    label(server, {"prediction_id": answer["parameters"]["prediction_id"], "label": 3}, "digits")
    version = accuracy(server, "digits")["1"]
    assert (version["predictions"], version["labelled"], version["metrics"]) == (1, 0, [])


def test_nothing_is_captured_of_other_endpoints_and_without_configuration(serve, start):
    server = serve(FRAUD, MODELS / "digits", name="digits")
    records, _ = rows(1)
    assert "prediction_id" not in predict(server, records).json()
    plain = start(FRAUD)
    answer = predict(plain, records)
    assert "tidegate-prediction-id" not in answer.headers
    assert get(plain, "/api/quality/fraud/accuracy", status=404)["code"] == "not_found"


def test_marked_secrets_are_in_no_captured_file(serve, tmp_path):
    data = tmp_path / "data"
    bundle = tmp_path / "language"
    shutil.copytree(MODELS / "language", bundle)
    server = serve(bundle, name="language", data=data, more='\n[privacy]\ndetectors = ["email", "card"]\n')
    secrets = ["ada@example.org", "4111 1111 1111 1111"]
    for secret in secrets:
        predict(server, [{"text": f"Schreib an {secret} bitte"}], "language")
    captures = get(server, "/api/captures/language")["rows"]
    assert len(captures) == 2 and all("Schreib an" in row["field.text"] for row in captures)
    seen = json.dumps(captures) + server.log.read_text()
    for path in (data / "captures").rglob("*.parquet"):
        seen += json.dumps(parquet.read_table(path).to_pydict(), default=str)
    assert not any(secret in seen for secret in secrets)


def test_a_baseline_is_made_of_captured_predictions(serve, tmp_path):
    data = tmp_path / "data"
    server = serve(data=data)
    records, _ = rows(500)
    predict(server, records)
    get(server, "/api/captures/fraud")
    captures = data / "captures/endpoint=fraud/version=1"
    made = subprocess.run(
        [BINARY, "baseline", "--captured", captures, "--output", tmp_path / "baseline.json"], capture_output=True, text=True
    )
    assert "28 columns of 500 rows" in made.stdout, made.stderr
    columns = json.loads((tmp_path / "baseline.json").read_text())["baseline"]["columns"]
    assert {column["name"] for column in columns} == set(records[0])


def test_the_rows_and_labels_of_a_subject_are_erased(serve, tmp_path):
    data = tmp_path / "data"
    server = serve(data=data)
    records, labels = rows(20)
    for record in records[:5]:
        record["minutes_since_last"] = 4242.5
    for record, truth in zip(records, labels):
        prediction = predict(server, [record]).json()["prediction_id"]
        label(server, {"prediction_id": prediction, "label": truth})
    # Of this request only one row is the subject's, and keeps no label.
    answer = predict(server, [records[0], records[9]]).json()
    feedback = [{"prediction_id": answer["prediction_id"], "row": row, "label": 0} for row in range(2)]
    assert label(server, {"feedback": feedback})["new"] == 2
    missing = {"column": "field.customer", "value": "7"}
    refused = requests.post(server.url("/api/captures/fraud/erase"), json=missing, timeout=PATIENCE_S)
    assert refused.status_code == 404, refused.text
    body = {"column": "field.minutes_since_last", "value": "4242.50"}
    erased = requests.post(server.url("/api/captures/fraud/erase"), json=body, timeout=PATIENCE_S)
    assert (erased.status_code, erased.json()) == (200, {"rows": 6, "labels": 6}), erased.text
    version = accuracy(server)["1"]
    assert (version["predictions"], version["labelled"]) == (16, 16)
    values = parquet.read_table(data / "captures/endpoint=fraud")["field.minutes_since_last"].to_pylist()
    assert len(values) == 16 and 4242.5 not in values


def drifted(server):
    versions = get(server, "/api/quality/fraud/drift")["versions"]
    windows = versions[0]["windows"] if versions else []
    return [window for window in windows if any(column["drifted"] for column in window["columns"])]


@pytest.fixture
def watched(tmp_path):
    """The fraud model with the profile of half of its held-out transactions."""
    bundle = tmp_path / "fraud"
    shutil.copytree(FRAUD, bundle)
    lines = (FRAUD / "heldout/inputs.csv").read_text().splitlines()
    train = tmp_path / "train.csv"
    train.write_text("\n".join(lines[:1001]) + "\n")
    made = [BINARY, "baseline", str(train), "--output", str(bundle / "baseline.json")]
    subprocess.run(made, check=True, capture_output=True)
    manifest = bundle / "model.toml"
    text = manifest.read_text()
    manifest.write_text(text.replace('artifact = "model.onnx"\n', 'artifact = "model.onnx"\nbaseline = "baseline.json"\n'))
    return bundle


def send_window(server, records):
    for begin in range(0, len(records), 250):
        predict(server, records[begin : begin + 250])


def test_a_feature_in_another_unit_is_found_and_named(serve, watched):
    server = serve(watched, window_s=2)
    records, _ = rows()
    fresh = records[1000:]
    for record in fresh:
        record["credit_limit"] = record["credit_limit"] * 100

    send_window(server, fresh)
    window = until(drifted, server)[0]
    first = window["columns"][0]
    assert first["column"] == "credit_limit" and first["drifted"]
    assert any("multiplied by" in cause for cause in first["causes"]), first["causes"]
    assert not next(column for column in window["columns"] if column["column"] == "hour")["drifted"]
    assert server.metric("tidegate_drifted_columns", model="fraud") >= 1
    events = get(server, "/api/events")
    found = [event for event in events if event["name"] == "drift.detected"]
    assert found and "credit_limit" in json.dumps(found[0])


def test_traffic_like_the_baseline_is_no_drift(serve, watched):
    server = serve(watched, window_s=2)
    records, _ = rows()

    send_window(server, records[1000:])

    def are_judged():
        windows = get(server, "/api/quality/fraud/drift")["versions"][0]["windows"]
        return sum(window["rows"] for window in windows) == 1000

    assert until(are_judged)
    assert drifted(server) == []


def test_a_baseline_that_does_not_fit_is_a_problem_and_no_alarm(serve, watched, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text("amount,colour\n" + "1.0,red\n2.0,blue\n" * 100)
    made = [BINARY, "baseline", str(other), "--output", str(watched / "baseline.json")]
    subprocess.run(made, check=True, capture_output=True)
    server = serve(watched, window_s=1)
    records, _ = rows(1)
    predict(server, records)

    def problem():
        return get(server, "/api/quality/fraud/drift")["versions"]

    version = until(problem)[0]
    assert "colour" in version["problem"] and version["windows"] == []
    assert any("colour" in one for one in get(server, "/v2/health/ready")["problems"])


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ('[[capture.endpoint]]\nname = "digits"\nrate = 2.0', "rate is 2, it must be from 0 to 1"),
        ('[capture]\nflush_s = 0\n[[capture.endpoint]]\nname = "digits"', "capture.flush_s is 0"),
        ('[[capture.endpoint]]\nname = "a"\n[[capture.endpoint]]\nname = "a"', "is there twice"),
    ],
)
def test_wrong_settings_are_refused_at_the_start(refusal, settings, problem):
    assert problem in refusal(settings)
