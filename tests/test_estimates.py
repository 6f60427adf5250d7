"""The accuracy that a server estimates before labels come, of a model of scikit-learn whose data shift."""

import json

import numpy as np
import pytest
import requests
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score
from sklearn.naive_bayes import GaussianNB

from conftest import MODELS, PATIENCE_S
from parts import Receiver, until
from test_quality import get, label, run
from test_retraining import events, in_state, rule

COLUMNS = 4
CAPTURE = """
[capture]
flush_s = 1
{more}

[[capture.endpoint]]
name = "{name}"
"""


def two_classes(random, rows, spread):
    """Rows whose second class is the likelier the larger their first number is; a small spread makes all of them hard."""
    signal = random.normal(0, spread, rows)
    inputs = np.column_stack([signal + random.normal(0, 0.1, rows) for _ in range(COLUMNS)])
    truth = random.random(rows) < 1 / (1 + np.exp(-2 * signal))
    return inputs.astype(np.float32), truth.astype(int)


def three_classes(random, rows, spread):
    """Rows around three centres; a large spread mixes them."""
    truth = random.integers(0, 3, rows)
    centres = np.array([[0, 0, 0, 0], [2, 2, 0, 0], [0, 2, 2, 0]])
    return (centres[truth] + random.normal(0, spread, (rows, COLUMNS))).astype(np.float32), truth


def write_bundle(folder, name, model, classes):
    folder.mkdir()
    kind = [("x", FloatTensorType([None, COLUMNS]))]
    onnx = to_onnx(model, initial_types=kind, options={"zipmap": False}, target_opset=15)
    (folder / "model.onnx").write_bytes(onnx.SerializeToString())
    (folder / "labels.txt").write_text("\n".join(classes) + "\n")
    (folder / "model.toml").write_text(
        f'schema = 1\nname = "{name}"\nartifact = "model.onnx"\n'
        '[[outputs]]\nname = "probabilities"\nlabels = "labels.txt"\n[quality]\noutput = "probabilities"\n'
    )
    return folder


@pytest.fixture
def serve(start, tmp_path):
    def serve(model, name, classes, capture="", rules="", **options):
        bundle = tmp_path / name
        if not bundle.exists():
            write_bundle(bundle, name, model, classes)
        config = tmp_path / "tidegate.toml"
        config.write_text(CAPTURE.format(name=name, more=capture) + rules)
        return start(bundle, flags=["--config", str(config)], **options)

    return serve


def ask(server, name, inputs, batch=500):
    """Predicts rows; their ids and probabilities."""
    ids, scores = [], []
    for begin in range(0, len(inputs), batch):
        part = inputs[begin : begin + batch]
        tensor = {"name": "x", "shape": list(part.shape), "datatype": "FP32", "data": part.ravel().tolist()}
        answer = server.infer(name, {"inputs": [tensor], "outputs": [{"name": "probabilities"}]}).json()
        ids += [(answer["parameters"]["prediction_id"], row) for row in range(len(part))]
        scores += np.reshape(answer["outputs"][0]["data"], (len(part), -1)).tolist()
    return ids, np.array(scores)


def tell(server, name, ids, truth):
    feedback = [{"prediction_id": one, "row": row, "label": int(what)} for (one, row), what in zip(ids, truth, strict=True)]
    for begin in range(0, len(feedback), 5000):
        label(server, {"feedback": feedback[begin : begin + 5000]}, name)


def estimate(server, name):
    [version] = get(server, f"/api/quality/{name}/accuracy")["versions"]
    return version["estimated"]


def figures(estimated):
    return {metric["name"]: metric for metric in estimated["metrics"]}


def overconfident():
    """Four copies of one number count four times for it."""
    inputs, truth = two_classes(np.random.default_rng(1), 20_000, 1.5)
    return GaussianNB().fit(inputs, truth)


