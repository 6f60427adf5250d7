"""The commands that need no server."""

import csv
import json
import shutil
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
    # Without the manifest, whose pipeline takes records.
    model = shutil.copy(MODELS / "language/model.onnx", tmp_path / "language.onnx")
    rows = predicted(model, "--input", MODELS / "language/heldout/inputs.csv")
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


def predict_rows(tmp_path, kind, name, text):
    (tmp_path / name).write_text(text)
    return predicted(GRAPHS / f"identity_{kind}.onnx", "--input", tmp_path / name)


def test_predict_reads_missing_numbers_and_what_pandas_writes(tmp_path):
    rows = [{"y": [1.5, None]}, {"y": [2.0, 3.0]}]
    for name, text in {
        "a.csv": "a,b\n1.5,\n2,3\n",
        "b.json": "[[1.5, NaN], [2, 3]]",
        "c.json": '[{"a": 1.5, "b": null}, {"a": 2, "b": 3}]',
        "d.json": '{"columns": ["a", "b"], "index": [0, 1], "data": [[1.5, null], [2, 3]]}',
        "e.json": '{"a": {"0": 1.5, "1": 2}, "b": {"0": null, "1": 3}}',
        "f.jsonl": '{"a": 1.5, "b": null}\n{"a": 2, "b": 3}\n',
    }.items():
        assert predict_rows(tmp_path, "fp32", name, text) == rows, name
    assert predict_rows(tmp_path, "int64", "g.csv", "a,b\n1.0,2\n") == [{"y": [1, 2]}]
    out = run("predict", GRAPHS / "identity_fp32.onnx", "--input", tmp_path / "b.json", "--output", "csv").stdout
    assert out == "y_0,y_1\n1.5,\n2,3\n"


@pytest.mark.parametrize(
    ("kind", "name", "text", "named"),
    [
        ("int64", "a.csv", "a,b\n1,2\n3,\n", 'row 2, column "b" is empty'),
        ("int64", "b.json", "[[1, 2], [3, null]]", "row 2, column 2 is null"),
        ("bytes", "c.json", '[["a", null]]', "row 1, column 2 is null"),
        ("bytes", "d.json", '[["a", {"k": 1}]]', 'is {"k":1}, which is not a valid BYTES'),
        ("fp32", "e.json", '[["1", 2]]', "row 1, column 1"),
        ("int64", "f.csv", "a,b\n1,2.5\n", 'row 1, column "b"'),
        ("fp32", "g.csv", ",a,b\n0,1,2\n", "index=False"),
    ],
)
def test_predict_refuses_what_is_no_value_with_row_and_column(tmp_path, kind, name, text, named):
    (tmp_path / name).write_text(text)
    command = [BINARY, "predict", GRAPHS / f"identity_{kind}.onnx", "--input", tmp_path / name]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode != 0 and named in ended.stderr, ended.stderr + ended.stdout


def test_predict_takes_declared_columns_by_name(tmp_path):
    shutil.copy(GRAPHS / "identity_fp32.onnx", tmp_path / "model.onnx")
    (tmp_path / "model.toml").write_text('[[signature.inputs]]\ncolumns = [{ name = "a" }, { name = "b" }]\n')
    (tmp_path / "swapped.csv").write_text("b,a\n2,1\n")
    assert predicted(tmp_path, "--input", tmp_path / "swapped.csv") == [{"y": [1.0, 2.0]}]
    (tmp_path / "wrong.csv").write_text("a,c\n1,2\n")
    command = [BINARY, "predict", tmp_path, "--input", tmp_path / "wrong.csv"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode != 0 and 'no column "b"' in ended.stderr, ended.stderr


def test_predict_ends_on_a_nested_npy_header(tmp_path):
    header = b"{'descr': " + b"[" * 100
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    command = [BINARY, "predict", GRAPHS / "identity_fp32.onnx", "--input", tmp_path / "a.npy"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode != 0 and "records" in ended.stderr
