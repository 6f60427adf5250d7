"""Clients that do not read, do not send or do not leave: what they hold is bounded, and nobody waits for them."""

import json
import socket
import struct
import threading

import numpy as np
import pytest
import requests
import tritonclient.grpc as grpcclient

import graphs
from conftest import OPEN
from test_limits import PREFACE, connect, fp32, until_closed, value

SETTINGS_FRAME = bytes.fromhex("000000040000000000")
DATA, HEADERS, RST_STREAM, GOAWAY = 0, 1, 3, 7
NO_WINDOW = struct.pack("!HI", 4, 0)


def frame(kind, flags, stream, payload=b""):
    return struct.pack("!I", len(payload))[1:] + bytes([kind, flags]) + struct.pack("!I", stream) + payload


def frames(received):
    """The types of the HTTP/2 frames, each with its stream."""
    found = []
    at = 0
    while len(received) >= at + 9:
        length, stream = int.from_bytes(received[at : at + 3], "big"), int.from_bytes(received[at + 5 : at + 9], "big")
        found.append((received[at + 3], stream))
        at += 9 + length
    return found


def literal(name, text):
    """A header field that is neither indexed nor packed (RFC 7541, section 6.2.2)."""
    return bytes([0, len(name)]) + name + bytes([len(text)]) + text


def grpc_call(method):
    """The header block of a call of this method."""
    path = b"/inference.GRPCInferenceService/" + method
    fields = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b":authority", b"x")]
    fields += [(b"content-type", b"application/grpc"), (b"te", b"trailers")]
    return b"".join(literal(name, text) for name, text in fields)


def rest_get(path):
    """The header block of a GET over HTTP/2."""
    fields = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", path), (b":authority", b"x")]
    return b"".join(literal(name, text) for name, text in fields)


LIVE = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n"
HALF_BODY = b"POST /v2/models/open/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + b" " * 50_000
HALF_CHUNKS = b"POST /v2/models/open/infer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n    "
HALF_MESSAGE = frame(0, 0, 1, b"\0\0\0\xff\0" + b"x" * 100)


def quietly(client, *parts):
    """Sends what a server may refuse to read."""
    try:
        for part in parts:
            client.sendall(part)
    except (BrokenPipeError, ConnectionResetError, TimeoutError):
        pass


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
    settings = {"HTTP2_IDLE_TIMEOUT_MS": "300", "DRAIN_TIMEOUT_MS": "2000"}
    environment = {f"TIDEGATE_SERVER__{key}": value for key, value in settings.items()}
    server = start(graph("identity_unknown_rank"), environment=environment)
    for address in (server.http, server.grpc):
        with connect(address) as client:
            client.sendall(PREFACE + SETTINGS_FRAME)
            assert (GOAWAY, 0) in frames(until_closed(client))


def until_frame(client, kind, stream):
    """Reads until a frame of this type has come on this stream."""
    received = b""
    while (kind, stream) not in frames(received):
        part = client.recv(65536)
        assert part, received
        received += part


def test_an_http2_client_that_gives_its_answer_no_room_loses_that_stream_alone(start, graph):
    server = start(graph("identity_unknown_rank"), environment={"TIDEGATE_SERVER__WRITE_TIMEOUT_MS": "300"})
    with connect(server.http) as client:
        client.sendall(PREFACE + frame(4, 0, 0, NO_WINDOW) + frame(1, 0x5, 1, rest_get(b"/v2")))
        until_frame(client, RST_STREAM, 1)
        # Other streams of the connection are answered; this one has room.
        client.sendall(frame(1, 0x5, 3, rest_get(b"/v2")) + frame(8, 0, 3, struct.pack("!I", 1 << 20)))
        until_frame(client, DATA, 3)
    with requests.Session() as session:
        assert value(session, server, "tidegate_streams_timed_out_total") == 1
        assert not value(session, server, "tidegate_connections_timed_out_total")


