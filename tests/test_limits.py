"""What a client may not do: hold a connection without a request, send more than the limits, keep the server from ending."""

import json
import queue
import resource
import socket
import struct

import grpc
import numpy as np
import pytest
import requests
import tritonclient.grpc as triton
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from conftest import BUSY, MODELS, OPEN

HASTY = {"TIDEGATE_SERVER__HEADER_TIMEOUT_MS": "1500", "TIDEGATE_SERVER__BODY_TIMEOUT_MS": "1500"}
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
LIVE = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n"


def connect(address):
    host, port = address.split(":")
    return socket.create_connection((host, int(port)), timeout=60)


def until_closed(client):
    received = b""
    try:
        while part := client.recv(65536):
            received += part
    except ConnectionResetError:
        pass
    return received


@pytest.mark.parametrize(
    "sent", [b"", b"P", PREFACE[:10], b"GET /v2 HTTP/1.1\r\nHost: x\r\n", LIVE], ids=["nothing", "letter", "preface", "head", "idle"]
)
def test_a_connection_without_a_request_is_closed(start, sent):
    server = start(OPEN, environment=HASTY)
    for address in (server.http, server.grpc):
        with connect(address) as client:
            client.sendall(sent)
            received = until_closed(client)
            assert received == b"" or sent == LIVE
    assert requests.get(server.url("/v2/health/live"), timeout=60).status_code == 200


def test_a_body_that_does_not_come_is_refused(start):
    server = start(OPEN, environment=HASTY)
    with connect(server.http) as client:
        client.sendall(b"POST /v2/models/open/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        assert b"did not arrive within 1500 ms" in until_closed(client)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET / HTTP/9.9\r\n\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\nHost: x\r\nno header\r\n\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 500 + b"\r\n", 431),
        (b"GET /" + b"y" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"POST /v2/models/open/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n123456", 400),
        (b"POST /v2/models/open/infer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n", 400),
    ],
)  # fmt: skip
def test_what_http_forbids_is_answered_and_closed(server, sent, status):
    with connect(server.http) as client:
        client.sendall(sent)
        assert until_closed(client).startswith(b"HTTP/1.1 %d " % status)
    assert requests.get(server.url("/v2/health/live"), timeout=60).status_code == 200


def test_a_body_whose_announced_length_is_above_the_limit_is_not_asked_for(server):
    with connect(server.http) as client:
        head = b"POST /v2/models/open/infer HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 999999999999\r\n\r\n"
        client.sendall(head)
        assert client.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_headers_without_end_are_cut_off(server):
    with connect(server.http) as client:
        # The answer may be lost on the way: what the client goes on sending resets the connection.
        try:
            client.sendall(b"GET /v2 HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 4_000_000)
        except ConnectionError:
            pass
        received = until_closed(client)
        assert received == b"" or received.startswith(b"HTTP/1.1 431 ")
    assert requests.get(server.url("/v2/health/live"), timeout=60).status_code == 200


def test_connections_above_the_limit_are_turned_away_and_counted(start):
    server = start(OPEN, environment={"TIDEGATE_SERVER__MAX_CONNECTIONS": "3"})
    with requests.Session() as session:
        assert session.get(server.url("/v2/health/live"), timeout=60).status_code == 200
        held = [connect(server.http), connect(server.grpc)]
        metric = "tidegate_open_connections"
        while sum(value(session, server, metric, protocol) for protocol in ("http", "grpc")) < 3:
            pass
        with connect(server.http) as refused:
            assert until_closed(refused) == b""
        assert value(session, server, "tidegate_connections_refused_total") >= 1
        for client in held:
            client.close()


def value(session, server, name, protocol=None):
    label = f'{{protocol="{protocol}"}}' if protocol else ""
    for line in session.get(server.url("/metrics"), timeout=60).text.splitlines():
        if line.startswith(f"{name}{label} "):
            return float(line.split()[-1])
    return 0.0


def test_many_idle_connections_leave_room_for_requests(start):
    count = 2000
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, most))
    # The server raises its own limit.
    server = start(OPEN)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    idle = [connect(server.http) for _ in range(count)]
    assert server.infer("open", fp32([[1.0]])).status_code == 200
    with requests.Session() as session:
        assert value(session, server, "tidegate_open_connections", "http") >= count
    for client in idle:
        client.close()


def fp32(rows, **more):
    values = np.array(rows, np.float32)
    data = [float(x) for x in values.ravel()]
    return {"inputs": [{"name": "x", "shape": list(values.shape), "datatype": "FP32", "data": data}], **more}


def post(server, body):
    """As `json.dumps` writes it: NaN and the infinities as bare words."""
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return requests.post(server.url("/v2/models/open/infer"), data=body, timeout=60)


