"""What happens on a connection beside answers: bodies that nobody reads, halves that close, names of the server."""

import json
import socket
import time

import grpc
import numpy as np
import pytest
import requests
import tritonclient.grpc as grpcclient

from conftest import BUSY, MODELS, PATIENCE_S

LIVE = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n"


def connect(server):
    host, port = server.http.split(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE_S)


def read_all(client):
    received = b""
    while part := client.recv(1 << 16):
        received += part
    return received


def head(method, path, length, *headers):
    lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {length}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("POST", "/nope", (), b"404"),
        ("POST", "/v2/health/live", (), b"405"),
        ("GET", "/v2/health/live", (), b"200"),
        ("POST", "/v2/models/absent/infer", ("Content-Encoding: br",), b"415"),
        ("POST", "/v2/repository/models/digits/unload", ("Sec-Fetch-Site: cross-site",), b"403"),
    ],
)
@pytest.mark.parametrize("size", [104, 200_000, 5_000_000])
def test_the_next_request_on_a_connection_is_answered_or_the_answer_says_close(
    server, method, path, headers, status, size
):
    with connect(server) as client:
        client.sendall(head(method, path, size, *headers))
        # Most clients send the body in a segment of its own.
        time.sleep(0.002)
        if size < 1_000_000:
            client.sendall(b"x" * size + LIVE)
            first, _, rest = client.recv(1 << 16).partition(b"\r\n\r\n")
            assert b" " + status in first.splitlines()[0] and b"connection: close" not in first.lower()
            while rest.count(b'{"live":true}') < (2 if status == b"200" else 1):
                part = client.recv(1 << 16)
                assert part, rest
                rest += part
        else:
            first = client.recv(1 << 16).partition(b"\r\n\r\n")[0]
            assert b" " + status in first.splitlines()[0] and b"connection: close" in first.lower()


def test_a_client_that_waits_to_be_asked_for_its_body_is_not_asked_for_nothing(server):
    with connect(server) as client:
        client.sendall(head("POST", "/nope", 100, "Expect: 100-continue"))
        answer = read_all(client)
        assert answer.startswith(b"HTTP/1.1 404") and b"connection: close" in answer.lower()


def test_a_client_that_closes_its_half_gets_its_answer(start):
    server = start(BUSY)
    body = json.dumps({"inputs": [{"name": "rounds", "shape": [1, 1], "datatype": "INT64", "data": [3000]}]}).encode()
    slow = head("POST", "/v2/models/busy/infer", len(body)) + body
    for request, answers in ((LIVE, 1), (LIVE.replace(b"1.1", b"1.0"), 1), (slow, 1), (LIVE * 50, 50)):
        for _ in range(5):
            with connect(server) as client:
                client.sendall(request)
                client.shutdown(socket.SHUT_WR)
                assert read_all(client).count(b" 200 OK\r\n") == answers, request
    # Half a body is not waited for.
    with connect(server) as client:
        client.sendall(slow[:-10])
        client.shutdown(socket.SHUT_WR)
        assert b" 200 " not in read_all(client)


def test_a_local_server_is_not_found_under_the_name_of_another_site(server):
    def ask(host, **headers):
        url = server.url("/api/silences")
        return requests.get(url, headers={"Host": host, **headers}, timeout=PATIENCE_S)

    assert ask("evil.example:8000").status_code == 421
    refused = ask("evil.example", Origin="http://evil.example", **{"Sec-Fetch-Site": "same-origin"})
    assert refused.status_code == 421 and refused.json()["code"] == "unknown_host"
    assert "allowed_hosts" in refused.json()["error"]
    for host in ("localhost", "127.0.0.1:1", "tidegate:8000", "tidegate.default.svc"):
        assert ask(host).status_code == 200, host


def test_configured_names_are_taken(start, tmp_path):
    settings = tmp_path / "tidegate.toml"
    settings.write_text('[server]\nallowed_hosts = ["models.example.com"]\n')
    server = start(MODELS / "digits", flags=("--config", str(settings)))
    for host, status in (("models.example.com", 200), ("evil.example", 421)):
        answer = requests.get(server.url("/v2/health/live"), headers={"Host": host}, timeout=PATIENCE_S)
        assert answer.status_code == status


@pytest.mark.parametrize(
    "request_head",
    [
        "GET /v2/health/live HTTP/1.1\r\n",
        "GET /v2/health/live HTTP/1.1\r\nHost: a\r\nHost: a\r\n",
        "POST /v2/models/digits/infer HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked,chunked\r\n",
        "POST /v2/models/digits/infer HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n",
    ],
)
def test_an_ambiguous_head_is_refused(server, request_head):
    with connect(server) as client:
        client.sendall(request_head.encode() + b"\r\n0\r\n\r\n")
        answer = read_all(client)
        assert answer.startswith(b"HTTP/1.1 400"), answer


def test_a_slash_too_many_and_no_sniffing(server):
    for path in ("/v2/", "/v2/models/digits/", "/v2/health/live/", "/metrics/", "/v1/models/", "/api/alerts/"):
        answer = requests.get(server.url(path), timeout=PATIENCE_S)
        assert answer.status_code == 200 and answer.headers["x-content-type-options"] == "nosniff", path
    assert requests.get(server.url("/nope"), timeout=PATIENCE_S).headers["x-content-type-options"] == "nosniff"


def test_a_grpc_message_that_is_too_large_has_its_code(start, tmp_path):
    settings = tmp_path / "tidegate.toml"
    settings.write_text("[server]\nmax_body_bytes = 65536\n")
    server = start(MODELS / "digits", flags=("--config", str(settings)))
    client = grpcclient.InferenceServerClient(server.grpc)
    rows = grpcclient.InferInput("image", [1000, 64], "FP32")
    rows.set_data_from_numpy(np.zeros((1000, 64), np.float32))
    request = grpcclient._utils._get_inference_request("digits", [rows], "", "", None, 0, False, False, 0, None, None)
    for call in (client._client_stub.ModelInfer, lambda one: next(client._client_stub.ModelStreamInfer(iter([one])))):
        with pytest.raises(grpc.RpcError) as refused:
            call(request)
        assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, refused.value
        assert dict(refused.value.trailing_metadata())["tidegate-code"] == "body_too_large"
    client.close()


def test_a_post_without_a_verb_is_counted(server):
    def failures():
        return server.metric("tidegate_requests_refused_total", code="not_found") or 0

    before = failures()
    answer = requests.post(server.url("/v1/models/digits"), json={}, timeout=PATIENCE_S)
    assert answer.status_code == 404 and ":predict" in answer.json()["error"]
    end = time.monotonic() + PATIENCE_S
    while failures() <= before:
        assert time.monotonic() < end
