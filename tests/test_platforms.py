"""The contracts of model containers of cloud platforms: SageMaker, Vertex AI, Azure Machine Learning."""

import os
import socket
import subprocess

import pytest
import requests

from conftest import BINARY, MODELS, PATIENCE_S
from test_auth import Keys, bearer, wait_until_known

ROW = [0.0] * 64
CALLERS = '[{role = "caller", resources = ["digits"]}]'
PROTECTED = {"TIDEGATE_AUTH__ENABLED": "true", "TIDEGATE_AUTH__ANONYMOUS": CALLERS}


def platform(**settings):
    return {f"TIDEGATE_PLATFORM__{key.upper()}": value for key, value in settings.items()}


@pytest.mark.parametrize(
    ("contract", "variables", "health", "predict"),
    [
        ("sagemaker", {}, "/ping", "/invocations"),
        ("vertex", {}, "/health", "/predict"),
        ("vertex", {"AIP_HEALTH_ROUTE": "/v1/e/1/up", "AIP_PREDICT_ROUTE": "/v1/e/1:predict"}, "/v1/e/1/up", "/v1/e/1:predict"),
        ("azure", {}, "/", "/score"),
    ],
)
def test_a_platform_finds_its_paths(start, contract, variables, health, predict):
    environment = {**platform(contract=contract, model="digits"), **variables}
    server = start(MODELS / "digits", environment=environment)
    ready = requests.get(server.url(health), timeout=PATIENCE_S)
    assert (ready.status_code, ready.json()["ready"]) == (200, True)
    own = requests.post(server.url("/v1/models/digits:predict"), json={"instances": [ROW]}, timeout=PATIENCE_S)
    answer = requests.post(
        server.url(predict), json={"instances": [ROW], "parameters": {"confidence": 0.5}}, timeout=PATIENCE_S
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["predictions"] == own.json()["predictions"]
    wrong = requests.post(server.url(predict), json={"instances": [ROW[1:]]}, timeout=PATIENCE_S)
    assert (wrong.status_code, wrong.json()["code"]) == (400, "wrong_dimension"), wrong.text


def test_a_platform_sends_nothing_while_the_model_does_not_answer(start):
    server = start(MODELS / "digits", environment=platform(contract="sagemaker", model="none"))
    assert requests.get(server.url("/v2/health/ready"), timeout=PATIENCE_S).status_code == 200
    assert requests.get(server.url("/ping"), timeout=PATIENCE_S).status_code == 404


def test_the_open_inference_protocol_can_be_chosen(start):
    environment = platform(contract="sagemaker", model="digits", protocol="open-inference")
    server = start(MODELS / "digits", environment=environment)
    body = {"inputs": [{"name": "image", "shape": [1, 64], "datatype": "FP32", "data": ROW}]}
    answer = requests.post(server.url("/invocations"), json=body, timeout=PATIENCE_S)
    assert answer.json()["outputs"] == server.infer("digits", body).json()["outputs"]


def test_the_port_is_the_one_that_the_platform_says(start):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**platform(contract="sagemaker", model="digits"), **PROTECTED, "SAGEMAKER_BIND_TO_PORT": str(port)}
    server = start(MODELS / "digits", environment=environment, http=None)
    assert server.http.endswith(f":{port}")
    assert requests.get(f"http://127.0.0.1:{port}/ping", timeout=PATIENCE_S).status_code == 200


def test_a_platform_without_credentials_may_do_nothing_but_call_the_model(start):
    environment = {**platform(contract="vertex", model="digits"), **PROTECTED}
    server = start(MODELS / "digits", environment=environment)
    assert requests.get(server.url("/health"), timeout=PATIENCE_S).status_code == 200
    answer = requests.post(server.url("/predict"), json={"instances": [ROW]}, timeout=PATIENCE_S)
    assert answer.status_code == 200, answer.text
    for path in ["/v2/repository/index", "/v2/repository/models/digits/unload"]:
        assert requests.post(server.url(path), timeout=PATIENCE_S).status_code == 401
    assert requests.get(server.url("/metrics"), timeout=PATIENCE_S).status_code == 401


@pytest.mark.parametrize(("contract", "predict"), [("sagemaker", "/invocations"), ("vertex", "/predict"), ("azure", "/score")])
def test_the_path_of_a_platform_needs_what_the_model_needs(start, tmp_path, contract, predict):
    keys = Keys(tmp_path / "data")
    caller, other = keys.create("caller", "caller", "--on", "digits"), keys.create("other", "caller", "--on", "fraud")
    environment = {**platform(contract=contract, model="digits"), "TIDEGATE_AUTH__ENABLED": "true"}
    server = start(MODELS / "digits", data=tmp_path / "data", environment=environment)
    wait_until_known(server, other)
    for key, code in [(None, 401), (other, 403), (caller, 200)]:
        answer = requests.post(
            server.url(predict), json={"instances": [ROW]}, headers=bearer(key), timeout=PATIENCE_S
        )
        assert answer.status_code == code, answer.text


def test_a_platform_that_cannot_be_meant_is_refused_at_the_start(refusal):
    assert "platform.model" in refusal('[platform]\ncontract = "azure"\n')
    assert "platform.contract" in refusal('[platform]\nmodel = "digits"\n')
    assert "must begin with a slash" in refusal(
        '[platform]\ncontract = "azure"\nmodel = "digits"\npredict_path = "score"\n'
    )


@pytest.mark.parametrize(
    ("variable", "path"),
    [
        ("AIP_PREDICT_ROUTE", "/metrics"),
        ("AIP_PREDICT_ROUTE", "/v2/health/ready"),
        ("AIP_HEALTH_ROUTE", "/v2/health/live/"),
        ("AIP_HEALTH_ROUTE", "/openapi.json"),
        ("AIP_PREDICT_ROUTE", "/v1/models/fraud:predict"),
    ],
)
def test_a_path_of_the_server_itself_is_refused_at_the_start(variable, path, tmp_path):
    environment = {**os.environ, **platform(contract="vertex", model="digits"), variable: path}
    command = [BINARY, "serve", str(MODELS / "digits"), "--http", "127.0.0.1:0", "--data", str(tmp_path / "data")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, env=environment)
    assert ended.returncode != 0 and path in ended.stderr and "server itself" in ended.stderr, ended.stderr


def test_the_path_of_the_model_itself_is_no_other_path(start):
    environment = {**platform(contract="vertex", model="digits"), "AIP_PREDICT_ROUTE": "/v1/models/digits:predict"}
    server = start(MODELS / "digits", environment=environment)
    answer = requests.post(server.url("/v1/models/digits:predict"), json={"instances": [ROW]}, timeout=PATIENCE_S)
    assert answer.status_code == 200, answer.text
