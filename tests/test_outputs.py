"""Graphs whose outputs are not written by a node of their own, or do not follow the batch axis."""

import numpy as np
import pytest
import requests
import tritonclient.grpc as triton
import tritonclient.http as http

import graphs
from graphs import FLOAT, STRING, node, value, weights

ONE = weights("one", np.array(1, np.float32))
ADD = node("Add", ["x", "one"], ["y"])
X, Y = value("x", FLOAT, ["N", 2]), value("y", FLOAT, ["N", 2])


def ask(server, name, rows, **more):
    tensor = {"name": "x", "shape": list(np.shape(rows)), "datatype": "FP32", "data": np.ravel(rows).tolist()}
    response = server.infer(name, {"inputs": [tensor], **more})
    assert response.status_code == 200, response.text
    outputs = response.json()["outputs"]
    return {output["name"]: np.reshape(output["data"], output["shape"]).tolist() for output in outputs}


@pytest.mark.parametrize("engine", ["onnxruntime", "portable"])
def test_an_output_that_is_an_input_a_weight_or_another_output_has_its_values(start, tmp_path, engine):
    folder = tmp_path / "models"
    graphs.save(folder / "input_too.onnx", [ADD], [X], [Y, X], [ONE])
    graphs.save(folder / "no_node.onnx", [], [X], [X])
    twice = node("Identity", ["y"], ["z"])
    graphs.save(folder / "twice.onnx", [ADD, twice], [X], [Y, value("z", FLOAT, ["N", 2])], [ONE])
    row = weights("w", np.array([[8, 9]], np.float32))
    graphs.save(folder / "weight.onnx", [ADD], [X], [Y, value("w", FLOAT, ["N", 2])], [ONE, row])
    server = start(folder, environment={"TIDEGATE_ENGINES__DEFAULT": engine})
    names = ("input_too", "no_node", "twice", "weight")
    # The portable engine refuses outputs that are inputs.
    ready = [name for name in names if f"failed   {name}" not in str(server.lines)]
    assert len(ready) == (4 if engine == "onnxruntime" else 2), server.lines
    expected = {"y": [[6, 8]], "x": [[5, 7]], "z": [[6, 8]], "w": [[8, 9]]}
    for name in ready:
        for output, rows in ask(server, name, [[5.0, 7.0]]).items():
            if name == "no_node":
                assert rows == [[5, 7]]
            else:
                assert rows == expected[output], (name, output)
    if "input_too" in ready:
        assert ask(server, "input_too", [[5.0, 7.0], [1.0, 2.0]])["x"] == [[5, 7], [1, 2]]


def test_a_model_that_drops_rows_by_their_values_is_not_batched(start, tmp_path):
    zero = weights("zero", np.array(0, np.float32))
    nodes = [
        node("ReduceMax", ["x"], ["top"], axes=[1], keepdims=0),
        node("Greater", ["top", "zero"], ["kept"]),
        node("Compress", ["x", "kept"], ["y"], axis=0),
    ]
    graphs.save(tmp_path / "filter.onnx", nodes, [X], [value("y", FLOAT, ["M", 2])], [zero])
    server = start(tmp_path / "filter.onnx")
    assert ask(server, "filter", [[1, 2], [-1, -2], [3, 4]]) == {"y": [[1, 2], [3, 4]]}
    assert ask(server, "filter", [[-1, 2]]) == {"y": [[-1, 2]]}


