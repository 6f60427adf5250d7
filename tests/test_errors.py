"""Wrong input gets the documented code over REST and gRPC, and the server serves on."""

import errno
import gzip
import json
import re
import socket
import struct
import threading
from pathlib import Path

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
    ("invalid_parameter", {**image(), "parameters": {"timeout": [1, 2]}}, "digits", {}),
    ("invalid_parameter", {**image(), "parameters": 3}, "digits", {}),
    ("invalid_parameter", b'{"parameters": {"timeout": ' + b"[" * 100_000, "digits", {}),
    ("malformed_json", b'{"parameters": {"x": ' + b"[" * 100_000, "digits", {}),
    ("malformed_json", b'{"x": ' + b"[" * 100_000, "digits", {}),
    ("shape_overflow", image(shape=[2**70, 64]), "digits", {}),
    ("shape_overflow", image(shape=[0, 2**62, 4]), "digits", {}),
    ("shape_overflow", {"inputs": [{"name": "x", "shape": [2**58, 0], "datatype": "FP32", "data": []}]}, "open", {}),
    ("wrong_dimension", image(shape=[0, 64], data=[]), "digits", {}),
    ("wrong_dimension", image(shape=[1, 0], data=[]), "digits", {}),
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
        ("/v2/models/%ff/infer", 404, "not_found"),
        ("/v2/models/%00/infer", 404, "unknown_model"),
        ("/v2/models/..%2f..%2fetc/infer", 404, "unknown_model"),
        ("/v1/models/%ff:predict", 404, "not_found"),
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
        assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def busy_bundle(folder, batching):
    """`busy` with one instance."""
    bundle = folder / "busy"
    bundle.mkdir()
    (bundle / "model.onnx").write_bytes((ROOT / "tests/models/busy/model.onnx").read_bytes())
    (bundle / "model.toml").write_text(
        f'schema = 1\nname = "busy"\n[engine_options]\ninstances = 1\n[batching]\n{batching}\n'
    )
    return bundle


def rounds(count):
    return {"inputs": [{"name": "rounds", "shape": [1, 1], "datatype": "INT64", "data": [count]}]}


def test_a_full_queue_is_refused_at_once_with_retry_after(start, tmp_path):
    server = start(busy_bundle(tmp_path, "max_batch_size = 1\nmax_queue_requests = 2"))
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(post(server, rounds(20_000), "busy"))) for _ in range(3)]
    # Three at once would be one too many if none of them ran yet.
    for thread in threads[:2]:
        thread.start()
    wait_until(lambda: all(pending(server) == 1 for _ in range(20)))
    threads[2].start()
    # One runs, two wait: there is no place for another.
    wait_until(lambda: pending(server) == 2)
    refused = post(server, rounds(1), "busy")
    assert (refused.status_code, refused.json()["code"]) == (429, "queue_full")
    assert int(refused.headers["retry-after"]) >= 1
    error = call(server, "ModelInfer", message_for("busy", "rounds", "INT64", np.array([[1]])))
    check_refused(error, "queue_full")
    trailers = dict(error.trailing_metadata())
    assert int(trailers["retry-after"]) >= 1 and int(trailers["grpc-retry-pushback-ms"]) >= 1000
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in answers] == [200, 200, 200]


def test_a_deadline_is_taken_from_header_and_parameter(server):
    body = {"inputs": [{"name": "rounds", "shape": [1, 1], "datatype": "INT64", "data": [20_000]}]}
    timed = {**body, "parameters": {"timeout": 20_000}}
    header = {"Request-Timeout": "0.02"}
    v1 = post(server, {"instances": [[20_000]]}, headers=header, path="/v1/models/busy:predict")
    for answer in (post(server, body, "busy", header), post(server, timed, "busy"), v1):
        assert (answer.status_code, answer.json()["code"]) == (504, "deadline_exceeded")
    message = message_for("busy", "rounds", "INT64", np.array([[20_000]]))
    message.parameters["timeout"].int64_param = 20_000
    check_refused(call(server, "ModelInfer", message), "deadline_exceeded")


def test_an_unloaded_model_is_not_ready(server):
    try:
        assert post(server, {}, path="/v2/repository/models/fraud/unload").status_code == 200
        answer = post(server, image(), "fraud")
        assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
    finally:
        assert post(server, {}, path="/v2/repository/models/fraud/load").status_code == 200


def pending(server):
    text = requests.get(server.url("/metrics"), timeout=60).text
    return float(re.search(r"^nv_inference_pending_request_count\{.*\} (\S+)$", text, re.MULTILINE)[1])


