"""Graphs of models, with real ONNX models as nodes, against the same models run by hand."""

import json
import shutil
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import requests
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient

from collector import Collector, attributes
from conftest import BINARY, BUSY
from graphs import FLOAT, node, save, value, weights
from onnx_file import table_lookup
from parts import until

RANDOM = np.random.default_rng(11)
WEIGHTS = {name: RANDOM.normal(size=(3, 3)).astype(np.float32) for name in ("embed", "left", "right", "head")}
BIAS = {name: RANDOM.normal(size=3).astype(np.float32) for name in WEIGHTS}
HEAD = """name = "{name}"
[[signature.inputs]]
name = "x"
datatype = "FP32"
shape = {shape}
[[signature.outputs]]
name = "y"
datatype = "FP32"
shape = {out}
"""


def affine(root, name, weight=None, bias=None):
    """A model of a folder: y = x W + b."""
    weight = WEIGHTS[name] if weight is None else np.asarray(weight, np.float32)
    bias = BIAS[name] if bias is None else np.asarray(bias, np.float32)
    nodes = [node("MatMul", ["x", "w"], ["m"]), node("Add", ["m", "b"], ["y"])]
    inputs, outputs = [value("x", FLOAT, ["N", weight.shape[0]])], [value("y", FLOAT, ["N", weight.shape[1]])]
    save(root / name / "model.onnx", nodes, inputs, outputs, [weights("w", weight), weights("b", bias)])
    return root / name


def by_hand(x, *names):
    for name in names:
        x = x @ WEIGHTS[name] + BIAS[name]
    return x


def manifest(root, text, name="flow", shape="[-1, 3]", out="[-1, 3]"):
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.toml").write_text(HEAD.format(name=name, shape=shape, out=out) + text)
    return folder


def step(name, source, target, model=None, rest=""):
    return f"""[[graph.nodes]]
name = "{name}"
model = "{model or name}"
inputs = {{ x = "{source}" }}
outputs = {{ y = "{target}" }}
{rest}
"""


def merge(tensor, kind, of, rest=""):
    return f'[[graph.merges]]\ntensor = "{tensor}"\nmerge = "{kind}"\nof = {json.dumps(of)}\n{rest}\n'


DIAMOND = (
    step("head", "both", "y")
    + step("embed", "x", "e")
    + step("left", "e", "l")
    + step("right", "e", "r")
    + merge("both", "mean", ["l", "r"], "weights = [3.0, 1.0]")
)


@pytest.fixture
def models(tmp_path):
    root = tmp_path / "models"
    for name in WEIGHTS:
        affine(root, name)
    return root


def tensor(x):
    x = np.asarray(x, np.float32)
    return {"name": "x", "shape": list(x.shape), "datatype": "FP32", "data": x.ravel().tolist()}


def ask(server, x, model="flow", **options):
    return server.infer(model, {"inputs": [tensor(x)], **options})


def answer(server, x, model="flow", **options):
    response = ask(server, x, model, **options)
    assert response.status_code == 200, response.text
    (output,) = response.json()["outputs"]
    return np.array(output["data"], np.float32).reshape(output["shape"])


def diamond_by_hand(x):
    e = by_hand(x, "embed")
    return by_hand(0.75 * by_hand(e, "left") + 0.25 * by_hand(e, "right"), "head")


def rows(count, seed=3):
    return np.random.default_rng(seed).normal(size=(count, 3)).astype(np.float32)