def test_weights_that_are_listed_as_inputs_are_optional_and_do_not_end_batching(start, tmp_path):
    eye = weights("w", np.eye(2, dtype=np.float32) * 2)
    w = value("w", FLOAT, [2, 2])
    folder = tmp_path / "models"
    for name in ("k", "kb"):
        graphs.save(folder / name / "1/model.onnx", [node("MatMul", ["x", "w"], ["y"])], [X, w], [Y], [eye])
    declared = "max_batch_size: 8\ninput [{name:'x' data_type:TYPE_FP32 dims:[2]}]\noutput [{name:'y' data_type:TYPE_FP32 dims:[2]}]"
    (folder / "kb/config.pbtxt").write_text(declared.replace("'", '"'))
    server = start(folder)
    assert "ready    2 models" in server.lines[-1], server.lines
    for name in ("k", "kb"):
        response = requests.post(server.url(f"/v1/models/{name}:predict"), json={"instances": [[1, 2]]}, timeout=60)
        assert response.json() == {"predictions": [[2, 4]]}
        config = requests.get(server.url(f"/v2/models/{name}/config"), timeout=60).json()
        assert config["max_batch_size"] > 1, config
        own = {"name": "w", "shape": [2, 2], "datatype": "FP32", "data": [1, 0, 0, 1]}
        x = {"name": "x", "shape": [3, 2], "datatype": "FP32", "data": [1, 2, 3, 4, 5, 6]}
        answer = server.infer(name, {"inputs": [x, own]}).json()
        assert answer["outputs"][0]["data"] == [1, 2, 3, 4, 5, 6]


def test_a_model_that_is_random_on_purpose_can_be_declared(registry, start, tmp_path):
    folder = tmp_path / "rnd"
    nodes = [node("RandomUniformLike", ["x"], ["r"]), node("Add", ["x", "r"], ["y"])]
    graphs.save(folder / "model.onnx", nodes, [X], [Y])
    (folder / "model.toml").write_text('name = "rnd"\n')
    refused = registry.run("push", folder, check=False)
    assert refused.returncode != 0 and "deterministic = false" in refused.stdout + refused.stderr
    (folder / "model.toml").write_text('name = "rnd"\ndeterministic = false\n')
    registry.out("push", folder)
    server = start("--registry", data=registry.data)
    assert requests.get(server.url("/v2/models/rnd/ready"), timeout=60).status_code == 200
    assert requests.get(server.url("/v2/models/rnd/config"), timeout=60).json()["max_batch_size"] == 0
    first, second = (ask(server, "rnd", [[0, 0]])["y"] for _ in range(2))
    assert first != second


def test_class_names_of_a_map_are_kept_in_the_order_of_the_graph(start, tmp_path):
    nodes = [
        node("Softmax", ["X"], ["p"]),
        node("ZipMap", ["p"], ["scores"], domain="ai.onnx.ml", classlabels_strings=["dog", "cat", "eel"]),
    ]
    graphs.save(tmp_path / "zip.onnx", nodes, [value("X", FLOAT, ["N", 3])], [graphs.scores_by_class("scores", STRING)])
    server = start(tmp_path / "zip.onnx")
    metadata = requests.get(server.url("/v2/models/zip"), timeout=60).json()
    assert metadata["outputs"][0]["shape"] == [-1, 3]
    row = {"name": "X", "shape": [1, 3], "datatype": "FP32", "data": [9, 2, 3]}
    [plain] = server.infer("zip", {"inputs": [row]}).json()["outputs"]
    assert plain["shape"] == [1, 3] and plain["data"][0] > 0.99
    wanted = [{"name": "scores", "parameters": {"classification": 1}}]
    [classified] = server.infer("zip", {"inputs": [row], "outputs": wanted}).json()["outputs"]
    assert classified["data"][0].endswith(":0:dog")


def test_strings_of_any_bytes_pass_through(start, tmp_path):
    same = node("Identity", ["x"], ["y"])
    graphs.save(tmp_path / "s.onnx", [same], [value("x", STRING, ["N"])], [value("y", STRING, ["N"])])
    server = start(tmp_path / "s.onnx")
    sent = [b"a\0b", b"\xff\xfe", b"", b"x", "Zürich 🦀".encode(), bytes(range(256)) * 40]
    for module, address in ((http, server.http), (triton, server.grpc)):
        tensor = module.InferInput("x", [len(sent)], "BYTES")
        tensor.set_data_from_numpy(np.array(sent, np.object_))
        answer = module.InferenceServerClient(address).infer("s", [tensor]).as_numpy("y")
        assert list(answer) == sent
