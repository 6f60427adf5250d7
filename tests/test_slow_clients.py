"""Clients that do not read, do not send or do not leave: what they hold is bounded, and nobody waits for them."""

import json
import socket
import struct

import numpy as np
import pytest
import requests

from test_limits import PREFACE, connect, fp32, until_closed, value

SETTINGS_FRAME = bytes.fromhex("000000040000000000")
NO_WINDOW = struct.pack("!HI", 4, 0)


def frame(kind, flags, stream, payload=b""):
    return struct.pack("!I", len(payload))[1:] + bytes([kind, flags]) + struct.pack("!I", stream) + payload


def ask_for_much(server, values):
    """A request over HTTP/1.1 whose answer is as large as itself, on a connection with little room."""
    size = {"binary_data_size": values.nbytes}
    (told,) = requests.get(server.url("/v2/models/m"), timeout=60).json()["inputs"]
    tensor = {"name": told["name"], "shape": [1, values.size], "datatype": "FP32", "parameters": size}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    client.settimeout(60)
    host, port = server.http.split(":")
    client.connect((host, int(port)))
    lines = [
        "POST /v2/models/m/infer HTTP/1.1",
        "Host: x",
        f"Inference-Header-Content-Length: {len(head)}",
        f"Content-Length: {len(head) + values.nbytes}",
    ]
    client.sendall("\r\n".join([*lines, "", ""]).encode() + head + values.tobytes())
    assert client.recv(1 << 12).startswith(b"HTTP/1.1 200")
    return client


def open_connections(session, server, protocol="http"):
    return value(session, server, "tidegate_open_connections", protocol)


def test_a_client_that_does_not_read_its_answer_loses_its_connection(start, graph):
    server = start(graph("identity_unknown_rank"), environment={"TIDEGATE_SERVER__WRITE_TIMEOUT_MS": "300"})
    client = ask_for_much(server, np.zeros(6 << 20, np.float32))
    with requests.Session() as session:
        while open_connections(session, server) > 1:
            pass
    client.close()


def test_a_client_that_does_not_read_its_answer_does_not_hold_up_the_end(start, graph):
    server = start(graph("identity_unknown_rank"), environment={"TIDEGATE_SERVER__DRAIN_TIMEOUT_MS": "60000"})
    client = ask_for_much(server, np.zeros(6 << 20, np.float32))
    server.terminate()
    assert server.wait() == 0
    client.close()


def test_an_idle_http2_connection_is_ended_with_a_farewell(start, graph):
    server = start(graph("identity_unknown_rank"), environment={"TIDEGATE_SERVER__HTTP2_IDLE_TIMEOUT_MS": "300"})
    for address in (server.http, server.grpc):
        with connect(address) as client:
            client.sendall(PREFACE + SETTINGS_FRAME)
            received = until_closed(client)
            kinds = []
            while len(received) >= 9:
                length = int.from_bytes(received[:3], "big")
                kinds.append(received[3])
                received = received[9 + length :]
            goaway = 7
            assert goaway in kinds


def test_an_http2_client_that_gives_its_answer_no_room_loses_its_connection(start, graph):
    server = start(graph("identity_unknown_rank"), environment={"TIDEGATE_SERVER__WRITE_TIMEOUT_MS": "300"})
    literal = lambda name, text: bytes([0, len(name)]) + name + bytes([len(text)]) + text
    path = b"/v2/models/m"
    headers = b"".join(
        [literal(b":method", b"GET"), literal(b":scheme", b"http"), literal(b":path", path), literal(b":authority", b"x")]
    )
    with connect(server.http) as client:
        client.sendall(PREFACE + frame(4, 0, 0, NO_WINDOW) + frame(1, 0x5, 1, headers))
        until_closed(client)
    with requests.Session() as session:
        assert value(session, server, "tidegate_connections_timed_out_total") >= 1


def test_one_client_leaves_connections_to_others(start):
    from conftest import OPEN

    environment = {"TIDEGATE_SERVER__MAX_CONNECTIONS": "8", "TIDEGATE_SERVER__MAX_CONNECTIONS_PER_CLIENT": "3"}
    server = start(OPEN, environment=environment)
    with requests.Session() as session:
        assert session.get(server.url("/v2/health/live"), timeout=60).status_code == 200
        held = [connect(server.http), connect(server.grpc)]
        while open_connections(session, server) + open_connections(session, server, "grpc") < 3:
            pass
        with connect(server.http) as refused:
            assert until_closed(refused) == b""
        host, port = server.http.split(":")
        # Another address of this machine is another client.
        with socket.create_connection((host, int(port)), timeout=60, source_address=("127.0.0.2", 0)) as other:
            other.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert until_closed(other).startswith(b"HTTP/1.1 200")
        for client in held:
            client.close()