def test_a_chain_and_a_diamond_equal_the_models_run_by_hand(start, models):
    manifest(models, step("a", "x", "t", "embed") + step("b", "t", "y", "head"), name="chain")
    manifest(models, DIAMOND)
    server = start(models)
    x = rows(7)
    np.testing.assert_allclose(answer(server, x, "chain"), by_hand(x, "embed", "head"), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(answer(server, x), diamond_by_hand(x), rtol=1e-5, atol=1e-5)
    # KServe v1 and both clients of Triton.
    v1 = requests.post(server.url("/v1/models/flow:predict"), json={"instances": x.tolist()}, timeout=60)
    np.testing.assert_allclose(v1.json()["predictions"], diamond_by_hand(x), rtol=1e-5, atol=1e-5)
    for client, address in ((httpclient, server.http), (grpcclient, server.grpc)):
        given = client.InferInput("x", [7, 3], "FP32")
        given.set_data_from_numpy(x)
        with client.InferenceServerClient(address) as triton:
            result = triton.infer("flow", [given])
        np.testing.assert_allclose(result.as_numpy("y"), diamond_by_hand(x), rtol=1e-5, atol=1e-5)


def test_the_nodes_are_no_requests_of_clients_and_the_graph_is_one(start, models):
    manifest(models, DIAMOND)
    server = start(models)
    for _ in range(3):
        answer(server, rows(2))
    assert server.metric("nv_inference_request_success", model="flow") == 3
    assert server.metric("nv_inference_count", model="flow") == 6
    for name in WEIGHTS:
        assert server.metric("nv_inference_request_success", model=name) == 0
        assert server.metric("nv_inference_exec_count", model=name) == 3
        assert server.metric("tidegate_graph_node_runs_total", model=name) == 3
    assert server.metric("tidegate_instance_busy_seconds_total", model="flow") == 0
    config = requests.get(server.url("/v2/models/flow/config"), timeout=60).json()
    assert config["platform"] == "ensemble"
    steps = config["ensemble_scheduling"]["step"]
    assert [step["model_name"] for step in steps] == ["head", "embed", "left", "right"]
    assert steps[1]["input_map"] == {"x": "x"} and steps[1]["output_map"] == {"y": "e"}


CASCADE = (
    step("small", "x", "score")
    + step("large", "x", "exact", rest='when = "score < 0.0"')
    + merge("y", "first", ["exact", "score"])
)


def test_each_row_takes_the_branch_of_its_own_value(start, tmp_path):
    root = tmp_path / "models"
    affine(root, "small", [[1.0]], [0.0])
    affine(root, "large", [[10.0]], [0.5])
    manifest(root, CASCADE, shape="[-1, 1]", out="[-1, 1]")
    server = start(root)
    x = np.array([[-1.0], [2.0], [-3.0], [4.0]])
    expected = np.where(x < 0, 10 * x + 0.5, x)
    np.testing.assert_allclose(answer(server, x), expected)
    assert server.metric("nv_inference_exec_count", model="large") == 1
    # No row takes the branch: the model does not run.
    np.testing.assert_allclose(answer(server, [[5.0]]), [[5.0]])
    assert server.metric("nv_inference_exec_count", model="large") == 1
    np.testing.assert_allclose(answer(server, [[-5.0]]), [[-49.5]])


def test_requests_of_a_graph_and_of_others_share_batches_of_a_node(start, tmp_path):
    root = tmp_path / "models"
    affine(root, "embed")
    (root / "embed/model.toml").write_text("[batching]\nmax_queue_delay_us = 300_000\npreferred_batch_sizes = [8]\n")
    manifest(root, step("embed", "x", "y"))
    server = start(root)
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(answer, server, rows(1, seed), "flow" if seed % 2 else "embed") for seed in range(8)]
        for seed, answered in enumerate(waiting):
            np.testing.assert_allclose(answered.result(), by_hand(rows(1, seed), "embed"), rtol=1e-5, atol=1e-5)
    assert server.metric("nv_inference_exec_count", model="embed") < 8
    assert server.metric("nv_inference_request_success", model="embed") == 4


def test_a_node_that_fails_gives_the_error_of_the_graph_with_its_name(start, tmp_path):
    root = tmp_path / "models"
    (root / "table").mkdir(parents=True)
    (root / "table/model.onnx").write_bytes(table_lookup(2.5))
    manifest(root, step("lookup", "x", "y", "table"), shape="[-1, 4]", out="[-1, 4]")
    server = start(root)
    np.testing.assert_allclose(answer(server, [[1, 2, 3, 4]]), [[2.5] * 4])
    failed = ask(server, [[1, 2, 3, 5000]])
    assert (failed.status_code, failed.json()["code"]) == (500, "execution_failed"), failed.text
    assert failed.json()["error"].startswith('node "lookup" (table): '), failed.text
    assert server.metric("nv_inference_request_failure", model="flow", reason="execution_failed") == 1
    assert server.metric("nv_inference_request_failure", model="table", reason="execution_failed") == 0