def test_other_requests_do_not_keep_an_answer_that_nobody_reads(start, tmp_path):
    """The answer is larger than the window of its stream, of which nothing is read, while requests come all the time."""
    ones = graphs.weights("w", np.ones((1, 50_000), np.float32))
    inputs, outputs = [graphs.value("x", graphs.FLOAT, ["N", 1])], [graphs.value("y", graphs.FLOAT, ["N", 50_000])]
    graphs.save(tmp_path / "wide.onnx", [graphs.node("MatMul", ["x", "w"], ["y"])], inputs, outputs, [ones])
    server = start(tmp_path / "wide.onnx", environment={"TIDEGATE_SERVER__WRITE_TIMEOUT_MS": "1000"})
    body = json.dumps({"inputs": [{"name": "x", "shape": [20, 1], "datatype": "FP32", "data": [1] * 20}]}).encode()
    post = rest_get(b"/v2/models/wide/infer").replace(b"\x03GET", b"\x04POST")
    with connect(server.http) as client:
        client.sendall(PREFACE + SETTINGS_FRAME + frame(1, 0x4, 1, post) + frame(0, 1, 1, body))
        received = b""
        stream = 3
        while (RST_STREAM, 1) not in frames(received):
            client.sendall(frame(1, 0x5, stream, rest_get(b"/v2/health/live")))
            while (DATA, stream) not in frames(received) and (RST_STREAM, 1) not in frames(received):
                part = client.recv(65536)
                assert part, received
                received += part
                # Room on the connection, not on the stream.
                client.sendall(frame(8, 0, 0, struct.pack("!I", max(len(part), 1))))
            stream += 2
    with requests.Session() as session:
        while value(session, server, "tidegate_request_memory_bytes") > 0:
            pass


def test_one_client_leaves_connections_to_others(start):
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