def test_the_estimate_follows_a_shift_of_the_data_before_labels_come(serve, tmp_path):
    random = np.random.default_rng(4)
    capture = "estimate_labels = 4000"
    server = serve(overconfident(), "risk", ["good", "bad"], capture=capture, data=tmp_path / "data")
    inputs, truth = two_classes(random, 8000, 1.5)
    ids, scores = ask(server, "risk", inputs)
    assert "not calibrated: 0 of 4000 labelled predictions" in estimate(server, "risk")["problem"]
    tell(server, "risk", ids[:3900], truth[:3900])
    estimated = until(lambda: "3900 of 4000" in estimate(server, "risk")["problem"] and estimate(server, "risk"))
    assert estimated["metrics"] == [] and estimated["reference_labels"] == 0
    assert server.metric("tidegate_estimated_accuracy", endpoint="risk") is None
    tell(server, "risk", ids[3900:6000], truth[3900:6000])
    until(lambda: estimate(server, "risk")["problem"] is None)
    estimated = estimate(server, "risk")
    # Whole requests belong to the reference, and the rows after them are estimated, labelled or not.
    assert estimated["reference_labels"] == 4000
    before = figures(estimated)
    assert before["accuracy"]["n"] == 4000 and before["accuracy"]["realized"]["n"] == 2000
    known = scores[4000:, 1] >= 0.5
    assert before["accuracy"]["low"] < accuracy_score(truth[4000:], known) < before["accuracy"]["high"]

    # The data become harder, and nobody has told the truth yet.
    shifted, later_truth = two_classes(random, 6000, 0.4)
    later_ids, later_scores = ask(server, "risk", shifted)
    shown = figures(estimate(server, "risk"))
    assert shown["accuracy"]["n"] == 10_000 and shown["accuracy"]["realized"]["n"] == 2000
    # Over all rows that are estimated, as they are together in the hour.
    all_truth = np.concatenate([truth[4000:], later_truth])
    all_scores = np.concatenate([scores[4000:, 1], later_scores[:, 1]])
    answered = all_scores >= 0.5
    real = {
        "accuracy": accuracy_score(all_truth, answered),
        "f1": f1_score(all_truth, answered),
        "roc_auc": roc_auc_score(all_truth, all_scores),
    }
    for name, value in real.items():
        assert shown[name]["low"] < value < shown[name]["high"], (name, value, shown[name])
        assert shown[name]["high"] - shown[name]["low"] < 0.12
    assert shown["accuracy"]["high"] < before["accuracy"]["value"], "the fall is seen without its labels"
    # The scores themselves claim much more.
    claimed = np.maximum(all_scores, 1 - all_scores).mean()
    assert claimed > shown["accuracy"]["high"] + 0.05

    text = run(server, "accuracy", "risk")
    assert "estimated without labels, calibrated on 4000 labels" in text and "ESTIMATED" in text
    until(lambda: server.metric("tidegate_estimated_accuracy_rows", endpoint="risk", version="1") == 10_000)
    value = server.metric("tidegate_estimated_accuracy", endpoint="risk", version="1", metric="accuracy")
    assert value == pytest.approx(shown["accuracy"]["value"])
    page = requests.get(server.url("/console/quality"), timeout=PATIENCE_S).text
    assert "calibrated on 4,000 labels" in page, page

    # Once they have come, the truth is beside the estimate.
    tell(server, "risk", later_ids, later_truth)
    tell(server, "risk", ids[6000:], truth[6000:])
    realized = figures(estimate(server, "risk"))["accuracy"]["realized"]
    assert realized["n"] == 10_000 and realized["value"] == pytest.approx(real["accuracy"], abs=1e-9)

    # The reference outlives the process, and labels that came later do not change it.
    server.stop()
    server = serve(None, "risk", ["good", "bad"], capture=capture, data=tmp_path / "data")
    again = estimate(server, "risk")
    assert again["reference_until_ms"] == estimated["reference_until_ms"]
    assert figures(again)["accuracy"]["value"] == pytest.approx(shown["accuracy"]["value"], abs=1e-12)


def test_the_accuracy_of_many_classes_is_estimated(serve):
    random = np.random.default_rng(3)
    inputs, truth = three_classes(random, 2000, 1.0)
    model = GaussianNB().fit(inputs, truth)
    server = serve(model, "shape", ["a", "b", "c"], capture="estimate_labels = 1500")
    inputs, truth = three_classes(random, 1500, 1.0)
    ids, _ = ask(server, "shape", inputs)
    tell(server, "shape", ids, truth)
    # The same classes, of rows that are hard to tell apart: what is likely for each row stays as it was.
    many, many_truth = three_classes(random, 40_000, 1.0)
    hard = np.flatnonzero(model.predict_proba(many).max(axis=1) < 0.9)[:4000]
    shifted, later_truth = many[hard], many_truth[hard]
    _, scores = ask(server, "shape", shifted)
    until(lambda: figures(estimate(server, "shape")).get("accuracy"))
    shown = figures(estimate(server, "shape"))
    assert list(shown) == ["accuracy"] and shown["accuracy"]["n"] == len(hard)
    real = accuracy_score(later_truth, scores.argmax(axis=1))
    # The interval of many classes does not know how few labels the reference has of such rows.
    assert abs(shown["accuracy"]["value"] - real) < 0.05, (real, shown)
    assert shown["accuracy"]["realized"] is None


def test_what_has_no_probabilities_is_not_estimated(serve, start, tmp_path):
    config = tmp_path / "tidegate.toml"
    config.write_text(CAPTURE.format(name="digits", more="estimate_labels = 100"))
    server = start(MODELS / "digits", flags=["--config", str(config)])
    body = {
        "inputs": [{"name": "image", "shape": [1, 64], "datatype": "FP32", "data": [0.0] * 64}],
        "outputs": [{"name": "probabilities", "parameters": {"classification": 3}}],
    }
    answer = server.infer("digits", body).json()
    label(server, {"prediction_id": answer["parameters"]["prediction_id"], "label": 3}, "digits")
    estimated = estimate(server, "digits")
    assert estimated["metrics"] == [] and "0 of 100 labelled predictions with probabilities" in estimated["problem"]


def test_an_estimate_that_falls_asks_for_a_version_before_labels_come(serve):
    receiver = Receiver()
    try:
        rules = rule(receiver, endpoint="risk", estimated_accuracy_below=0.75, labelled=False)
        server = serve(overconfident(), "risk", ["good", "bad"], rules=rules)
        random = np.random.default_rng(5)
        inputs, truth = two_classes(random, 1000, 1.5)
        ids, _ = ask(server, "risk", inputs)
        tell(server, "risk", ids, truth)
        shifted, _ = two_classes(random, 4000, 0.4)
        ask(server, "risk", shifted)
        reason = until(in_state, server, "open")["reason"]
        assert (reason["kind"], reason["metric"], reason["rows"]) == ("estimated_accuracy", "accuracy", 4000)
        assert reason["low"] < reason["value"] < reason["high"] < 0.75
        assert "estimated without labels" in json.loads(receiver.posts[0][2])["message"]
        assert events(server, "retrain.asked")
    finally:
        receiver.stop()