def test_a_graph_is_ready_when_its_nodes_are(start, models):
    manifest(models, DIAMOND)
    shutil.move(models / "left", models.parent / "left")
    server = start(models)
    ready = requests.get(server.url("/v2/models/flow/ready"), timeout=60)
    assert ready.status_code == 503 and 'node \\"left\\" (left)' in ready.text, ready.text
    refused = ask(server, rows(1))
    assert (refused.status_code, refused.json()["code"]) == (503, "graph_node_unavailable"), refused.text
    assert refused.json()["error"] == 'node "left" (left): there is no model "left"'
    problems = requests.get(server.url("/v2/health/ready"), timeout=60).json()["problems"]
    assert any("graph flow:1 cannot answer" in problem for problem in problems), problems
    # The model comes, and goes again.
    shutil.move(models.parent / "left", models / "left")
    assert requests.post(server.url("/v2/repository/models/left/load"), timeout=60).status_code == 200
    assert requests.get(server.url("/v2/models/flow/ready"), timeout=60).status_code == 200
    np.testing.assert_allclose(answer(server, rows(1)), diamond_by_hand(rows(1)), rtol=1e-5, atol=1e-5)
    assert requests.post(server.url("/v2/repository/models/left/unload"), timeout=60).status_code == 200
    refused = ask(server, rows(1))
    assert (refused.status_code, refused.json()["code"]) == (503, "graph_node_unavailable"), refused.text


def test_a_node_is_swapped_under_load_without_a_wrong_answer(start, models):
    # The same model twice: no request may see one version in one node and another in the other.
    manifest(models, step("one", "x", "t", "embed") + step("two", "t", "y", "embed"))
    server = start(models)
    versions = [WEIGHTS["embed"], np.float32(2) * WEIGHTS["embed"]]
    x = rows(4)
    expected = [(x @ w + BIAS["embed"]) @ w + BIAS["embed"] for w in versions]
    stop = threading.Event()
    wrong, answered = [], [0, 0]

    def client():
        while not stop.is_set():
            y = answer(server, x)
            near = [np.allclose(y, right, rtol=1e-4, atol=1e-4) for right in expected]
            if not any(near):
                wrong.append(y)
            answered[near.index(True) if any(near) else 0] += 1

    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(client) for _ in range(4)]
        for swap in range(4):
            affine(models, "embed", versions[(swap + 1) % 2])
            assert requests.post(server.url("/v2/repository/models/embed/load"), timeout=60).status_code == 200
        until(lambda: all(answered))
        stop.set()
        for one in clients:
            one.result()
    assert not wrong and all(answered)


def test_a_new_version_of_a_node_that_does_not_fit_is_named_and_no_number_is_wrong(start, models):
    manifest(models, DIAMOND)
    server = start(models)
    answer(server, rows(2))
    affine(models, "right", np.ones((3, 2)), np.zeros(2))
    assert requests.post(server.url("/v2/repository/models/right/load"), timeout=60).status_code == 200
    refused = ask(server, rows(2))
    assert (refused.status_code, refused.json()["code"]) == (500, "graph_failed"), refused.text
    assert "both" in refused.json()["error"] and "[2, 2]" in refused.json()["error"]
    ready = requests.get(server.url("/v2/models/flow/ready"), timeout=60)
    assert ready.status_code == 500 or ready.status_code == 503, ready.text
    affine(models, "right")
    assert requests.post(server.url("/v2/repository/models/right/load"), timeout=60).status_code == 200
    np.testing.assert_allclose(answer(server, rows(2)), diamond_by_hand(rows(2)), rtol=1e-5, atol=1e-5)


def test_a_graph_that_does_not_fit_its_models_is_not_served(start, models):
    affine(models, "wide", np.ones((4, 3)), np.zeros(3))
    manifest(models, step("wide", "x", "y"), name="narrow")
    manifest(models, step("a", "x", "t", "second") + step("b", "t", "y", "embed"), name="first")
    manifest(models, step("a", "x", "t", "embed") + step("b", "t", "y", "first"), name="second")
    manifest(models, step("a", "x", "y", "embed", 'when = "x < 1.0"'), name="partial")
    server = start(models)
    index = {entry["name"]: entry for entry in requests.post(server.url("/v2/repository/index"), timeout=60).json()}
    assert 'node "wide" (wide), input "x": tensor "x" has shape [-1, 3], and [-1, 4]' in index["narrow"]["reason"]
    assert "in a circle" in index["second"]["reason"], index
    assert 'output "y" has no value' in index["partial"]["reason"]


