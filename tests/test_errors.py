"""Wrong input gets the documented code over REST and gRPC, and the server serves on."""

import gzip
import json
import re
import socket
import threading

import grpc
import numpy as np
import pytest
import requests
from tritonclient.grpc import service_pb2, service_pb2_grpc

from conftest import ROOT

IMAGE = {"name": "image", "shape": [1, 64], "datatype": "FP32", "data": [0.0] * 64}


def image(**changes):
    return {"inputs": [{**IMAGE, **changes}]}


def post(server, body, model="digits", headers=None, path=None):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    url = server.url(path or f"/v2/models/{model}/infer")
    return requests.post(url, data=body, headers=headers or {}, timeout=60)


# What is sent: body, model, headers. A body of bytes goes as it is.
REFUSED = [
    ("malformed_json", b"", "digits", {}),
    ("malformed_json", b"{", "digits", {}),
    ("malformed_json", b'{"inputs": [}', "digits", {}),
    ("malformed_json", b"\xff\xfe", "digits", {}),
    ("malformed_request", b'{"inputs": [' + b"[" * 100_000, "digits", {}),
    ("malformed_request", [], "digits", {}),
    ("malformed_request", {"inputs": 3}, "digits", {}),
    ("malformed_request", {"inputs": [{"name": 1}]}, "digits", {}),
    ("unknown_input", image(name="picture"), "digits", {}),
    ("missing_input", {"inputs": []}, "digits", {}),
    ("duplicate_input", {"inputs": [IMAGE, IMAGE]}, "digits", {}),
    ("unknown_output", {**image(), "outputs": [{"name": "colour"}]}, "digits", {}),
    ("unknown_datatype", image(datatype="FLOAT"), "digits", {}),
    ("datatype_mismatch", image(datatype="INT32", data=[0] * 64), "digits", {}),
    ("datatype_mismatch", image(data=["0"] * 64), "digits", {}),
    ("wrong_rank", image(shape=[64]), "digits", {}),
    ("wrong_rank", image(shape=[1, 8, 8]), "digits", {}),
    ("wrong_dimension", image(shape=[2, 32]), "digits", {}),
    ("wrong_dimension", image(shape=[-1, 64]), "digits", {}),
    ("wrong_element_count", image(data=[0.0] * 63), "digits", {}),
    ("wrong_element_count", image(data=[0.0] * 65), "digits", {}),
    ("wrong_element_count", image(shape=[2, 64]), "digits", {}),
    ("shape_overflow", image(shape=[2**62, 64]), "digits", {}),
    ("shape_overflow", image(shape=[1] * 100), "digits", {}),
    ("invalid_binary", image(), "digits", {"Inference-Header-Content-Length": "999999"}),
    ("invalid_parameter", image(), "digits", {"Inference-Header-Content-Length": "some"}),
    ("invalid_parameter", image(), "digits", {"Request-Timeout": "soon"}),
    ("invalid_parameter", {**image(), "parameters": {"timeout": "soon"}}, "digits", {}),
    ("invalid_parameter", {**image(), "parameters": {"priority": -1}}, "digits", {}),
    ("too_many_inputs", {"inputs": [{**IMAGE, "name": f"i{at}"} for at in range(300)]}, "digits", {}),
    ("unknown_model", image(), "no_such_model", {}),
    ("unsupported_encoding", image(), "digits", {"Content-Encoding": "br"}),
    ("malformed_request", b"no gzip at all", "digits", {"Content-Encoding": "gzip"}),
    ("execution_failed", {"inputs": [{"name": "index", "shape": [1], "datatype": "INT64", "data": [99]}]}, "fragile", {}),
]


@pytest.mark.parametrize(("code", "body", "model", "headers"), REFUSED, ids=[row[0] for row in REFUSED])
def test_rest_refuses_with_a_stable_code(server, code, body, model, headers):
    response = post(server, body, model, headers)
    assert response.headers["content-type"] == "application/json"
    answer = response.json()
    assert answer["code"] == code, answer
    assert response.status_code == DOCUMENTED[code][0]
    assert answer["error"] and not answer["error"].endswith(".")
    assert post(server, image()).status_code == 200


def documented():
    """code: (HTTP status, gRPC status) of the table in the reference."""
    text = (ROOT / "docs/reference/errors.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (\w+) \|", text, re.MULTILINE)
    return {code: (int(http), status) for code, http, status in rows}


DOCUMENTED = documented()


def test_other_paths_and_versions(server):
    for path, status, code in [
        ("/v2/models/digits/versions/7/infer", 404, "unknown_version"),
        ("/v2/nothing", 404, "not_found"),
        ("/v2/health/live", 405, "method_not_allowed"),
    ]:
        response = post(server, image(), path=path)
        assert (response.status_code, response.json()["code"]) == (status, code)


def test_a_body_above_the_limit_is_refused_packed_or_not(start):
    server = start(ROOT / "examples/models/digits", environment={"TIDEGATE_SERVER__MAX_BODY_BYTES": "100000"})
    big = json.dumps(image(shape=[1000, 64], data=[0.0] * 64_000)).encode()
    for body, headers in [(big, {}), (gzip.compress(big), {"Content-Encoding": "gzip"})]:
        response = post(server, body, headers=headers)
        assert (response.status_code, response.json()["code"]) == (413, "body_too_large")
    assert post(server, image()).status_code == 200
    with grpc.insecure_channel(server.grpc) as channel:
        request = service_pb2.ModelInferRequest(model_name="digits", raw_input_contents=[b"\0" * 256_000])
        request.inputs.add(name="image", datatype="FP32", shape=[1000, 64])
        with pytest.raises(grpc.RpcError) as refused:
            service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request)
        assert refused.value.code() in (grpc.StatusCode.OUT_OF_RANGE, grpc.StatusCode.RESOURCE_EXHAUSTED)


