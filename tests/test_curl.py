"""What a person types: curl, over HTTP/1.1 and HTTP/2, in both versions of the protocol."""

import json
import re
import subprocess

import pytest
import requests

from conftest import MODELS


def curl(*arguments):
    command = ["curl", "--silent", "--show-error", "--fail-with-body", "--max-time", "60", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("version", ["--http1.1", "--http2-prior-knowledge"])
def test_infer(server, digits, version):
    body = json.dumps({"id": "7", "inputs": [digits.tensor(slice(0, 2))]})
    answer = json.loads(curl(version, server.url("/v2/models/digits/infer"), "-d", body))
    assert answer["id"] == "7" and answer["model_name"] == "digits"
    assert [str(label) for label in answer["outputs"][0]["data"]] == digits.labels[:2]


def test_kserve_v1_predict(server, digits):
    rows = [[float(x) for x in row] for row in digits.inputs[:3]]
    answer = json.loads(curl(server.url("/v1/models/digits:predict"), "-d", json.dumps({"instances": rows})))
    assert [str(row["label"]) for row in answer["predictions"]] == digits.labels[:3]
    assert json.loads(curl(server.url("/v1/models")))["models"]


def test_kserve_v1_keeps_the_client_s_deadline_and_counts_what_it_refuses(server):
    url = server.url("/v1/models/busy:predict")
    late = requests.post(url, json={"instances": [[20_000]]}, headers={"Request-Timeout": "0.02"}, timeout=60)
    assert (late.status_code, late.json()["code"]) == (504, "deadline_exceeded")

    def refused():
        text = requests.get(server.url("/metrics"), timeout=60).text
        found = re.search(r'^tidegate_requests_refused_total\{code="malformed_request"\} (\d+)', text, re.MULTILINE)
        return int(found[1]) if found else 0

    before = refused()
    assert requests.post(url, json={"rows": []}, timeout=60).status_code == 400
    assert refused() == before + 1


def test_nested_data_is_taken_as_well_as_flat(server, digits):
    tensor = digits.tensor(slice(0, 2))
    tensor["data"] = [[float(x) for x in row] for row in digits.inputs[:2]]
    answer = json.loads(curl(server.url("/v2/models/digits/infer"), "-d", json.dumps({"inputs": [tensor]})))
    assert [str(label) for label in answer["outputs"][0]["data"]] == digits.labels[:2]


def test_zstd_and_gzip_answers(server, digits):
    body = json.dumps({"inputs": [digits.tensor(slice(0, 100))]})
    plain = curl(server.url("/v2/models/digits/infer"), "-d", body)
    assert curl("--compressed", server.url("/v2/models/digits/infer"), "-d", body) == plain
    response = requests.post(
        server.url("/v2/models/digits/infer"), data=body, headers={"Accept-Encoding": "zstd"}, stream=True, timeout=60
    )
    assert response.headers["content-encoding"] == "zstd"


def test_health_docs_and_metrics(server):
    assert curl(server.url("/v2/health/live")) == '{"live":true}'
    assert curl(server.url("/v2/health/ready")) == '{"ready":true,"status":"ready","problems":[]}'
    assert "swagger-ui" in curl("--location", server.url("/docs"))
    metrics = curl(server.url("/metrics"))
    for name in ("nv_inference_request_success", "nv_inference_queue_duration_us", "tidegate_request_duration_seconds"):
        assert f"\n# TYPE {name} " in metrics


@pytest.mark.parametrize("version", ["--http1.1", "--http2-prior-knowledge"])
@pytest.mark.parametrize("size", [10, 60_000])
def test_a_refusal_before_the_body_was_read_is_shown(start, tmp_path, version, size):
    server = start(MODELS / "digits", environment={"TIDEGATE_AUTH__ENABLED": "true", "TIDEGATE_AUTH__KEYS_REQUIRED": "false"})
    body = tmp_path / "body"
    body.write_bytes(b"x" * size)
    for _ in range(20):
        command = ["curl", "--silent", "--show-error", "--max-time", "60", version, "--data-binary", f"@{body}"]
        ended = subprocess.run([*command, server.url("/v2/models/digits/infer")], capture_output=True, text=True)
        assert ended.returncode == 0 and json.loads(ended.stdout)["code"] == "unauthenticated", ended.stderr