def busy_graph(tmp_path):
    root = tmp_path / "models"
    shutil.copytree(BUSY, root / "busy")
    folder = root / "flow"
    folder.mkdir()
    nodes = "".join(
        f'[[graph.nodes]]\nname = "{name}"\nmodel = "busy"\ninputs = {{ rounds = "rounds" }}\noutputs = {{ done = "{out}" }}\n'
        for name, out in (("one", "a"), ("two", "b"))
    )
    tensors = "".join(
        f'[[signature.{side}]]\nname = "{name}"\ndatatype = "INT64"\nshape = [-1, 1]\n'
        for side, name in (("inputs", "rounds"), ("outputs", "a"), ("outputs", "b"))
    )
    (folder / "model.toml").write_text(tensors + nodes)
    return root


def rounds(count):
    return {"name": "rounds", "shape": [1, 1], "datatype": "INT64", "data": [count]}


def test_the_deadline_of_a_request_holds_for_its_nodes(start, tmp_path):
    server = start(busy_graph(tmp_path))
    body = {"inputs": [rounds(10_000)], "parameters": {"timeout": 100_000}}
    late = server.infer("flow", body)
    assert (late.status_code, late.json()["code"]) == (504, "deadline_exceeded"), late.text
    assert server.infer("flow", {"inputs": [rounds(1)]}).status_code == 200


def test_a_client_that_goes_away_frees_the_queues_of_the_nodes(start, tmp_path):
    root = busy_graph(tmp_path)
    (root / "busy/model.toml").write_text("[engine_options]\ninstances = 1\n[batching]\nmax_batch_size = 1\n")
    server = start(root)
    with pytest.raises(requests.exceptions.Timeout):
        requests.post(server.url("/v2/models/flow/infer"), json={"inputs": [rounds(20_000)]}, timeout=0.5)
    until(lambda: server.metric("tidegate_requests_abandoned_total", model="flow") == 1)
    until(lambda: server.metric("nv_inference_pending_request_count", model="busy") == 0)


def test_the_tensors_between_nodes_count_in_the_memory_of_requests(start, tmp_path):
    root = tmp_path / "models"
    affine(root, "widen", np.ones((1, 4096)), np.zeros(4096))
    affine(root, "sum", np.ones((4096, 1)), np.zeros(1))
    manifest(root, step("widen", "x", "wide") + step("sum", "wide", "y"), shape="[-1, 1]", out="[-1, 1]")
    server = start(root, environment={"TIDEGATE_SERVER__MEMORY_BUDGET_BYTES": str(4 << 20)})
    np.testing.assert_allclose(answer(server, [[1.0]]), [[4096.0]])
    refused = ask(server, np.ones((2000, 1)))
    assert (refused.status_code, refused.json()["code"]) == (413, "answer_too_large"), refused.text
    np.testing.assert_allclose(answer(server, [[1.0]]), [[4096.0]])


def test_the_trace_shows_each_node(start, models):
    collector = Collector()
    try:
        manifest(models, DIAMOND)
        settings = {"ENDPOINT": collector.grpc, "SAMPLE": 0, "KEEP_SLOWEST": 0}
        server = start(models, environment={f"TIDEGATE_TRACES__{k}": str(v) for k, v in settings.items()})
        trace = "4bf92f3577b34da6a3ce929d0e0e4736"
        headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
        assert server.infer("flow", {"inputs": [tensor(rows(2))]}, headers=headers).status_code == 200
        spans = until(lambda: len(found := collector.spans(name="node")) == 4 and found)
        told = {attributes(span)["tidegate.node"]: span for span in spans}
        assert set(told) == set(WEIGHTS)
        (request,) = collector.spans(name="POST /v2/models/{model}/infer")
        assert all(span.parent_span_id == request.span_id and span.trace_id.hex() == trace for span in spans)
        assert attributes(told["left"])["tidegate.model"] == "left" and attributes(told["left"])["tidegate.version"] == "1"
        assert told["head"].start_time_unix_nano >= told["left"].end_time_unix_nano >= told["embed"].end_time_unix_nano
    finally:
        collector.stop()


def test_a_graph_takes_records_and_answers_decisions(start, tmp_path):
    root = tmp_path / "models"
    affine(root, "small", [[1.0], [2.0]], [0.0])
    text = step("small", "x", "y") + """
[pipeline]
[[pipeline.fields]]
name = "a"
type = "number"
[[pipeline.fields]]
name = "b"
type = "number"
[[pipeline.inputs]]
name = "x"
columns = ["a", "b"]
"""
    manifest(root, text, shape="[-1, 2]", out="[-1, 1]")
    server = start(root)
    body = {"instances": [{"a": 1, "b": 2}, {"a": 3, "b": 0.5}]}
    found = requests.post(server.url("/v1/endpoints/flow/predict"), json=body, timeout=60)
    assert found.status_code == 200, found.text
    assert [row["y"] for row in found.json()["predictions"]] == [5.0, 4.0], found.text


