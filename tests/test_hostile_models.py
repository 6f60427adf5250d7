"""Model files that ask for more than a machine has."""

import numpy as np
import requests

import graphs
from graphs import FLOAT, node, value, weights


def load(server, name):
    return requests.post(server.url(f"/v2/repository/models/{name}/load"), json={}, timeout=60)


def twice(server):
    tensor = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}
    return server.infer("good", {"inputs": [tensor]}).json()["outputs"][0]["data"]


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
        assert server.infer(name, {"inputs": [row]}).status_code in (400, 500, 503)
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

