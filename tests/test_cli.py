"""The commands that need no server."""

import csv
import json
import subprocess

import numpy as np
import pytest

from conftest import BINARY, GRAPHS, MODELS


def run(*arguments, check=True):
    ended = subprocess.run([BINARY, *map(str, arguments)], capture_output=True, text=True, timeout=120)
    assert not check or ended.returncode == 0, ended.stderr
    return ended


def predicted(*arguments):
    rows = [json.loads(line) for line in run("predict", *arguments).stdout.splitlines()]
    return rows


def test_predict_from_csv_npy_and_json_agree_with_the_reference(digits, tmp_path):
    np.save(tmp_path / "rows.npy", digits.inputs)
    (tmp_path / "rows.json").write_text(json.dumps([[float(x) for x in row] for row in digits.inputs]))
    for source in (MODELS / "digits/heldout/inputs.csv", tmp_path / "rows.npy", tmp_path / "rows.json"):
        rows = predicted(MODELS / "digits", "--input", source)
        assert [str(row["label"]) for row in rows] == digits.labels
        np.testing.assert_allclose([row["probabilities"] for row in rows], digits.probabilities, atol=2e-5)


def test_predict_strings(tmp_path):
    rows = predicted(MODELS / "language", "--input", MODELS / "language/heldout/inputs.csv")
    expected = list(csv.reader((MODELS / "language/heldout/expected.csv").open(encoding="utf-8", newline="")))
    assert [row["label"] for row in rows] == [row[0] for row in expected[1:]]


def test_predict_on_the_portable_engine_gives_the_same(digits):
    rows = predicted(MODELS / "digits", "--engine", "portable", "--input", MODELS / "digits/heldout/inputs.csv")
    assert [str(row["label"]) for row in rows] == digits.labels
    np.testing.assert_allclose([row["probabilities"] for row in rows], digits.probabilities, atol=1e-4)


def test_inspect_shows_signature_operators_and_batch_axis():
    text = run("inspect", MODELS / "digits").stdout
    for part in ("image FP32 [-1, 64]", "batch axis  dynamic", "MatMul x3", "onnxruntime", "memory"):
        assert part in text


def test_models_lists_what_is_found(server):
    for text in (run("models", MODELS).stdout, run("models", "--url", f"http://{server.http}").stdout):
        assert all(name in text for name in ("digits", "fraud", "language"))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions(shell):
    assert "predict" in run("completions", shell).stdout


def test_openapi_is_what_the_server_serves():
    assert "/v2/models/{model}/infer" in json.loads(run("openapi").stdout)["paths"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("serve", "/no/such/folder"), "/no/such/folder"),
        (("inspect", GRAPHS / "README.md"), "README.md"),
        (("predict", MODELS / "digits", "--input", "/no/such/rows.csv"), "/no/such/rows.csv"),
        (("predict", MODELS / "digits", "--input", MODELS / "fraud/heldout/inputs.csv"), "64"),
        (("models", "--url", "http://127.0.0.1:9"), "127.0.0.1:9"),
    ],
)
def test_mistakes_are_told_without_a_panic(arguments, message):
    ended = run(*arguments, check=False)
    assert ended.returncode != 0
    assert message in ended.stdout + ended.stderr
    assert "panicked" not in ended.stderr