def test_a_client_that_hangs_up_frees_its_place(start, tmp_path):
    server = start(busy_bundle(tmp_path, "max_batch_size = 1"))
    body = json.dumps(rounds(40_000))
    host, port = server.http.split(":")
    message = f"POST /v2/models/busy/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
    sockets = [socket.create_connection((host, int(port))) for _ in range(6)]
    for client in sockets:
        client.sendall(message)
    # One runs, five wait. Read often: a client that hangs up at once has only closed its half.
    wait_until(lambda: all(pending(server) == 5 for _ in range(20)))
    for client in sockets:
        client.close()
    wait_until(lambda: pending(server) == 0)
    text = requests.get(server.url("/metrics"), timeout=60).text
    assert re.search(r"^tidegate_requests_abandoned_total\{.*\} [56]$", text, re.MULTILINE)
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


def typed_message(*, shape, count):
    request = service_pb2.ModelInferRequest(model_name="digits")
    request.inputs.add(name="image", datatype="FP32", shape=shape).contents.fp32_contents.extend([0.0] * count)
    return request


def changed_message(change):
    request = image_message()
    change(request)
    return request


def message_for(model, name, datatype, values):
    request = service_pb2.ModelInferRequest(model_name=model)
    request.inputs.add(name=name, datatype=datatype, shape=values.shape)
    request.raw_input_contents.append(values.tobytes())
    return request


def set_timeout(request):
    request.parameters["timeout"].string_param = "soon"


def leave_parameter_empty(request):
    request.parameters["timeout"].SetInParent()


REFUSED_MESSAGES = [
    ("unknown_model", image_message(model_name="no_such_model")),
    ("unknown_version", image_message(model_version="7")),
    ("unknown_version", image_message(model_version="newest")),
    ("unknown_input", image_message(name="picture")),
    ("missing_input", service_pb2.ModelInferRequest(model_name="digits")),
    ("duplicate_input", changed_message(lambda request: request.MergeFrom(image_message()))),
    ("unknown_output", changed_message(lambda request: request.outputs.add(name="colour"))),
    ("malformed_request", changed_message(lambda request: [request.outputs.add(name="label") for _ in "ab"])),
    ("unknown_datatype", image_message(datatype="FLOAT")),
    ("datatype_mismatch", image_message(datatype="INT32")),
    ("wrong_rank", image_message(shape=[64])),
    ("wrong_dimension", image_message(shape=[2, 32])),
    ("wrong_dimension", image_message(shape=[-1, 64])),
    ("wrong_element_count", typed_message(shape=[1, 64], count=63)),
    ("wrong_element_count", typed_message(shape=[1, 64], count=65)),
    ("invalid_binary", image_message(raw=b"123")),
    ("invalid_binary", changed_message(lambda request: request.raw_input_contents.append(b""))),
    ("shape_overflow", image_message(shape=[2**62, 64])),
    ("shape_overflow", image_message(shape=[1] * 100)),
    ("shape_overflow", message_for("open", "x", "FP32", np.zeros((70_000, 0), np.float32))),
    ("invalid_parameter", changed_message(set_timeout)),
    ("invalid_parameter", changed_message(leave_parameter_empty)),
    ("too_many_inputs", changed_message(lambda request: [request.inputs.add(name=f"i{at}") for at in range(300)])),
    ("execution_failed", message_for("fragile", "index", "INT64", np.array([99]))),
]


def call(server, method, message):
    """The answer of a method, or the error that it ended with."""
    with grpc.insecure_channel(server.grpc) as channel:
        try:
            return getattr(service_pb2_grpc.GRPCInferenceServiceStub(channel), method)(message, timeout=60)
        except grpc.RpcError as error:
            return error


def check_refused(error, code):
    assert isinstance(error, grpc.RpcError), error
    assert error.code().name == DOCUMENTED[code][1]
    assert dict(error.trailing_metadata())["tidegate-code"] == code
    assert error.details()


@pytest.mark.parametrize(("code", "message"), REFUSED_MESSAGES, ids=[row[0] for row in REFUSED_MESSAGES])
def test_grpc_refuses_with_a_stable_code(server, code, message):
    check_refused(call(server, "ModelInfer", message), code)
    assert call(server, "ModelInfer", image_message()).model_name == "digits"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("malformed_request", b"\x0a\x7fcut off"),
        ("malformed_request", b"\x0a\x02\xff\xfe"),
        ("malformed_request", b"\xff" * 40),
        # Two bytes each on the wire, some three hundred in memory.
        ("too_many_inputs", b"\x2a\x00" * 1_000_000),
    ],
)
def test_grpc_refuses_bytes_that_are_no_request(server, code, message):
    with grpc.insecure_channel(server.grpc) as channel:
        raw = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer", request_serializer=bytes)
        with pytest.raises(grpc.RpcError) as refused:
            raw(message, timeout=60)
    check_refused(refused.value, code)
    assert call(server, "ModelInfer", image_message()).model_name == "digits"


