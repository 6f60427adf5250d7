"""`tidegate load` against the served examples, over every protocol."""

import csv
import io
import json
import subprocess

import pytest
import requests

from conftest import BINARY, MODELS


def load(server, *arguments, status=0):
    addresses = ["--url", server.url(""), "--grpc", server.grpc]
    command = [BINARY, "load", *map(str, arguments), *addresses, "--quiet"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == status, ended.stdout + ended.stderr
    return ended


def answered(server, model):
    """Requests for a model that succeeded, as the server counts them."""
    statistics = requests.get(server.url(f"/v2/models/{model}/stats"), timeout=60).json()
    return sum(version["inference_stats"]["success"]["count"] for version in statistics["model_stats"])


@pytest.mark.parametrize("protocol", ["rest-json", "rest-binary", "grpc"])
@pytest.mark.parametrize("model", ["digits", "fraud", "language"])
def test_every_request_is_answered_and_counted(server, protocol, model, tmp_path):
    before = answered(server, model)
    files = {name: tmp_path / f"report.{name}" for name in ("json", "csv", "html")}
    outputs = [argument for name, path in files.items() for argument in (f"--{name}", path)]
    table = load(
        server, model, "--samples", MODELS / model, "--protocol", protocol, "--requests", 150, "--rows", 3, *outputs
    ).stdout
    assert answered(server, model) - before == 150

    report = json.loads(files["json"].read_text())
    (run,) = report["runs"]
    assert (report["protocol"], run["label"]) == (protocol, "concurrency=8")
    assert (run["requests"], run["answers"], run["refusals"], run["errors"]) == (150, 150, 0, 0), run["failures"]
    latency = run["latency_us"]
    assert 0 < latency["min"] <= latency["p50"] <= latency["p99"] <= latency["max"]
    assert run["rows_per_s"] == pytest.approx(3 * run["throughput_per_s"])
    assert run["models"] == [{"model": model, "answers": 150}]

    (row,) = csv.DictReader(io.StringIO(files["csv"].read_text()))
    assert (row["answers"], row["errors"], row["protocol"]) == ("150", "0", protocol)
    assert float(row["p99_us"]) == pytest.approx(latency["p99"], abs=0.001)

    page = files["html"].read_text()
    assert page.startswith("<!DOCTYPE html>") and page.count("<svg") == page.count("</svg>") == 3
    assert "src=" not in page and "href=" not in page
    assert "concurrency=8" in table and " 150 " in table


def test_an_open_loop_sends_what_is_due_and_mixes_models_by_weight(server):
    arguments = ["digits=3", "fraud", "--rate", 200, "--arrival", "poisson", "--duration", "2s", "--json", "-"]
    (run,) = json.loads(load(server, *arguments).stdout)["runs"]
    # A Poisson count of mean 400; five standard deviations.
    assert abs(run["requests"] - 400) < 100
    assert run["answers"] == run["requests"], run["failures"]
    counts = {model["model"]: model["answers"] for model in run["models"]}
    assert sum(counts.values()) == run["answers"] and counts["digits"] > counts["fraud"] > 0
    assert run["send_latency_us"]["p50"] <= run["latency_us"]["p50"]
    again = json.loads(load(server, *arguments).stdout)["runs"][0]
    assert again["requests"] == run["requests"]


def test_refusals_are_told_from_errors(server, tmp_path):
    rows = tmp_path / "rows.json"
    # Longer than the deadline, and than the runs from which the server knows how long one takes.
    rows.write_text('[{"rounds": 20000}]')
    arguments = ["--input", rows, "--deadline", "20ms", "--requests", 4, "--concurrency", 2, "--json", "-"]
    (run,) = json.loads(load(server, "busy", *arguments).stdout)["runs"]
    assert (run["answers"], run["refusals"], run["errors"]) == (0, 4, 0)
    assert [(failure["status"], failure["code"]) for failure in run["failures"]] == [(504, "deadline_exceeded")]
    # Less than any run takes is the client's own mistake.
    hasty = ["--deadline", "1us", "--requests", 5, "--json", "-"]
    (run,) = json.loads(load(server, "digits", *hasty).stdout)["runs"]
    assert (run["refusals"], run["errors"], run["failures"][0]["code"]) == (0, 5, "deadline_too_short")
    (run,) = json.loads(load(server, "--path", "/nothing", "--requests", 5, "--json", "-").stdout)["runs"]
    assert (run["refusals"], run["errors"], run["failures"][0]["code"]) == (0, 5, "not_found")


def test_raw_bytes_and_recorded_times(server, digits, tmp_path):
    (tmp_path / "body.json").write_text(json.dumps({"inputs": [digits.tensor(slice(0, 2))]}))
    (tmp_path / "times").write_text("\n".join(str(1_700_000_000 + at / 50) for at in range(30)))
    raw = ["--raw-body", tmp_path / "body.json", "--path", "/v2/models/digits/infer"]
    (run,) = json.loads(load(server, *raw, "--replay", tmp_path / "times", "--speed", 2, "--json", "-").stdout)["runs"]
    assert (run["label"], run["requests"], run["answers"]) == ("replay", 30, 30)
    body = ["digits", "--input", tmp_path / "body.json", "--rows", 2, "--requests", 10, "--protocol", "grpc"]
    (run,) = json.loads(load(server, *body, "--json", "-").stdout)["runs"]
    assert run["answers"] == 10 and run["rows_per_s"] == pytest.approx(2 * run["throughput_per_s"])


def test_objectives_decide_the_exit_status(server):
    sweep = ["digits", "--sweep", "rows=1,8", "--requests", 30]
    assert "not met" not in load(server, *sweep, "--slo", "p50<60s,errors<1%").stdout
    broken = load(server, *sweep, "--slo", "p50<1ns", status=1).stdout
    assert "rows=1: objective p50<1ns not met" in broken and "rows=8: objective" in broken


def test_the_highest_rate_is_found(server):
    found = load(server, "digits", "--find-max", "--rate", 200, "--duration", "300ms", "--slo", "throughput<500", "--json", "-")
    report = json.loads(found.stdout)
    offered = [run["offered_per_s"] for run in report["runs"]]
    assert offered[:3] == [200, 400, 800]
    assert report["highest_per_s"] in offered and 400 <= report["highest_per_s"] < 600
    nothing = load(server, "digits", "--find-max", "--rate", 4, "--duration", "500ms", "--slo", "p50<1ns", status=1)
    assert "no rate meets p50<1ns" in nothing.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nosuch",), "nosuch"),
        ((), "MODEL"),
        (("digits", "--concurrency", "0"), "from 1"),
        (("digits", "--concurrency", "2", "--rate", "3"), "cannot be used with"),
        (("digits", "--slo", "speed<3"), "speed<3"),
        (("digits", "--samples", "/no/such/folder"), "/no/such/folder"),
        (("digits", "--samples", f"fraud={MODELS}/fraud"), "fraud"),
        (("digits", "--samples", MODELS / "fraud"), "64"),
        (("--path", "/", "--protocol", "grpc"), "HTTP"),
    ],
)
def test_mistakes_are_told(server, arguments, message):
    command = [BINARY, "load", *map(str, arguments), "--url", server.url(""), "--grpc", server.grpc]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode != 0 and message in ended.stderr, ended.stderr
    assert "panicked" not in ended.stderr


def test_a_server_that_is_not_there_is_told():
    command = [BINARY, "load", "digits", "--url", "http://127.0.0.1:9"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1 and "is the server running" in ended.stderr
