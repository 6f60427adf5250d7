"""Starting, stopping, being killed."""

import json
import shutil
import signal
import socket
import subprocess
import threading

import pytest
import requests

from conftest import BINARY, BUSY, MODELS

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
    assert slow.status is None


def test_killed_it_starts_again_on_the_same_folder(start, tmp_path):
    server = start(MODELS / "digits")
    assert server.infer("digits", DIGITS).status_code == 200
    server.process.kill()
    assert server.wait() == -signal.SIGKILL
    again = type(server)(tmp_path / "data-0", MODELS / "digits")
    assert again.infer("digits", DIGITS).status_code == 200
    # And the folder is one server's at a time.
    second = run("serve", str(MODELS / "digits"), "--data", str(tmp_path / "data-0"), "--http", "127.0.0.1:0")
    assert second.returncode != 0 and "belongs to another server" in second.stderr
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
    assert entry["state"] == "READY" and "last load failed" in entry["reason"]
    stop.set()
    for thread in threads:
        thread.join()
    assert statuses and set(statuses) == {200}
    assert server.infer("digits", DIGITS).status_code == 200