def test_grpc_says_not_ready_and_not_loaded(server):
    try:
        call(server, "RepositoryModelUnload", service_pb2.RepositoryModelUnloadRequest(model_name="fraud"))
        check_refused(call(server, "ModelInfer", image_message(model_name="fraud")), "not_ready")
    finally:
        call(server, "RepositoryModelLoad", service_pb2.RepositoryModelLoadRequest(model_name="fraud"))
    load = service_pb2.RepositoryModelLoadRequest(model_name="no_such_model")
    check_refused(call(server, "RepositoryModelLoad", load), "unknown_model")


def test_a_broken_artifact_is_a_failed_load_over_both(start, tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/model.onnx").write_bytes(b"no model")
    server = start(tmp_path, ROOT / "examples/models/digits")
    load = service_pb2.RepositoryModelLoadRequest(model_name="broken")
    check_refused(call(server, "RepositoryModelLoad", load), "load_failed")
    answer = post(server, {}, path="/v2/repository/models/broken/load")
    assert (answer.status_code, answer.json()["code"]) == (400, "load_failed")
    assert post(server, image()).status_code == 200


def test_an_unknown_grpc_method_is_unimplemented(server):
    with grpc.insecure_channel(server.grpc) as channel:
        for method in ("/inference.GRPCInferenceService/Guess", "/no.Service/Method"):
            with pytest.raises(grpc.RpcError) as refused:
                channel.unary_unary(method, request_serializer=bytes)(b"", timeout=60)
            assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_bytes_that_are_no_http_do_not_stop_the_server(server):
    host, port = server.http.split(":")
    for noise in (b"\x00" * 1000, b"GET / HTTP/9.9\r\n\r\n", b"POST /v2 HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"x" * 100_000):
        with socket.create_connection((host, int(port)), timeout=60) as client:
            try:
                client.sendall(noise)
                client.shutdown(socket.SHUT_WR)
                while client.recv(65536):
                    pass
            except OSError as error:
                # It may be closed before all was sent.
                assert error.errno in (errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN)
    assert post(server, image()).status_code == 200


def test_each_request_is_counted_once_however_many_are_cancelled(start, tmp_path):
    server = start(busy_bundle(tmp_path, "max_batch_size = 1"))
    host, port = server.http.split(":")

    def sent(count):
        body = json.dumps(rounds(count))
        client = socket.create_connection((host, int(port)))
        head = f"POST /v2/models/busy/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall((head + body).encode())
        return client

    stays = sent(40_000)
    tasks = Path(f"/proc/{server.process.pid}/task")
    # The thread that runs what waits starts with the first request.
    wait_until(lambda: any("run busy" in task.read_text() for task in tasks.glob("*/comm")))
    waiting = [sent(20) for _ in range(7)]
    channel = grpc.insecure_channel(server.grpc)
    stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
    calls = [stub.ModelInfer.future(message_for("busy", "rounds", "INT64", np.array([[20]]))) for _ in range(5)]
    wait_until(lambda: pending(server) == 12)
    for client in waiting:
        # A client that only closes may still read its answer; one that resets the connection is gone.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
    for call in calls:
        call.cancel()
    wait_until(lambda: pending(server) == 0)
    assert stays.recv(1024).startswith(b"HTTP/1.1 200")
    stays.close()
    channel.close()
    # On a busy machine the run may end before the server sees the last client go: then one more has run.
    wait_until(lambda: answered(server) + cancelled(server) == 13)
    assert cancelled(server) >= 10
    assert counted(server, "nv_inference_request_failure") == 0
    statistics = requests.get(server.url("/v2/models/busy/stats"), timeout=60).json()["model_stats"][0]
    assert statistics["execution_count"] == answered(server)


def answered(server):
    return counted(server, "nv_inference_request_success") or 0


def cancelled(server):
    return counted(server, "tidegate_requests_abandoned_total") or 0


def counted(server, name):
    """The sum of a metric over its series; None if it has none."""
    text = requests.get(server.url("/metrics"), timeout=60).text
    values = re.findall(rf"^{name}\{{.*\}} (\S+)$", text, re.MULTILINE)
    return sum(map(float, values)) if values else None