def resident(server, field="VmRSS"):
    with open(f"/proc/{server.process.pid}/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith(field))


def test_half_sent_grpc_messages_are_given_up(start):
    server = start(OPEN, environment={"TIDEGATE_SERVER__BODY_TIMEOUT_MS": "300"})
    with connect(server.grpc) as client:
        client.sendall(PREFACE + SETTINGS_FRAME + frame(1, 0x4, 1, grpc_call(b"ModelInfer")) + HALF_MESSAGE)
        until_frame(client, HEADERS, 1)


def test_bodies_together_stay_within_the_memory_budget(start):
    budget = 128 << 20
    settings = {"MEMORY_BUDGET_BYTES": str(budget), "MEMORY_BUDGET_BYTES_PER_CLIENT": str(budget)}
    server = start(OPEN, environment={f"TIDEGATE_SERVER__{key}": value for key, value in settings.items()})
    before = resident(server)
    part = b" " * (40 << 20)
    clients = [connect(server.http) for _ in range(6)]
    for client in clients:
        head = f"POST /v2/models/open/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {50 << 20}\r\n\r\n"
        try:
            client.sendall(head.encode() + part)
        except (BrokenPipeError, ConnectionResetError):
            pass
    with requests.Session() as session:
        # Three bodies fit, the fourth is refused.
        while value(session, server, "tidegate_request_memory_refused_total") < 1:
            pass
        assert value(session, server, "tidegate_request_memory_bytes") <= budget
        assert session.post(server.url("/v2/models/open/infer"), json=fp32([[1.0]]), timeout=60).status_code == 200
    # Beside the bodies, each connection has a buffer.
    assert resident(server) - before < budget * 5 / 4 + (16 << 20)
    refused = until_closed(clients[-1])
    assert b"memory_full" in refused and b"retry-after: 1" in refused.lower()
    for client in clients:
        client.close()


def test_one_client_leaves_memory_to_others(start):
    server = start(OPEN, environment={"TIDEGATE_SERVER__MEMORY_BUDGET_BYTES": str(100 << 20)})
    host, port = server.http.split(":")
    head = f"POST /v2/models/open/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {50 << 20}\r\n\r\n".encode()
    clients = [connect(server.http) for _ in range(3)]
    for client in clients:
        threading.Thread(target=quietly, args=(client, head, b" " * (30 << 20))).start()
    with requests.Session() as session:
        while value(session, server, "tidegate_request_memory_refused_total") < 1:
            pass
        assert value(session, server, "tidegate_request_memory_bytes") <= 75 << 20
    with socket.create_connection((host, int(port)), timeout=60, source_address=("127.0.0.2", 0)) as other:
        body = json.dumps(fp32([[1.0] * 1000] * 100)).encode()
        other.sendall(head.replace(str(50 << 20).encode(), str(len(body)).encode()) + body)
        assert other.recv(1 << 16).startswith(b"HTTP/1.1 200")
    for client in clients:
        client.close()


@pytest.mark.parametrize("chunked", [False, True])
def test_a_late_body_is_answered_with_its_code(start, chunked):
    server = start(OPEN, environment={"TIDEGATE_SERVER__BODY_TIMEOUT_MS": "300"})
    with connect(server.http) as client:
        client.sendall(HALF_CHUNKS if chunked else HALF_BODY)
        answer = until_closed(client)
    assert answer.startswith(b"HTTP/1.1 408") and b"body_timeout" in answer and b"connection: close" in answer.lower()


def test_packed_grpc_messages_are_reserved_as_they_are_unpacked(start):
    """A message of some kilobytes that unpacks to more than the budget leaves is refused before it is unpacked."""
    import gzip

    settings = {"MEMORY_BUDGET_BYTES": str(48 << 20), "MAX_BODY_BYTES": str(64 << 20)}
    server = start(OPEN, environment={f"TIDEGATE_SERVER__{key}": value for key, value in settings.items()})
    before = resident(server)
    packed = gzip.compress(b"\0" * (60 << 20))
    headers = grpc_call(b"ModelInfer") + literal(b"grpc-encoding", b"gzip")
    with requests.Session() as session:
        for refused in (1, 2, 3):
            with connect(server.grpc) as client:
                message = b"\1" + struct.pack("!I", len(packed)) + packed
                parts = [message[at : at + 16_000] for at in range(0, len(message), 16_000)]
                client.sendall(PREFACE + SETTINGS_FRAME + frame(1, 0x4, 1, headers))
                client.sendall(b"".join(frame(0, part is parts[-1], 1, part) for part in parts))
                until_frame(client, HEADERS, 1)
            assert value(session, server, "tidegate_request_memory_refused_total") == refused
            if refused == 1:
                # What was freed is not returned at once, so that the next ones may take more for a moment.
                assert resident(server, "VmHWM") - before < 48 << 20
        while value(session, server, "tidegate_request_memory_bytes") > 0:
            pass


def test_answers_of_a_grpc_stream_that_nobody_reads_stay_in_the_memory_budget(start, tmp_path):
    ones = graphs.weights("w", np.ones((1, 50_000), np.float32))
    inputs, outputs = [graphs.value("x", graphs.FLOAT, ["N", 1])], [graphs.value("y", graphs.FLOAT, ["N", 50_000])]
    graphs.save(tmp_path / "wide.onnx", [graphs.node("MatMul", ["x", "w"], ["y"])], inputs, outputs, [ones])
    server = start(tmp_path / "wide.onnx")
    rows = 20
    client = grpcclient.InferenceServerClient(server.grpc)
    tensor = grpcclient.InferInput("x", [rows, 1], "FP32")
    tensor.set_data_from_numpy(np.ones((rows, 1), np.float32))
    request = grpcclient._utils._get_inference_request("wide", [tensor], "", "", None, 0, False, False, 0, None, None)
    content = request.SerializeToString()
    message = b"\0" + struct.pack("!I", len(content)) + content
    client.close()
    answer = rows * 50_000 * 4
    with connect(server.grpc) as held, requests.Session() as session:
        held.sendall(PREFACE + SETTINGS_FRAME + frame(1, 0x4, 1, grpc_call(b"ModelStreamInfer")) + frame(0, 0, 1, message))
        # Its outputs and the message that they were copied into, of which a window's worth was sent.
        until_frame(held, DATA, 1)
        while value(session, server, "tidegate_request_memory_bytes") < 2 * answer:
            pass
    with requests.Session() as session:
        while value(session, server, "tidegate_request_memory_bytes") > 0:
            pass


def test_a_small_request_for_a_huge_answer_is_refused_before_it_is_computed(start, tmp_path):
    ones = graphs.weights("w", np.zeros((1, 50_000), np.float32))
    inputs, outputs = [graphs.value("x", graphs.FLOAT, ["N", 1])], [graphs.value("y", graphs.FLOAT, ["N", 50_000])]
    graphs.save(tmp_path / "wide.onnx", [graphs.node("MatMul", ["x", "w"], ["y"])], inputs, outputs, [ones])
    server = start(tmp_path / "wide.onnx", environment={"TIDEGATE_SERVER__MEMORY_BUDGET_BYTES": str(256 << 20)})
    before = resident(server)
    rows = 2000
    tensor = {"name": "x", "shape": [rows, 1], "datatype": "FP32", "data": [1] * rows}
    answer = requests.post(server.url("/v2/models/wide/infer"), json={"inputs": [tensor]}, timeout=60)
    assert (answer.status_code, answer.json()["code"]) == (413, "answer_too_large")
    assert resident(server) - before < 64 << 20


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_bodies_that_unpack_to_much_do_not_stall_the_others(start, encoding):
    """The small client's requests must be answered while large ones are unpacked, not after them."""
    import gzip
    import zlib

    blanks = b'{"inputs":[' + b" " * (60 << 20) + b"]}"
    pack = {"gzip": lambda data: gzip.compress(data, 1), "deflate": zlib.compress}[encoding]
    packed = pack(blanks)
    server = start(OPEN)
    running = threading.Event()
    finished = []

    def send():
        with requests.Session() as session:
            running.set()
            answer = session.post(
                server.url("/v2/models/open/infer"), data=packed, headers={"Content-Encoding": encoding}, timeout=120
            )
            finished.append(answer.status_code)

    large = [threading.Thread(target=send) for _ in range(4)]
    for thread in large:
        thread.start()
    running.wait()
    meanwhile = 0
    with requests.Session() as session:
        while len(finished) < len(large):
            assert session.post(server.url("/v2/models/open/infer"), json=fp32([[1.0]]), timeout=60).status_code == 200
            meanwhile += len(finished) < len(large)
    for thread in large:
        thread.join()
    assert finished == [400] * 4 and meanwhile > 4


def test_memory_is_given_back_after_a_peak(start, graph):
    server = start(graph("identity_unknown_rank"))
    (told,) = requests.get(server.url("/v2/models/m"), timeout=60).json()["inputs"]
    values = np.zeros(12 << 20, np.float32)
    tensor = {"name": told["name"], "shape": [1, values.size], "datatype": "FP32", "parameters": {"binary_data_size": values.nbytes}}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    before = resident(server)
    answer = requests.post(server.url("/v2/models/m/infer"), data=head + values.tobytes(), headers=headers, timeout=60)
    assert answer.status_code == 200
    # What stays is the runtime's own arena.
    most = resident(server, "VmHWM") - before
    with requests.Session() as session:
        while resident(server) - before > most / 2:
            assert session.get(server.url("/v2/health/live"), timeout=60).status_code == 200


def test_the_worst_mix_of_clients_stays_within_the_memory_budget(start, tmp_path):
    """Half-sent bodies and messages, answers that nobody reads, pages, and requests for wide answers, all at once."""
    budget = 512 << 20
    models = tmp_path / "models"
    ones = graphs.weights("w", np.ones((1, 50_000), np.float32))
    inputs, outputs = [graphs.value("x", graphs.FLOAT, ["N", 1])], [graphs.value("y", graphs.FLOAT, ["N", 50_000])]
    graphs.save(models / "wide.onnx", [graphs.node("MatMul", ["x", "w"], ["y"])], inputs, outputs, [ones])
    server = start(models, environment={"TIDEGATE_SERVER__MEMORY_BUDGET_BYTES": str(budget)})
    before = resident(server)
    head = b"POST /v2/models/wide/infer HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    rows = 20
    wide = json.dumps({"inputs": [{"name": "x", "shape": [rows, 1], "datatype": "FP32", "data": [1] * rows}]}).encode()
    headers = grpc_call(b"ModelInfer")
    clients = []
    threads = []

    def begin(address, *parts):
        client = connect(address)
        client.settimeout(5)
        clients.append(client)
        threads.append(threading.Thread(target=quietly, args=(client, *parts)))
        threads[-1].start()

    part = b" " * (40 << 20)
    for _ in range(20):
        begin(server.http, head % (60 << 20), part)
    for _ in range(100):
        begin(server.http, head % len(wide) + wide)
    for _ in range(6):
        begin(server.grpc, PREFACE + SETTINGS_FRAME + frame(1, 0x4, 1, headers), frame(0, 0, 1, b"\0\0\xff\0\0" + b"x" * 16_000))
    for _ in range(100):
        begin(server.http, b"GET /console HTTP/1.1\r\nHost: x\r\n\r\n" * 4)
    for thread in threads:
        thread.join()
    with requests.Session() as session:
        while value(session, server, "tidegate_request_memory_refused_total") < 1:
            pass
        assert session.get(server.url("/v2/health/live"), timeout=60).status_code == 200
    # Beside the budget, each connection has a buffer of its own, and what was freed is not returned at once.
    assert resident(server, "VmHWM") - before < budget * 3 / 2 + len(clients) * (256 << 10)
    for client in clients:
        client.close()


STATES = {
    "connected": ("http", b""),
    "half a head": ("http", LIVE[:-5]),
    "half a preface": ("http", PREFACE[:10]),
    "idle": ("http", LIVE),
    "half a body": ("http", HALF_BODY),
    "half a chunk": ("http", HALF_CHUNKS),
    "unread answers": ("http", b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 300),
    "HTTP/2 preface": ("http", PREFACE),
    "HTTP/2 idle": ("grpc", PREFACE + SETTINGS_FRAME),
    "HTTP/2 answered": ("grpc", PREFACE + SETTINGS_FRAME + frame(1, 0x4, 1, grpc_call(b"ServerLive")) + frame(0, 1, 1, b"\0" * 5)),
    "HTTP/2 half a head": ("http", PREFACE + SETTINGS_FRAME + frame(1, 0, 1, rest_get(b"/v2"))),
    "HTTP/2 half a message": ("grpc", PREFACE + SETTINGS_FRAME + frame(1, 0x4, 1, grpc_call(b"ModelInfer")) + HALF_MESSAGE),
    "HTTP/2 half a stream": ("grpc", PREFACE + SETTINGS_FRAME + frame(1, 0x4, 1, grpc_call(b"ModelStreamInfer")) + HALF_MESSAGE),
    "HTTP/2 no room": ("http", PREFACE + frame(4, 0, 0, NO_WINDOW) + frame(1, 0x5, 1, rest_get(b"/v2"))),
}


@pytest.mark.parametrize("state", STATES)
def test_no_client_delays_the_end_of_the_server(start, state):
    """Ending in time has exit status 0: with a client that is waited for until the drain timeout it is 1."""
    protocol, sent = STATES[state]
    server = start(OPEN, environment={"TIDEGATE_SERVER__DRAIN_TIMEOUT_MS": "2000"})
    clients = [connect(getattr(server, protocol)) for _ in range(16)]
    for client in clients:
        client.settimeout(1)
        quietly(client, sent)
    with requests.Session() as session:
        while open_connections(session, server, protocol) < len(clients):
            pass
    server.terminate()
    assert server.wait() == 0
    for client in clients:
        client.close()