def test_a_full_queue_is_refused_at_once_with_retry_after(start, tmp_path):
    bundle = tmp_path / "busy"
    bundle.mkdir()
    (bundle / "model.onnx").write_bytes((ROOT / "tests/models/busy/model.onnx").read_bytes())
    (bundle / "model.toml").write_text(
        'schema = 1\nname = "busy"\n[engine_options]\ninstances = 1\n[batching]\nmax_batch_size = 1\nmax_queue_requests = 2\n'
    )
    server = start(bundle)
    body = {"inputs": [{"name": "rounds", "shape": [1, 1], "datatype": "INT64", "data": [20_000]}]}
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(post(server, body, "busy"))) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = [answer for answer in answers if answer.status_code != 200]
    assert refused and len(refused) < 12
    for answer in refused:
        assert (answer.status_code, answer.json()["code"]) == (429, "queue_full")
        assert int(answer.headers["retry-after"]) >= 1


def test_a_deadline_is_taken_from_header_and_parameter(server):
    body = {"inputs": [{"name": "rounds", "shape": [1, 1], "datatype": "INT64", "data": [20_000]}]}
    timed = {**body, "parameters": {"timeout": 20_000}}
    for answer in (post(server, body, "busy", {"Request-Timeout": "0.02"}), post(server, timed, "busy")):
        assert (answer.status_code, answer.json()["code"]) == (504, "deadline_exceeded")


def test_an_unloaded_model_is_not_ready(server):
    try:
        assert post(server, {}, path="/v2/repository/models/fraud/unload").status_code == 200
        answer = post(server, image(), "fraud")
        assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
    finally:
        assert post(server, {}, path="/v2/repository/models/fraud/load").status_code == 200


def test_a_client_that_hangs_up_frees_its_place(start, tmp_path):
    bundle = tmp_path / "busy"
    bundle.mkdir()
    (bundle / "model.onnx").write_bytes((ROOT / "tests/models/busy/model.onnx").read_bytes())
    (bundle / "model.toml").write_text(
        'schema = 1\nname = "busy"\n[engine_options]\ninstances = 1\n[batching]\nmax_batch_size = 1\n'
    )
    server = start(bundle)
    body = json.dumps({"inputs": [{"name": "rounds", "shape": [1, 1], "datatype": "INT64", "data": [40_000]}]})
    host, port = server.http.split(":")
    message = f"POST /v2/models/busy/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()

    def pending():
        text = requests.get(server.url("/metrics"), timeout=60).text
        return float(re.search(r'^nv_inference_pending_request_count\{.*\} (\S+)$', text, re.MULTILINE)[1])

    sockets = [socket.create_connection((host, int(port))) for _ in range(6)]
    for client in sockets:
        client.sendall(message)
    # One runs, five wait.
    wait_until(lambda: pending() == 5)
    for client in sockets:
        client.close()
    wait_until(lambda: pending() == 0)
    statistics = requests.get(server.url("/v2/models/busy/stats"), timeout=60).json()["model_stats"][0]
    assert statistics["execution_count"] <= 1


def wait_until(condition):
    for _ in range(2000):
        if condition():
            return
        threading.Event().wait(0.005)
    raise TimeoutError


def image_message(**changes):
    request = service_pb2.ModelInferRequest(model_name=changes.pop("model_name", "digits"))
    version = changes.pop("model_version", "")
    raw = changes.pop("raw", np.zeros(64, np.float32).tobytes())
    request.model_version = version
    request.inputs.add(**{"name": "image", "datatype": "FP32", "shape": [1, 64], **changes})
    request.raw_input_contents.append(raw)
    return request


REFUSED_MESSAGES = [
    ("unknown_model", image_message(model_name="no_such_model")),
    ("unknown_version", image_message(model_version="7")),
    ("unknown_input", image_message(name="picture")),
    ("missing_input", service_pb2.ModelInferRequest(model_name="digits")),
    ("unknown_datatype", image_message(datatype="FLOAT")),
    ("datatype_mismatch", image_message(datatype="INT32")),
    ("wrong_rank", image_message(shape=[64])),
    ("wrong_dimension", image_message(shape=[2, 32])),
    ("wrong_dimension", image_message(shape=[-1, 64])),
    ("invalid_binary", image_message(raw=b"123")),
    ("shape_overflow", image_message(shape=[2**62, 64])),
]


@pytest.mark.parametrize(("code", "message"), REFUSED_MESSAGES, ids=[row[0] for row in REFUSED_MESSAGES])
def test_grpc_refuses_with_a_stable_code(server, code, message):
    with grpc.insecure_channel(server.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        with pytest.raises(grpc.RpcError) as refused:
            stub.ModelInfer(message)
        assert refused.value.code().name == DOCUMENTED[code][1]
        assert dict(refused.value.trailing_metadata())["tidegate-code"] == code
        assert stub.ModelInfer(image_message()).model_name == "digits"


def test_bytes_that_are_no_http_do_not_stop_the_server(server):
    host, port = server.http.split(":")
    for noise in (b"\x00" * 1000, b"GET / HTTP/9.9\r\n\r\n", b"POST /v2 HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"x" * 100_000):
        with socket.create_connection((host, int(port)), timeout=60) as client:
            try:
                client.sendall(noise)
                client.shutdown(socket.SHUT_WR)
                while client.recv(65536):
                    pass
            except ConnectionError:
                pass
    assert post(server, image()).status_code == 200
