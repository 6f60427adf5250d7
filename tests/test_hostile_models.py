"""Model files that ask for more than a machine has, or end the process that loads them."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import requests

import graphs
from conftest import BINARY
from graphs import BOOL, FLOAT, INT64, node, value, weights

# So that a model can need more than it may have, without taking it.
FRUGAL = {"TIDEGATE_ENGINES__LOAD_TRIAL_TIMEOUT_S": "2"}


def load(server, name):
    return requests.post(server.url(f"/v2/repository/models/{name}/load"), json={}, timeout=60)


def ready(server):
    return requests.get(server.url("/v2/health/ready"), timeout=60)


def twice(server):
    tensor = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}
    return server.infer("good", {"inputs": [tensor]}).json()["outputs"][0]["data"]


def endless(path):
    """A graph whose constant part never ends: whoever loads it counts for ever."""
    counter = [value("i", INT64, []), value("go", BOOL, []), value("v", FLOAT, [])]
    done = [value("go_on", BOOL, []), value("w", FLOAT, [])]
    body = graphs.graph([node("Identity", ["go"], ["go_on"]), node("Identity", ["v"], ["w"])], counter, done)
    nodes = [node("Loop", ["", "forever", "start"], ["end"], body=body), node("Add", ["x", "end"], ["y"])]
    constants = [weights("forever", np.array(True)), weights("start", np.array(0, np.float32))]
    return graphs.save(path, nodes, [value("x", FLOAT, ["N", 2])], [value("y", FLOAT, ["N", 2])], constants)


def test_extents_that_no_machine_holds_do_not_end_the_server(start, tmp_path):
    folder = tmp_path / "models"
    graphs.linear(folder / "good.onnx")
    server = start(folder)
    graphs.enormous(folder / "input.onnx")
    one = [value("x", FLOAT, ["N", 1])]
    repeats = weights("repeats", np.array([1, 1 << 40], np.int64))
    wide = [value("y", FLOAT, ["N", 1 << 40])]
    graphs.save(folder / "output.onnx", [node("Tile", ["x", "repeats"], ["y"])], one, wide, [repeats])
    graphs.save(folder / "open.onnx", [node("Tile", ["x", "repeats"], ["y"])], one, [value("y", FLOAT, ["N", "M"])], [repeats])
    for name in ("input", "output", "open"):
        assert load(server, name).status_code in (200, 400)
        assert twice(server) == [2, 4]
        row = {"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [1]}
        assert server.infer(name, {"inputs": [row]}).status_code in (400, 413, 500, 503)
        assert twice(server) == [2, 4]


def test_a_model_with_open_axes_of_a_volume_loads_with_little_memory(start, tmp_path):
    x, y = value("x", FLOAT, ["N", "C", "D", "H", "W"]), value("y", FLOAT, ["N", "O", "D2", "H2", "W2"])
    kernel = weights("w", np.ones((1, 3, 1, 1, 1), np.float32))
    graphs.save(tmp_path / "video.onnx", [node("Conv", ["x", "w"], ["y"])], [x], [y], [kernel])
    server = start(tmp_path / "video.onnx")
    status = open(f"/proc/{server.process.pid}/status", encoding="utf-8").read()
    peak_kib = int(status.split("VmHWM:")[1].split()[0])
    assert peak_kib < 600_000, status
    row = {"name": "x", "shape": [1, 3, 1, 1, 2], "datatype": "FP32", "data": [1, 2, 3, 4, 5, 6]}
    assert server.infer("video", {"inputs": [row]}).json()["outputs"][0]["data"] == [9, 12]


def test_a_model_that_never_ends_loading_fails_alone_and_is_remembered(start, tmp_path):
    folder = tmp_path / "models"
    graphs.linear(folder / "good.onnx")
    endless(folder / "endless.onnx")
    server = start(folder, environment=FRUGAL)
    assert "ready    1 of 2 models" in server.lines[-1], server.lines
    assert any("endless" in line and "within 2 s" in line for line in server.lines), server.lines
    assert ready(server).json()["status"] == "degraded" and twice(server) == [2, 4]
    server.stop()
    again = start(folder, data=tmp_path / "data-0", environment={"TIDEGATE_ENGINES__LOAD_TRIAL_TIMEOUT_S": "3000"})
    assert any("endless" in line and "within 2 s" in line for line in again.lines), again.lines


def test_contents_are_tried_once_and_known_at_the_next_start(start, tmp_path):
    folder = tmp_path / "models"
    graphs.linear(folder / "good.onnx")
    graphs.linear(folder / "other.onnx")
    for name in ("better", "best"):
        path = folder / f"{name}.onnx"
        half = weights("h", np.array(0.5 if name == "better" else 0.25, np.float32))
        graphs.save(path, [node("Mul", ["x", "h"], ["y"])], [value("x", FLOAT, ["N", 2])], [value("y", FLOAT, ["N", 2])], [half])
    server = start(folder)
    tried = server.log.read_text().count("a separate process could load the model")
    assert tried == 3, "two files have the same content"
    server.stop()
    again = start(folder, data=tmp_path / "data-0")
    assert again.log.read_text().count("a separate process could load the model") == tried
    assert twice(again) == [2, 4]


def test_a_content_whose_load_ended_two_servers_is_left_out_by_the_third(start, tmp_path):
    folder, data = tmp_path / "models", tmp_path / "data-0"
    graphs.linear(folder / "good.onnx")
    graphs.enormous(folder / "bad.onnx", extent=4)
    start(folder, data=data).stop()
    # As two servers leave it that ended while they loaded it.
    for path in (data / "loads/passed").iterdir():
        (data / "loads/loading" / path.name).write_text("2")
    third = subprocess.run(
        [BINARY, "serve", str(folder), "--data", str(data), "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ,
    )
    assert third.returncode != 0
    assert third.stdout.count("loading it crashed the server 2 times") == 2, third.stdout
    next((data / "loads/loading").iterdir()).unlink()
    fourth = start(folder, data=data)
    assert "ready    1 of 2 models" in fourth.lines[-1], fourth.lines


@pytest.fixture
def cut_library(tmp_path):
    """A copy of ONNX Runtime without its end: whoever calls it is ended by a signal."""
    found = [os.environ.get("TIDEGATE_ONNXRUNTIME", ""), *map(str, Path.home().glob(".cache/tidegate/**/libonnxruntime.so*"))]
    whole = next(Path(path) for path in found if path and Path(path).is_file())
    cut = tmp_path / "libonnxruntime.so"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    return {**os.environ, "TIDEGATE_ONNXRUNTIME": str(cut)}


def test_commands_that_load_a_model_outlive_what_ends_its_process(cut_library, tmp_path):
    model, rows, junit = graphs.linear(tmp_path / "m.onnx"), tmp_path / "rows.csv", tmp_path / "junit.xml"
    rows.write_text("a,b\n1,2\n")
    for arguments in (["check", model, "--junit", junit], ["predict", model, "--input", rows]):
        ended = subprocess.run([BINARY, *map(str, arguments)], capture_output=True, text=True, timeout=60, env=cut_library)
        assert ended.returncode == 1 and "signal" in ended.stdout + ended.stderr, ended
    assert "signal" in junit.read_text()


def test_a_bad_file_does_not_take_readiness_away_and_unloading_everything_does(start, tmp_path):
    folder = tmp_path / "models"
    graphs.linear(folder / "good.onnx")
    server = start(folder)
    (folder / "bad.onnx").write_bytes(b"oops")
    assert load(server, "bad").status_code == 400
    degraded = ready(server)
    assert degraded.status_code == 200 and degraded.json()["status"] == "degraded"
    assert "bad" in degraded.json()["problems"][0] and twice(server) == [2, 4]
    (folder / "bad.onnx").unlink()
    assert load(server, "bad").status_code == 404
    assert ready(server).json()["status"] == "ready"
    requests.post(server.url("/v2/repository/models/good/unload"), json={}, timeout=60)
    assert ready(server).status_code == 503
    assert load(server, "good").status_code == 200 and ready(server).status_code == 200