def test_nan_and_infinities_travel_both_ways_and_are_classified_last(server):
    row = [float("nan") if at % 3 == 0 else float(at * 7 % 64) for at in range(64)]
    answer = post(server, fp32([row[:3] + [float("inf"), float("-inf")]])).json()["outputs"][0]["data"]
    np.testing.assert_array_equal(np.array(answer, np.float32), row[:3] + [float("inf"), float("-inf")])
    wanted = [{"name": "y", "parameters": {"classification": 64}}]
    classes = post(server, fp32([row], outputs=wanted)).json()["outputs"][0]["data"]
    values = np.array([float(text.split(":")[0]) for text in classes])
    numbers = int(np.isfinite(row).sum())
    assert (np.diff(values[:numbers]) <= 0).all() and np.isnan(values[numbers:]).all()


def test_null_stands_for_an_optional_field_that_is_left_out(server):
    body = fp32([[1.0]], id=None, parameters=None, outputs=None)
    body["inputs"][0]["parameters"] = None
    answer = post(server, body)
    assert answer.status_code == 200 and "id" not in answer.json()
    assert post(server, fp32([[1.0]], parameters={"timeout": None})).status_code == 200


def test_rows_without_elements_and_of_any_number(server):
    empty = {"inputs": [{"name": "x", "shape": [3, 0], "datatype": "FP32", "data": []}]}
    assert post(server, empty).json()["outputs"][0]["shape"] == [3, 0]
    empty["inputs"][0]["shape"] = [2**58, 0]
    assert post(server, empty).json()["code"] == "shape_overflow"
    assert post(server, fp32([[1.0]])).status_code == 200


def test_binary_sections_that_lie_are_refused(server):
    def ask(sizes, tail, header=None):
        inputs = [
            {"name": name, "shape": [1, 1], "datatype": "FP32", "parameters": {"binary_data_size": size}}
            for name, size in sizes.items()
        ]
        text = json.dumps({"inputs": inputs}).encode()
        length = len(text) if header is None else header
        headers = {"Inference-Header-Content-Length": str(length)}
        url = server.url("/v2/models/open/infer")
        return requests.post(url, data=text + tail, headers=headers, timeout=60).json()

    one = struct.pack("<f", 1.0)
    assert ask({"x": 4}, one)["outputs"][0]["data"] == [1.0]
    for sizes, tail in [({"x": 5}, one), ({"x": 4}, one + b"!"), ({"x": 3}, one[:3]), ({"x": 2**63}, one)]:
        assert ask(sizes, tail)["code"] in ("invalid_binary", "malformed_json"), (sizes, tail)
    assert ask({"x": 4}, one, header=10)["code"] == "malformed_json"


def stopped(server):
    server.terminate()
    assert server.wait() == 0


def test_half_a_request_and_idle_connections_do_not_hold_up_the_end(start):
    server = start(OPEN)
    clients = [connect(server.http) for _ in range(3)]
    clients[1].sendall(b"POST /v2/models/open/infer HTTP/1.1\r\nHost: x\r\nContent-Le")
    clients[2].sendall(LIVE)
    assert clients[2].recv(1000).startswith(b"HTTP/1.1 200")
    stopped(server)


def test_an_idle_stream_is_told_to_go_elsewhere(start):
    server = start(OPEN)
    answers = queue.Queue()
    tensor = triton.InferInput("x", [1, 1], "FP32")
    tensor.set_data_from_numpy(np.ones((1, 1), np.float32))
    with triton.InferenceServerClient(server.grpc) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        client.async_stream_infer("open", [tensor])
        assert answers.get(timeout=60)[1] is None
        server.terminate()
        error = answers.get(timeout=60)[1]
        assert error.status() == "StatusCode.UNAVAILABLE" and "stopping" in error.message()
    assert server.wait() == 0


def test_requests_of_a_stream_that_have_arrived_are_answered_before_the_end(start):
    server = start(BUSY)
    answers = queue.Queue()
    tensor = triton.InferInput("rounds", [1, 1], "INT64")
    with triton.InferenceServerClient(server.grpc) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        for at in range(8):
            tensor.set_data_from_numpy(np.array([[3000 + at]]))
            client.async_stream_infer("busy", [tensor])
        assert answers.get(timeout=60)[0].as_numpy("done") == [[3000]]
        server.terminate()
        for at in range(1, 8):
            assert answers.get(timeout=60)[0].as_numpy("done") == [[3000 + at]]
    assert server.wait() == 0


def test_watchers_of_health_hear_the_end_and_do_not_hold_it_up(start):
    server = start(OPEN)
    with grpc.insecure_channel(server.grpc) as channel:
        heard = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        while next(heard).status != health_pb2.HealthCheckResponse.SERVING:
            pass
        server.terminate()
        assert [answer.status for answer in heard] == [health_pb2.HealthCheckResponse.NOT_SERVING]
    assert server.wait() == 0


def test_an_open_reflection_stream_does_not_hold_up_the_end(start):
    server = start(MODELS / "digits")
    asked = queue.Queue()
    with grpc.insecure_channel(server.grpc) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        answers = stub.ServerReflectionInfo(iter(asked.get, None))
        asked.put(reflection_pb2.ServerReflectionRequest(list_services=""))
        next(answers)
        stopped(server)
        asked.put(None)