TRITON = """
name: "flow"
platform: "ensemble"
max_batch_size: 16
input [{ name: "x" data_type: TYPE_FP32 dims: [ 3 ] }]
output [{ name: "y" data_type: TYPE_FP32 dims: [ 3 ] }]
ensemble_scheduling {
  step [
    { model_name: "embed" model_version: -1
      input_map { key: "x" value: "x" } output_map { key: "y" value: "e" } },
    { model_name: "head" model_version: 1
      input_map { key: "x" value: "e" } output_map { key: "y" value: "y" } }
  ]
}
"""


def test_an_ensemble_of_triton_is_served(start, tmp_path):
    root = tmp_path / "repository"
    for name in ("embed", "head"):
        affine(tmp_path / "made", name)
        (root / name / "1").mkdir(parents=True)
        shutil.copy(tmp_path / "made" / name / "model.onnx", root / name / "1")
    (root / "flow/1").mkdir(parents=True)
    (root / "flow/config.pbtxt").write_text(TRITON)
    server = start(root)
    x = rows(5)
    for client, address in ((httpclient, server.http), (grpcclient, server.grpc)):
        given = client.InferInput("x", [5, 3], "FP32")
        given.set_data_from_numpy(x)
        with client.InferenceServerClient(address) as triton:
            assert triton.is_model_ready("flow")
            result = triton.infer("flow", [given])
        np.testing.assert_allclose(result.as_numpy("y"), by_hand(x, "embed", "head"), rtol=1e-5, atol=1e-5)
    config = requests.get(server.url("/v2/models/flow/config"), timeout=60).json()
    assert (config["platform"], config["max_batch_size"]) == ("ensemble", 16)
    assert [step["model_version"] for step in config["ensemble_scheduling"]["step"]] == [-1, 1]
    (root / "flow/config.pbtxt").write_text(TRITON.replace('value: "e" } output_map { key: "y" value: "y"', 'value: "f" } output_map { key: "y" value: "y"'))
    broken = requests.post(server.url("/v2/repository/models/flow/load"), timeout=60)
    assert broken.status_code == 400 and 'takes tensor "f", which nothing makes' in broken.json()["error"]


def tidegate(*arguments, status=0):
    ended = subprocess.run([BINARY, *map(str, arguments)], capture_output=True, text=True, timeout=60)
    assert ended.returncode == status, ended.stdout + ended.stderr
    return ended


def test_a_graph_is_pushed_checked_shown_and_served_from_the_registry(start, registry, models):
    flow = manifest(models, DIAMOND)
    checked = tidegate("check", flow).stdout
    assert "passed   graph" in checked and "passed   nodes" in checked, checked
    affine(models, "left", np.ones((2, 3)), np.zeros(3))
    narrow = tidegate("check", flow, status=1).stdout
    assert 'FAILED   nodes: node "left" (left), input "x": tensor "e" has shape [-1, 3], and [-1, 2]' in narrow, narrow
    affine(models, "left")
    shown = tidegate("inspect", flow).stdout
    assert "x -> embed (embed) -> e" in shown and "l, r -> mean -> both" in shown, shown
    for name in [*WEIGHTS, "flow"]:
        registry.run("push", models / name)
    server = start(data=registry.data)
    np.testing.assert_allclose(answer(server, rows(3)), diamond_by_hand(rows(3)), rtol=1e-5, atol=1e-5)
    # A node goes to a new version, and the graph follows.
    affine(models, "head", np.eye(3), np.zeros(3))
    registry.run("push", models / "head")
    e = by_hand(rows(3), "embed")
    expected = 0.75 * by_hand(e, "left") + 0.25 * by_hand(e, "right")
    until(lambda: np.allclose(answer(server, rows(3)), expected, rtol=1e-5, atol=1e-5))
    broken = models / "broken"
    manifest(models, step("a", "x", "t", "embed"), name="broken")
    refused = registry.run("push", broken, check=False)
    assert refused.returncode != 0 and 'tensor "y", which nothing makes' in refused.stdout, refused.stdout
