"""Secrets and personal data that clients send are in nothing that the server logs, traces, keeps or shows."""

import json
import subprocess

import pytest
import requests
import tritonclient.grpc as grpcclient

from collector import Collector
from conftest import BINARY, FRAGILE, MODELS, PATIENCE_S
from parts import until

CARD = "4111111111111111"
EMAIL = "ada.lovelace@example.org"
TOKEN = "s3cr3t-token-0123456789abcdef"
KEY = "tdg_9f8e7d6c5b4a39281706fedcba"
ACCOUNT = "customer-778899"
# What is recognised wherever it stands; the token is known by its header or name alone.
MARKED = [CARD, EMAIL, KEY, ACCOUNT]
SECRETS = [*MARKED, TOKEN]
HEADERS = {
    "Authorization": f"Bearer {TOKEN}",
    "X-Api-Key": KEY,
    "Cookie": f"session={TOKEN}",
    "baggage": f"tenant={EMAIL},token={ACCOUNT}",
    "X-Customer": ACCOUNT,
}
PAGES = ["/console", "/console/models", "/console/alerts", "/console/events", "/console/objectives", "/console/cost"]


@pytest.fixture
def collector():
    collector = Collector()
    yield collector
    collector.stop()


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_marked_secrets_are_found_nowhere(start, collector, tmp_path, log_format):
    config = tmp_path / "tidegate.toml"
    config.write_text('[privacy]\npatterns = ["customer-[0-9]+"]\n')
    environment = {
        "TIDEGATE_LOG__LEVEL": "debug",
        "TIDEGATE_LOG__FORMAT": log_format,
        "TIDEGATE_TRACES__ENDPOINT": collector.grpc,
        "TIDEGATE_TRACES__SAMPLE": "1",
        "TIDEGATE_TRACES__BAGGAGE": '["tenant", "token"]',
    }
    data = tmp_path / "data"
    server = start(MODELS / "digits", FRAGILE, data=data, environment=environment, flags=("--config", str(config)))
    for secret in MARKED:
        send_over_rest(server, secret)
        send_over_grpc(server, secret)
    until(lambda: len(collector.spans(name="POST /v2/models/{model}/infer")) >= 2 * len(MARKED))
    shown = {path: get(server, path) for path in [*PAGES, "/metrics", "/api/events?limit=1000", "/api/slos", "/api/alerts"]}
    shown["index"] = requests.post(server.url("/v2/repository/index"), timeout=PATIENCE_S).text
    server.stop()
    with collector.lock:
        shown["traces"] = "".join(str(span) for span in collector.kept) + str(collector.resources)
    exported = [BINARY, "audit", "export", "--data", str(data)]
    shown["audit"] = subprocess.run(exported, capture_output=True, text=True, check=True).stdout
    shown["log"] = server.log.read_text()
    for file in data.rglob("*"):
        if file.is_file():
            shown[str(file)] = file.read_bytes().decode("latin-1")
    # They came as far as where they are replaced.
    for surface in ["traces", "audit", "log"]:
        assert "[redacted]" in shown[surface], surface
    for surface, text in shown.items():
        for secret in SECRETS:
            assert secret not in text, f"{secret} in {surface}: {around(text, secret)}"
    if log_format == "json":
        assert all(json.loads(line) for line in shown["log"].splitlines())


def get(server, path):
    answer = requests.get(server.url(path), headers=HEADERS, timeout=PATIENCE_S)
    assert answer.status_code == 200, path
    return answer.text


def around(text, secret):
    at = text.index(secret)
    return text[max(0, at - 200) : at + 100]


def send_over_rest(server, secret):
    image = {"name": "image", "shape": [1, 64], "datatype": "FP32", "data": [0] * 64}
    infer = "/v2/models/digits/infer"
    for path, body in [
        (infer, {"id": secret, "inputs": [image]}),
        (infer, {"id": secret, "inputs": [image | {"name": secret}]}),
        (infer, {"inputs": [image | {"datatype": secret}]}),
        (infer, {"inputs": [image | {"datatype": "BYTES", "data": [secret]}]}),
        (infer, {"inputs": [image], "outputs": [{"name": secret}]}),
        (infer, {"inputs": [image], "parameters": {secret: secret}}),
        (f"/v2/models/{secret}/infer", {"inputs": [image]}),
        (f"/v2/models/digits/versions/{secret}/infer", {"inputs": [image]}),
        (f"/v2/models/{FRAGILE.stem}/infer", {"id": secret, "inputs": [fragile()]}),
        ("/v1/models/digits:predict", {"instances": [secret]}),
        (f"/v1/models/{secret}:predict", {"instances": [[0] * 64]}),
        (f"/v2/repository/models/{secret}/load", {}),
        (f"/v2/repository/models/digits-{secret}/load", {"parameters": {"config": secret}}),
        (f"/v2/repository/models/{secret}/unload", {}),
        (f"/api/slos/{secret}/thaw", {"duration_s": 60, "author": secret, "comment": secret}),
        (f"/nothing/{secret}", {}),
    ]:
        requests.post(server.url(path), json=body, headers=HEADERS, timeout=PATIENCE_S)
    for broken in [f'{{"{secret}', f'{{"inputs": "{secret}"}}', f"[{secret}"]:
        requests.post(server.url(infer), data=broken, headers=HEADERS, timeout=PATIENCE_S)
    named = {"inputs": [image], "parameters": {"password": TOKEN}, "token": TOKEN}
    requests.post(server.url(infer), json=named, headers=HEADERS, timeout=PATIENCE_S)
    odd = {"request-timeout": secret, "Inference-Header-Content-Length": secret, "Content-Encoding": secret}
    for name, value in odd.items():
        requests.post(server.url(infer), json={}, headers=HEADERS | {name: value}, timeout=PATIENCE_S)
    requests.put(server.url(f"/api/slos/{secret}"), json={"target": 2}, headers=HEADERS, timeout=PATIENCE_S)
    slo = {"endpoint": secret, "target": 0.9, "window": "7d"}
    requests.put(server.url(f"/api/slos/s{MARKED.index(secret)}"), json=slo, headers=HEADERS, timeout=PATIENCE_S)
    requests.delete(server.url(f"/api/silences/{secret}"), headers=HEADERS, timeout=PATIENCE_S)
    requests.get(server.url(f"/v2/models/{secret}?token={TOKEN}"), headers=HEADERS, timeout=PATIENCE_S)
    requests.delete(server.url(f"/api/slos/s{MARKED.index(secret)}"), headers=HEADERS, timeout=PATIENCE_S)


def fragile():
    return {"name": "index", "shape": [1], "datatype": "INT64", "data": [99]}


def send_over_grpc(server, secret):
    metadata = {name.lower(): value for name, value in HEADERS.items()}
    image = grpcclient.InferInput("image", [1, 64], "FP32")
    image._raw_content = bytes(256)
    odd = grpcclient.InferInput(secret, [1], "BYTES")
    odd._raw_content = secret.encode()
    with grpcclient.InferenceServerClient(server.grpc) as client:
        for model, inputs, version in [
            ("digits", [image], ""),
            ("digits", [odd], ""),
            (secret, [image], ""),
            ("digits", [image], secret),
        ]:
            try:
                client.infer(model, inputs, model_version=version, request_id=secret, headers=metadata)
            except grpcclient.InferenceServerException:
                pass
        for call in (client.load_model, client.unload_model, client.get_model_metadata):
            with pytest.raises(grpcclient.InferenceServerException):
                call(secret, headers=metadata)
