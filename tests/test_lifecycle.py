"""Starting, stopping, being killed."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading

import numpy as np
import pytest
import requests

from conftest import BINARY, BUSY, MODELS, ROOT

DIGITS = {"inputs": [{"name": "image", "shape": [1, 64], "datatype": "FP32", "data": [1.0] * 64}]}


def busy(rounds):
    return {"inputs": [{"name": "rounds", "shape": [1, 1], "datatype": "INT64", "data": [rounds]}]}


class Client(threading.Thread):
    """Sends one request on a connection of its own; `status` is that of the answer, or None."""

    def __init__(self, server, model, body):
        super().__init__()
        host, port = server.http.split(":")
        text = json.dumps(body)
        self.socket = socket.create_connection((host, int(port)), timeout=60)
        head = f"POST /v2/models/{model}/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(text)}\r\n\r\n"
        self.socket.sendall((head + text).encode())
        self.status = None

    def run(self):
        answer = b""
        while b"\r\n\r\n" not in answer:
            received = self.socket.recv(65536)
            if not received:
                return
            answer += received
        self.answer = answer
        self.status = int(answer.split()[1])


def test_sigterm_under_load_loses_no_accepted_request(start):
    server = start(BUSY, MODELS / "digits")
    clients = [Client(server, "busy", busy(3000 + at)) for at in range(24)]
    clients += [Client(server, "digits", DIGITS) for _ in range(24)]
    for client in clients:
        client.start()
    # Accepted means that its request was read: the last one's answer to a probe on the same listener says so.
    assert requests.get(server.url("/v2/health/live"), timeout=60).status_code == 200
    server.terminate()
    for client in clients:
        client.join()
    assert [client.status for client in clients] == [200] * len(clients)
    assert server.wait() == 0


def test_while_it_drains_it_says_that_it_is_not_ready_and_takes_no_connection(start):
    server = start(BUSY)
    kept = requests.Session()
    assert kept.get(server.url("/v2/health/ready"), timeout=60).status_code == 200
    slow = Client(server, "busy", busy(60_000))
    slow.start()
    assert requests.get(server.url("/v2/health/live"), timeout=60).status_code == 200
    server.terminate()
    while True:
        try:
            requests.get(server.url("/v2/health/live"), timeout=60)
        except requests.ConnectionError:
            break
    slow.join()
    assert slow.status == 200
    assert server.wait() == 0


def test_an_answer_that_its_client_reads_slowly_is_sent_to_its_end(start, graph):
    server = start(graph("identity_unknown_rank"))
    (told,) = requests.get(server.url("/v2/models/m"), timeout=60).json()["inputs"]
    values = np.arange(6 << 20, dtype=np.float32)
    size = {"binary_data_size": values.nbytes}
    tensor = {"name": told["name"], "shape": [1, values.size], "datatype": "FP32", "parameters": size}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    client = socket.socket()
    # Little room on the way: most of the answer stays with the server until it is read.
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
    answer = client.recv(1 << 12)
    assert answer.startswith(b"HTTP/1.1 200")
    server.terminate()
    while "stopping" not in server.log.read_text():
        threading.Event().wait(0.01)
    while received := client.recv(1 << 20):
        answer += received
    client.close()
    headers, _, body = answer.partition(b"\r\n\r\n")
    length = int(re.search(rb"(?i)\r\ncontent-length: (\d+)", headers).group(1))
    assert len(body) == length and body.endswith(values.tobytes())
    assert server.wait() == 0


def test_a_second_signal_ends_at_once(start):
    server = start(BUSY)
    slow = Client(server, "busy", busy(2_000_000))
    slow.start()
    assert requests.get(server.url("/v2/health/live"), timeout=60).status_code == 200
    server.terminate()
    while "stopping" not in server.log.read_text():
        threading.Event().wait(0.01)
    server.terminate()
    assert server.wait() == 1
    slow.join()


def test_what_outlasts_the_drain_timeout_is_cut_off(start):
    server = start(BUSY, environment={"TIDEGATE_SERVER__DRAIN_TIMEOUT_MS": "200"})
    slow = Client(server, "busy", busy(2_000_000))
    slow.start()
    assert requests.get(server.url("/v2/health/live"), timeout=60).status_code == 200
    server.terminate()
    assert server.wait() == 1
    slow.join()
    assert slow.status is None, slow.answer


def test_killed_it_starts_again_on_the_same_folder(start, tmp_path):
    server = start(MODELS / "digits")
    assert server.infer("digits", DIGITS).status_code == 200
    server.process.kill()
    assert server.wait() == -signal.SIGKILL
    again = type(server)(tmp_path / "data-0", MODELS / "digits")
    assert again.infer("digits", DIGITS).status_code == 200
    # And the folder is one server's at a time.
    second = run("serve", str(MODELS / "digits"), "--data", str(tmp_path / "data-0"), "--http", "127.0.0.1:0")
    assert second.returncode != 0 and "is in use by another server" in second.stderr
    again.stop()


def run(*arguments, **options):
    return subprocess.run([BINARY, *arguments], capture_output=True, text=True, timeout=60, **options)


@pytest.mark.parametrize(
    ("text", "hint"),
    [("[server]\nmax_body_byte = 3\n", "max_body_bytes"), ("[log]\nlevle = 'info'\n", "level"), ("[serve]\n", "server")],
)
def test_an_unknown_key_is_refused_with_the_nearest_one(tmp_path, text, hint):
    config = tmp_path / "tidegate.toml"
    config.write_text(text)
    ended = run("serve", "--config", str(config))
    assert ended.returncode != 0 and f"did you mean `{hint}`?" in ended.stderr


def test_the_file_the_environment_and_flags(start, tmp_path):
    config = tmp_path / "tidegate.toml"
    config.write_text(f'models = ["{MODELS / "digits"}"]\n[server]\nmodel_control = false\nmax_body_bytes = 10\n')
    server = start(flags=("--config", str(config)), environment={"TIDEGATE_SERVER__MAX_BODY_BYTES": "100000"})
    assert server.infer("digits", DIGITS).status_code == 200
    refused = requests.post(server.url("/v2/repository/models/digits/unload"), timeout=60)
    assert (refused.status_code, refused.json()["code"]) == (405, "method_not_allowed")


def test_a_model_is_replaced_under_traffic_without_a_failed_request(start, tmp_path):
    shutil.copytree(MODELS / "digits", tmp_path / "digits")
    server = start(tmp_path / "digits")
    stop = threading.Event()
    statuses = []

    def ask():
        with requests.Session() as session:
            while not stop.is_set():
                url = server.url("/v2/models/digits/infer")
                statuses.append(session.post(url, json=DIGITS, timeout=60).status_code)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        assert requests.post(server.url("/v2/repository/models/digits/load"), timeout=60).status_code == 200
    # A broken artifact leaves the old one serving, and the index says what is wrong.
    (tmp_path / "digits/model.onnx").write_bytes(b"no model")
    assert requests.post(server.url("/v2/repository/models/digits/load"), timeout=60).status_code == 400
    assert requests.get(server.url("/v2/health/ready"), timeout=60).status_code == 200
    [entry] = requests.post(server.url("/v2/repository/index"), timeout=60).json()
    assert entry["state"] == "READY" and "reload failed" in entry["reason"]
    stop.set()
    for thread in threads:
        thread.join()
    assert statuses and set(statuses) == {200}
    assert server.infer("digits", DIGITS).status_code == 200


def test_every_documented_metric_is_exposed_and_gone_with_its_version(start, tmp_path):
    config = tmp_path / "tidegate.toml"
    config.write_text('[[slo]]\nname = "available"\n')
    server = start(MODELS / "digits", flags=("--registry", "--config", str(config)))
    assert server.infer("digits", DIGITS).status_code == 200
    assert server.infer("digits", {"inputs": []}).status_code == 400
    assert server.infer("nobody", DIGITS).status_code == 404
    reference = (ROOT / "docs/reference/metrics.md").read_text()
    documented = re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]*) \|", reference, re.MULTILINE)
    assert len(documented) > 20
    # These come with a lazy model, an eviction, an alert or a client that hangs up: see test_fleet.py, test_objectives.py
    # and test_errors.py.
    elsewhere = {
        "tidegate_cold_start_requests_total",
        "tidegate_evictions_total",
        "tidegate_alert_deliveries_total",
        "tidegate_requests_abandoned_total",
        # Only of versions whose rows turned out to depend on each other, which no sample showed.
        "tidegate_batching_stopped_total",
        # Only of versions that graphs run: see test_graphs.py.
        "tidegate_graph_node_runs_total",
        # Only of fields whose rule a record has broken: see test_pipelines.py.
        "tidegate_field_violations_total",
    }
    elsewhere_by_kind = ("tidegate_cgroup_", "tidegate_gpu_", "tidegate_cost_", "tidegate_trace", "tidegate_replicas", "tidegate_remote_", "tidegate_tls_", "tidegate_breaker_", "tidegate_fallback", "tidegate_redis_", "tidegate_cache_shared_", "tidegate_feature_", "tidegate_sequence", "tidegate_shadow_", "tidegate_capture", "tidegate_feedback_", "tidegate_accuracy", "tidegate_estimated_accuracy", "tidegate_drift", "tidegate_rollout_", "tidegate_cascade_", "tidegate_polic")
    for name, kind, _ in documented:
        # Not every machine has control groups of version 2 or GPUs; prices, a collector, a group, breakers, fallbacks and Redis bring
        # the others: see test_gpu.py, test_cost.py, test_traces.py, test_replicas.py, test_remote.py, test_tls.py,
        # test_resilience.py, test_fallbacks.py, test_redis.py, test_features.py, test_traffic.py, test_rollouts.py, test_cascades.py, test_policies.py and test_quality.py; models with states those of
        # sequences: see test_sequences.py.
        if name in elsewhere or name.startswith(elsewhere_by_kind):
            continue
        suffix = "_count" if kind == "histogram" else ""
        assert server.metric(name + suffix) is not None, name
    assert server.metric("tidegate_cold_starts_total", model="digits") == 1
    assert server.metric("tidegate_model_loads_total", model="digits", outcome="ok") == 1
    assert server.metric("nv_inference_request_failure", reason="missing_input") == 1
    # Loaded anew while it answers, it does not start cold; unloaded, it leaves nothing behind that is of a version.
    assert requests.post(server.url("/v2/repository/models/digits/load"), timeout=60).status_code == 200
    assert server.metric("tidegate_cold_starts_total", model="digits") == 1
    assert requests.post(server.url("/v2/repository/models/digits/unload"), timeout=60).status_code == 200
    for name, kind, labels in documented:
        if "`version`" in labels and not name.startswith("tidegate_cost_"):
            assert server.metric(name + ("_count" if kind == "histogram" else "")) is None, name
    assert requests.post(server.url("/v2/repository/models/digits/load"), timeout=60).status_code == 200
    assert server.metric("tidegate_cold_starts_total", model="digits") == 2


def test_metrics_are_compressed_for_clients_that_accept_it(start):
    server = start(MODELS)
    ask = lambda encoding: requests.get(server.url("/metrics"), headers={"accept-encoding": encoding}, timeout=60)  # noqa: E731
    plain, packed = ask("identity"), ask("gzip")
    assert "content-encoding" not in plain.headers and packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) * 4 < int(plain.headers["content-length"])
    assert plain.headers["content-type"] == packed.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    names = [{line.split("{")[0].split(" ")[0] for line in answer.text.splitlines()} for answer in (plain, packed)]
    assert names[0] == names[1] and "nv_inference_request_success" in names[0]


def test_statistics_begin_anew_with_a_load(start):
    server = start(MODELS / "digits")
    for _ in range(5):
        assert server.infer("digits", DIGITS).status_code == 200
    assert requests.post(server.url("/v2/repository/models/digits/load"), timeout=60).status_code == 200
    assert server.infer("digits", DIGITS).status_code == 200
    figures = requests.get(server.url("/v2/models/digits/stats"), timeout=60).json()["model_stats"][0]
    assert figures["inference_count"] == figures["execution_count"] == 1
    assert figures["inference_stats"]["success"]["count"] == 1
    # A counter of Prometheus goes on.
    assert server.metric("nv_inference_request_success", model="digits") == 6


def test_a_failed_reload_is_told_and_does_not_take_the_server_out_of_traffic(start, tmp_path):
    shutil.copytree(MODELS / "digits", tmp_path / "digits")
    server = start(tmp_path / "digits")
    (tmp_path / "digits/model.onnx").write_bytes(b"no model")
    assert requests.post(server.url("/v2/repository/models/digits/load"), timeout=60).status_code == 400
    [entry] = requests.post(server.url("/v2/repository/index"), timeout=60).json()
    assert entry["state"] == "READY" and "reload failed" in entry["reason"]
    assert requests.get(server.url("/v2/health/ready"), timeout=60).status_code == 200
    assert server.infer("digits", DIGITS).status_code == 200


def test_a_path_that_cannot_be_read_makes_the_server_not_ready(start, tmp_path):
    server = start(MODELS / "digits", tmp_path / "late")
    assert requests.get(server.url("/v2/health/ready"), timeout=60).status_code == 503
    index = {entry["name"]: entry for entry in requests.post(server.url("/v2/repository/index"), timeout=60).json()}
    assert "cannot be read" in index[str(tmp_path / "late")]["reason"]
    shutil.copytree(BUSY, tmp_path / "late/busy")
    assert requests.post(server.url("/v2/repository/models/busy/load"), timeout=60).status_code == 200
    assert requests.get(server.url("/v2/health/ready"), timeout=60).status_code == 200


def test_labels_of_an_output_that_is_not_there_are_refused(start, tmp_path):
    shutil.copytree(MODELS / "digits", tmp_path / "models/digits")
    shutil.copytree(BUSY, tmp_path / "models/busy")
    manifest = tmp_path / "models/digits/model.toml"
    manifest.write_text(manifest.read_text().replace('name = "probabilities"', 'name = "probabilites"'))
    server = start(tmp_path / "models")
    [failed] = [line for line in server.lines if line.startswith("failed")]
    assert "digits" in failed and "probabilites" in failed


def test_a_batch_size_beyond_all_memory_loads(start, tmp_path):
    shutil.copytree(MODELS / "digits", tmp_path / "digits")
    manifest = tmp_path / "digits/model.toml"
    manifest.write_text(manifest.read_text() + "\n[batching]\nmax_batch_size = 2000000000\n")
    server = start(tmp_path / "digits")
    assert server.infer("digits", DIGITS).status_code == 200
    config = requests.get(server.url("/v2/models/digits/config"), timeout=60).json()
    assert config["max_batch_size"] == 2_000_000_000


def test_a_reader_that_stops_listening_does_not_stop_the_server(tmp_path):
    command = [BINARY, "serve", str(MODELS / "digits"), "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    address = process.stdout.readline().split()[1]
    process.stdout.close()
    while True:
        try:
            if requests.get(f"{address}/v2/health/ready", timeout=60).status_code == 200:
                break
        except requests.ConnectionError:
            assert process.poll() is None, (tmp_path / "log").read_text()
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


def test_an_environment_that_is_no_text_is_no_obstacle():
    command = [BINARY, "serve", "/nowhere", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"]
    ended = subprocess.run(command, capture_output=True, timeout=60, env={**os.environb, b"ODD": b"\xff\xfe"})
    assert b"no model loaded" in ended.stderr and b"panicked" not in ended.stderr
