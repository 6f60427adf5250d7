"""Sequences: states from one request to the next, over REST, gRPC and streams, and who gets which."""

import contextlib
import json
import queue
import random
import re
import subprocess
import sys
import threading
import zipfile

import numpy as np
import pytest
import requests
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

import sequence_graphs as graphs
from conftest import BINARY, PATIENCE_S, ROOT, wheel
from graphs import FLOAT
from test_auth import Keys, bearer, wait_for, wait_until_known

SILERO = ROOT / "tests/silero"
sys.path.insert(0, str(SILERO))
import record_probabilities  # noqa: E402

SUM = '[[sequences.states]]\ninput = "sum_in"\noutput = "sum_out"\n'
CONFIG = """
max_batch_size: 8
input { name: "x" data_type: TYPE_INT32 dims: [ 1 ] }
output { name: "y" data_type: TYPE_INT32 dims: [ 1 ] }
sequence_batching {
  max_sequence_idle_microseconds: 60000000
  state { input_name: "sum_in" output_name: "sum_out" data_type: TYPE_INT32 dims: [ 1 ] INITIAL }
}
"""
VALUES = [11, 7, 5, 3, 2, 0, 1]


def bundle(folder, make=graphs.accumulator, manifest=SUM, **options):
    """A bundle around a model that `make` writes."""
    make(folder / "model.onnx", **options)
    (folder / "model.toml").write_text(f'name = "{folder.name}"\n{manifest}')
    return folder


@pytest.fixture
def serve(start, tmp_path):
    def serve(make=graphs.accumulator, manifest=SUM, name="sum", flags=(), options=None, **settings):
        return start(bundle(tmp_path / name, make, manifest, **(options or {})), flags=flags, **settings)

    return serve


def step(server, x, sequence=None, model="sum", datatype="INT32", rows=1, headers=None, timeout=PATIENCE_S, **flags):
    parameters = {} if sequence is None else {"sequence_id": sequence}
    parameters |= {f"sequence_{name}": flag for name, flag in flags.items()}
    tensor = {"name": "x", "shape": [rows, 1], "datatype": datatype, "data": [x] * rows}
    body = {"inputs": [tensor], "parameters": parameters}
    return requests.post(server.url(f"/v2/models/{model}/infer"), json=body, timeout=timeout, headers=headers)


def total(*arguments, **options):
    answer = step(*arguments, **options)
    assert answer.status_code == 200, answer.text
    return next(output["data"][0] for output in answer.json()["outputs"] if output["name"] == "y")


def refused(answer, code, status=400):
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    return answer.json()["error"]


@pytest.mark.parametrize("engine", ["onnxruntime", "portable"])
def test_a_sequence_sums_up_and_others_do_not_see_it(serve, engine):
    server = serve(manifest=f'engine = "{engine}"\n{SUM}')
    assert total(server, 1, 7, start=True) == 1
    assert total(server, 100, "7", start=True) == 100
    assert total(server, 2, 7) == 3
    assert total(server, 200, "7") == 300
    assert total(server, 3, 7, end=True) == 6
    assert total(server, 300, "7", end=True) == 600
    refused(step(server, 1, 7), "unknown_sequence")
    refused(step(server, 1, "7"), "unknown_sequence")
    metadata = requests.get(server.url("/v2/models/sum"), timeout=PATIENCE_S).json()
    assert [tensor["name"] for tensor in metadata["inputs"]] == ["x"]
    assert [tensor["name"] for tensor in metadata["outputs"]] == ["y"]


def test_states_are_neither_taken_from_clients_nor_given_to_them(serve):
    server = serve()
    body = {"parameters": {"sequence_id": 1, "sequence_start": True}, "outputs": [{"name": "sum_out"}]}
    body["inputs"] = [{"name": "x", "shape": [1, 1], "datatype": "INT32", "data": [1]}]
    refused(server.infer("sum", body), "unknown_output")
    del body["outputs"]
    body["inputs"].append({"name": "sum_in", "shape": [1, 1], "datatype": "INT32", "data": [1000]})
    refused(server.infer("sum", body), "unknown_input")
    assert [output["name"] for output in step(server, 1, 1, start=True).json()["outputs"]] == ["y"]


def test_what_clients_do_wrong_has_its_own_error(serve):
    server = serve()
    assert "sequence_id" in refused(step(server, 1), "invalid_parameter")
    for none in (0, ""):
        refused(step(server, 1, none, start=True), "invalid_parameter")
    for wrong in (-1, 1.5, True, "x" * 129, 1 << 64):
        refused(step(server, 1, wrong, start=True), "invalid_parameter")
    refused(step(server, 1, 5, start="yes"), "invalid_parameter")
    assert "sequence_start" in refused(step(server, 1, 5), "unknown_sequence")
    assert "one row" in refused(step(server, 1, 5, rows=2, start=True), "wrong_dimension")
    # A request that starts a sequence and fails leaves none.
    refused(step(server, 1, 5), "unknown_sequence")
    assert total(server, 1, (1 << 64) - 1, start=True) == 1
    assert total(server, 1, (1 << 64) - 1) == 2
    refused(step(server, 1, (1 << 64) - 2), "unknown_sequence")


def test_a_start_on_a_live_sequence_begins_anew(serve):
    server = serve()
    assert [total(server, 4, 1, start=True), total(server, 4, 1), total(server, 5, 1, start=True), total(server, 5, 1)] == [4, 8, 5, 10]
    ended = lambda reason: server.metric("tidegate_sequences_ended_total", model="sum", reason=reason)  # noqa: E731
    assert (ended("restart"), ended("end"), server.metric("tidegate_sequences_started_total")) == (1, 0, 2)
    assert server.metric("tidegate_sequences_live", model="sum") == 1
    assert server.metric("tidegate_sequence_state_bytes", model="sum") == 4
    total(server, 1, 1, end=True)
    assert server.metric("tidegate_sequences_live") == server.metric("tidegate_sequence_state_bytes") == 0


def test_a_model_without_states_takes_no_notice_of_sequences(server):
    image = {"name": "image", "shape": [1, 64], "datatype": "FP32", "data": [0.0] * 64}
    for parameters in ({"sequence_id": 7}, {"sequence_id": 8, "sequence_start": True, "sequence_end": True}):
        assert server.infer("digits", {"inputs": [image], "parameters": parameters}).status_code == 200


def test_a_request_that_fails_leaves_the_state_as_it_was(serve):
    server = serve(graphs.fragile)
    ask = lambda x, **flags: step(server, x, "f", datatype="INT64", **flags)  # noqa: E731
    assert ask(3, start=True).json()["outputs"][0]["data"] == [3]
    refused(ask(99), "execution_failed", 500)
    refused(ask(99, end=True), "execution_failed", 500)
    assert ask(2).json()["outputs"][0]["data"] == [5]
    refused(ask(99, start=True), "execution_failed", 500)
    refused(ask(1), "unknown_sequence")


def test_flags_and_the_id_reach_the_model(serve):
    manifest = """
[sequences]
states = [{ input = "n_in", output = "n_out" }]
start = { input = "START", off = -1, on = 2.5 }
end = { input = "END" }
ready = { input = "READY" }
correlation_id = "CORRID"
"""
    server = serve(graphs.controls, manifest)

    def ask(sequence, **flags):
        answer = step(server, 0.0, sequence, datatype="FP32", **flags)
        assert answer.status_code == 200, answer.text
        found = {output["name"]: output["data"][0] for output in answer.json()["outputs"]}
        return [found[name] for name in ("n", "start", "end", "ready", "corrid")]

    assert ask(42, start=True) == [1, 2.5, 0, True, 42]
    assert ask(42) == [2, -1, 0, True, 42]
    assert ask(42, end=True) == [3, -1, 1, True, 42]
    assert ask((1 << 64) - 1, start=True, end=True) == [1, 2.5, 1, True, (1 << 64) - 1]
    assert "CORRID" in refused(step(server, 0.0, "text", datatype="FP32", start=True), "invalid_parameter")
    config = requests.get(server.url("/v2/models/sum/config"), timeout=PATIENCE_S).json()["sequence_batching"]
    assert config["state"][0]["input_name"] == "n_in" and config["state"][0]["dims"] == [1]
    assert {control["name"] for control in config["control_input"]} == {"START", "END", "READY", "CORRID"}


def test_a_sequence_begins_with_a_file_and_a_shape(start, tmp_path):
    folder = bundle(tmp_path / "history", graphs.history, "")
    np.array([[5, 6]], np.float32).tofile(folder / "past.bin")
    state = 'input = "past", output = "all", initial = "past.bin", shape = [-1, 2]'
    (folder / "model.toml").write_text(f"[sequences]\nstates = [{{ {state} }}]\nmax_state_bytes = 16\n")
    server = start(folder)
    ask = lambda x, **flags: step(server, x, 1, "history", "FP32", **flags)  # noqa: E731
    assert ask(7.0, start=True).json()["outputs"][0]["data"] == [5, 6, 7]
    assert ask(8.0).json()["outputs"][0]["data"] == [5, 6, 7, 8]
    # The state would have 20 bytes. It stays as it was.
    for _ in range(2):
        answer = ask(9.0)
        assert "max_state_bytes" in refused(answer, "sequences_full", 429) and answer.headers["Retry-After"] == "1"
    assert server.metric("tidegate_sequence_state_bytes", model="history") == 16
    assert ask(9.0, start=True, end=True).json()["outputs"][0]["data"] == [5, 6, 9]


def test_a_detector_of_speech_hears_a_call_in_pieces(start, tmp_path):
    """silero-vad, whose state has the batch on its second axis: as Python's onnxruntime with the state given explicitly."""
    folder = tmp_path / "vad"
    folder.mkdir()
    with zipfile.ZipFile(wheel("silero-vad")) as package:
        (folder / "model.onnx").write_bytes(package.read("silero_vad/data/silero_vad.onnx"))
    (folder / "model.toml").write_text('[[sequences.states]]\ninput = "state"\noutput = "stateN"\n')
    server = start(folder)
    expected = json.loads((SILERO / "probabilities.json").read_text())
    assert min(expected) < 0.1 < 0.5 < max(expected)

    def call(name):
        """Two calls at the same time; the second one begins later."""
        for at, chunk in enumerate(record_probabilities.chunks()):
            tensors = [triton_http.InferInput("input", list(chunk.shape), "FP32"), triton_http.InferInput("sr", [], "INT64")]
            tensors[0].set_data_from_numpy(chunk)
            tensors[1].set_data_from_numpy(np.array(record_probabilities.RATE, np.int64))
            result = client.infer("vad", tensors, sequence_id=name, sequence_start=at == 0)
            assert abs(float(result.as_numpy("output")[0, 0]) - expected[at]) < 1e-6, (name, at)
            yield

    with triton_http.InferenceServerClient(server.http) as client:
        first, second = call("first"), call("second")
        for _ in range(5):
            next(first)
        for _ in second:
            next(first, None)


MISTAKES = [
    ('states = [{ input = "no", output = "sum_out" }]', 'input "no" is not in the model'),
    ('states = [{ input = "sum_in", output = "no" }]', 'output "no"'),
    ('states = [{ input = "sum_in", output = "sum_out" }, { input = "sum_in", output = "y" }]', "used twice"),
    ('states = [{ input = "sum_in", output = "sum_out" }, { input = "x", output = "sum_out" }]', "the state twice"),
    ('states = [{ input = "sum_in", output = "sum_out", shape = [1] }]', "shape [1]"),
    ('states = [{ input = "sum_in", output = "sum_out", shape = [1, 2] }]', "axis 1"),
    ('states = [{ input = "sum_in", output = "sum_out", shape = [2, 1] }]', "one row"),
    ('states = [{ input = "sum_in", output = "sum_out", initial = "no.bin" }]', "no.bin"),
    ('states = [{ input = "sum_in", output = "sum_out", initial = "model.toml" }]', "model.toml"),
    ('start = { input = "sum_in", on = 0.5 }\nstates = []', "0.5"),
    ('correlation_id = "no"', 'input "no" is not in the model'),
    ("max_sequences = 0", "max_sequences"),
    ("idle_timeout_ms = 0", "idle_timeout_ms"),
]


@pytest.mark.parametrize(("section", "problem"), MISTAKES)
def test_what_does_not_fit_the_model_is_found_when_it_is_checked_and_loaded(start, tmp_path, section, problem):
    folder = bundle(tmp_path / "bad/sum", manifest=f"[sequences]\n{section}\n")
    if "one row" not in problem:  # Known only once it is loaded.
        ended = subprocess.run([BINARY, "check", str(folder)], capture_output=True, text=True, timeout=PATIENCE_S)
        assert ended.returncode != 0 and problem in ended.stdout + ended.stderr, ended.stdout + ended.stderr
    server = start(bundle(tmp_path / "good"), folder.parent)
    index = requests.post(server.url("/v2/repository/index"), json={}, timeout=PATIENCE_S).json()
    assert problem in next(entry["reason"] for entry in index if entry["name"] == "sum")


def test_states_of_different_types_are_refused(tmp_path):
    folder = bundle(tmp_path / "f", graphs.fragile, '[sequences]\nstates = [{ input = "x", output = "y" }]\n')
    ended = subprocess.run([BINARY, "check", str(folder)], capture_output=True, text=True, timeout=PATIENCE_S)
    assert ended.returncode != 0 and "INT64" in ended.stdout + ended.stderr


def test_golden_samples_leave_the_state_out(registry, tmp_path):
    folder = bundle(tmp_path / "sum", manifest=f'golden = [{{ file = "golden.json" }}]\n{SUM}')
    sample = '{"inputs": [{"name": "x", "shape": [1, 1], "datatype": "INT32", "data": [5]}], "outputs": [{"name": "y", "shape": [1, 1], "datatype": "INT32", "data": [%d]}]}'
    (folder / "golden.json").write_text(sample % 5)
    registry.run("push", str(folder))
    (folder / "golden.json").write_text(sample % 6)
    ended = registry.run("push", str(folder), check=False)
    assert ended.returncode != 0 and "expected is 6" in ended.stdout, ended.stdout


def test_the_rows_of_a_file_are_one_sequence(tmp_path):
    folder = bundle(tmp_path / "sum")
    (tmp_path / "rows.csv").write_text("x\n1\n2\n3\n")
    ended = subprocess.run([BINARY, "predict", str(folder), "--input", str(tmp_path / "rows.csv")], capture_output=True, text=True, timeout=PATIENCE_S)
    assert [json.loads(line)["y"] for line in ended.stdout.splitlines()] == [[1], [3], [6]], ended.stdout + ended.stderr


def test_answers_are_not_kept(serve, tmp_path):
    config = tmp_path / "cache.toml"
    config.write_text('[[cache.endpoint]]\nname = "*"\nttl_ms = 3600000\n')
    server = serve(flags=("--config", str(config)))
    assert [total(server, 1, 1, start=True), total(server, 1, 1), total(server, 1, 1)] == [1, 2, 3]
    assert "Tidegate-Cache" not in step(server, 1, 1).headers


def test_a_sequence_does_not_fall_back(serve, tmp_path):
    other = bundle(tmp_path / "other", graphs.fragile)
    config = tmp_path / "fallbacks.toml"
    config.write_text('[[endpoints]]\nname = "sum"\n[[endpoints.fallback]]\nendpoint = "other"\n')
    server = serve(graphs.fragile, flags=("--config", str(config), str(other)))
    ask = lambda x, **flags: step(server, x, 1, datatype="INT64", **flags)  # noqa: E731
    assert ask(3, start=True).status_code == 200
    refused(ask(99), "execution_failed", 500)
    assert ask(1).json()["outputs"][0]["data"] == [4]


GRAPH = """
[[signature.inputs]]
name = "x"
datatype = "INT32"
shape = [-1, 1]
[[signature.outputs]]
name = "y"
datatype = "INT32"
shape = [-1, 1]
[[graph.nodes]]
name = "only"
model = "sum"
inputs = { x = "x" }
outputs = { y = "y" }
"""


def test_a_model_with_states_is_no_node_of_a_graph(start, tmp_path):
    bundle(tmp_path / "models/sum")
    (tmp_path / "models/flow").mkdir()
    (tmp_path / "models/flow/model.toml").write_text(GRAPH)
    server = start(tmp_path / "models")
    failed = [line for line in server.lines if line.startswith("failed")]
    assert len(failed) == 1 and "flow" in failed[0] and "keeps states" in failed[0], server.lines
    assert step(server, 1, 1, "flow").status_code == 503


def test_limits_on_sequences_are_kept_and_can_be_waited_for(serve):
    server = serve(manifest="[sequences]\nmax_sequences = 2\n" + SUM)
    assert total(server, 1, 1, start=True) == total(server, 1, 2, start=True) == 1
    answer = step(server, 1, 3, start=True)
    assert "max_sequences" in refused(answer, "sequences_full", 429) and answer.headers["Retry-After"] == "1"
    assert server.metric("tidegate_sequence_requests_refused_total", reason="sequences_full") == 1
    # A live one can go on, and begin anew.
    assert (total(server, 1, 1), total(server, 5, 2, start=True)) == (2, 5)
    total(server, 1, 1, end=True)
    assert total(server, 1, 3, start=True) == 1


def test_a_sequence_without_requests_expires(serve):
    server = serve(manifest="[sequences]\nidle_timeout_ms = 100\n" + SUM)
    total(server, 1, 1, start=True)
    wait_for(lambda: server.metric("tidegate_sequences_ended_total", reason="idle") == 1)
    assert server.metric("tidegate_sequences_live") == 0
    refused(step(server, 1, 1), "unknown_sequence")
    assert server.metric("tidegate_sequence_requests_refused_total", reason="unknown_sequence") == 1


def test_a_restart_forgets_sequences_and_says_so(start, tmp_path):
    folder = bundle(tmp_path / "sum")
    first = start(folder)
    total(first, 1, 1, start=True)
    first.stop()
    refused(step(start(folder), 1, 1), "unknown_sequence")


def reload(server, model="sum"):
    assert requests.post(server.url(f"/v2/repository/models/{model}/load"), timeout=PATIENCE_S).status_code == 200


def test_a_sequence_stays_on_the_version_that_it_began_on(serve, tmp_path):
    server = serve()
    total(server, 1, "old", start=True)
    graphs.accumulator(tmp_path / "sum/model.onnx", factor=10)
    reload(server)
    assert total(server, 1, "new", start=True) == 10
    assert total(server, 1, "old") == 2
    assert total(server, 1, "new") == 20
    assert total(server, 1, "old", start=True) == 10
    assert requests.post(server.url("/v2/repository/models/sum/unload"), timeout=PATIENCE_S).status_code == 200
    assert total(server, 1, "new") == 30
    refused(step(server, 1, "third", start=True), "not_ready", 503)


def test_a_replaced_version_is_kept_for_a_bounded_time(serve, tmp_path):
    server = serve(manifest="[sequences]\nreplaced_timeout_ms = 200\n" + SUM)
    total(server, 1, 1, start=True)
    graphs.accumulator(tmp_path / "sum/model.onnx", factor=10)
    reload(server)
    wait_for(lambda: step(server, 1, 1).status_code == 400)
    refused(step(server, 1, 1), "unknown_sequence")
    assert server.metric("tidegate_sequences_ended_total", reason="replaced") == 1


def test_versions_of_the_registry_keep_their_sequences(registry, tmp_path, start):
    folder = bundle(tmp_path / "sum")
    registry.run("push", str(folder), "--alias", "champion")
    server = start(data=registry.data, flags=("--registry",))
    wait_for(lambda: step(server, 1, "a", start=True).status_code == 200)
    graphs.accumulator(folder / "model.onnx", factor=10)
    registry.run("push", str(folder), "--alias", "champion")
    wait_for(lambda: total(server, 1, "b", start=True) == 10)
    answer = step(server, 1, "a").json()
    assert (answer["model_version"], answer["outputs"][0]["data"]) == ("1", [2])
    answer = step(server, 1, "b").json()
    assert (answer["model_version"], answer["outputs"][0]["data"]) == ("2", [20])


def test_no_caller_reads_or_continues_the_sequence_of_another(serve, tmp_path):
    keys = Keys(tmp_path / "data")
    callers = {}
    for name, tenant in (("a", "one"), ("b", "one"), ("c", "two")):
        callers[name] = bearer(keys.create(name, "caller", "--tenant", tenant))
    admin = keys.create("admin", "admin")
    server = serve(data=tmp_path / "data", environment={"TIDEGATE_AUTH__ENABLED": "true"})
    wait_until_known(server, admin)
    assert total(server, 1, 7, start=True, headers=callers["a"]) == 1
    for other in "bc":
        refused(step(server, 1, 7, headers=callers[other]), "unknown_sequence")
    assert total(server, 100, 7, start=True, headers=callers["c"]) == 100
    assert total(server, 2, 7, headers=callers["a"]) == 3
    assert total(server, 200, 7, end=True, headers=callers["c"]) == 300
    assert total(server, 3, 7, headers=callers["a"]) == 6


@pytest.mark.parametrize("seed", range(3))
def test_sequences_never_leak_into_each_other(serve, seed):
    """Many clients, all at once, each with several sequences of mixed ids; some steps start, end or fail."""
    server = serve(graphs.fragile, f"[batching]\nmax_queue_delay_us = 2000\n{SUM}")
    failures = []

    def client(number):
        chance, sums = random.Random(1000 * seed + number), {}
        ids = [number + 1, str(number + 1), f"client {number}"]
        with requests.Session() as session:
            for _ in range(60):
                sequence = chance.choice(ids)
                start, end, x = chance.random() < 0.2, chance.random() < 0.1, chance.choice([0, 1, 2, 3, 99])
                body = {"inputs": [{"name": "x", "shape": [1, 1], "datatype": "INT64", "data": [x]}]}
                body["parameters"] = {"sequence_id": sequence, "sequence_start": start, "sequence_end": end}
                answer = session.post(server.url("/v2/models/sum/infer"), json=body, timeout=PATIENCE_S)
                before = 0 if start else sums.get(sequence)
                if before is None:
                    expected = (400, None)
                elif x == 99:
                    expected = (500, None)
                    if start:
                        sums.pop(sequence, None)
                else:
                    expected = (200, before + x)
                    sums[sequence] = before + x
                    if end:
                        del sums[sequence]
                value = answer.json()["outputs"][0]["data"][0] if answer.status_code == 200 else None
                if (answer.status_code, value) != expected:
                    failures.append((number, sequence, expected, answer.text))

    threads = [threading.Thread(target=client, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_different_sequences_share_runs(serve):
    server = serve(manifest=f"[batching]\nmax_queue_delay_us = 20000\npreferred_batch_sizes = [8]\n{SUM}")

    def client(number):
        with requests.Session() as session:
            for at in range(10):
                body = {"inputs": [{"name": "x", "shape": [1, 1], "datatype": "INT32", "data": [number]}]}
                body["parameters"] = {"sequence_id": number, "sequence_start": at == 0}
                answer = session.post(server.url("/v2/models/sum/infer"), json=body, timeout=PATIENCE_S)
                assert answer.json()["outputs"][0]["data"] == [number * (at + 1)]

    threads = [threading.Thread(target=client, args=(number + 1,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.metric("nv_inference_count") == 80 and server.metric("nv_inference_exec_count") < 80


def test_a_client_that_leaves_does_not_advance_the_state(serve):
    server = serve(graphs.slow, f"[engine_options]\ninstances = 1\n[batching]\nmax_batch_size = 0\n{SUM}")
    ask = lambda x, **options: step(server, x, 1, datatype="FP32", **options)  # noqa: E731
    assert ask(1.0, start=True).json()["outputs"][0]["data"] == [1]

    def abandoned():
        with contextlib.suppress(requests.exceptions.Timeout):
            ask(10.0, timeout=0.02)
        return (server.metric("tidegate_requests_abandoned_total") or 0) >= 1

    wait_for(abandoned)
    found = ask(2.0).json()["outputs"][0]["data"][0]
    # Each request that was answered, whether or not somebody read the answer, has advanced the state once; no other one has.
    answered = server.metric("nv_inference_request_success", model="sum")
    assert found == 1 + 10 * (answered - 2) + 2


def test_records_and_kserve_v1_name_sequences_in_header_fields(serve):
    pipeline = """
[pipeline]
fields = [{ name = "amount", type = "number" }]
inputs = [{ name = "x", columns = ["amount"] }]
response = [{ name = "y" }]
"""
    server = serve(manifest=SUM + pipeline, options={"kind": FLOAT})

    def ask(path, amount, sequence="s", body=None, **flags):
        headers = {"Sequence-Id": sequence, **{f"Sequence-{name}": flag for name, flag in flags.items()}}
        body = body or {"instances": [{"amount": amount}]}
        answer = requests.post(server.url(path), json=body, headers=headers, timeout=PATIENCE_S)
        return answer.json()["predictions"][0]["y"] if answer.status_code == 200 else answer

    records, v1 = "/v1/endpoints/sum/predict", "/v1/models/sum:predict"
    assert ask(records, 2, Start="true") == 2
    assert ask(v1, 3) == 5
    assert ask(records, 4, End="true") == 9
    refused(ask(records, 4), "unknown_sequence")
    refused(ask(v1, 4, Start="maybe"), "invalid_parameter")
    two = {"instances": [{"amount": 1}, {"amount": 2}]}
    assert "one row" in refused(ask(records, 4, body=two, Start="true"), "wrong_dimension")


def triton_repository(folder, initial="", **options):
    graphs.accumulator(folder / "sum/1/model.onnx", **options)
    (folder / "sum/config.pbtxt").write_text(CONFIG.replace("INITIAL", initial))
    return folder


def triton_input(client, x):
    tensor = client.InferInput("x", [1, 1], "INT32")
    tensor.set_data_from_numpy(np.array([[x]], np.int32))
    return [tensor]


@pytest.mark.parametrize("ids", [(1000, 1001), ("1000", "1001")])
@pytest.mark.parametrize("library", [triton_http, triton_grpc])
def test_tritons_client_interleaves_two_sequences(start, tmp_path, library, ids):
    """As NVIDIA's simple_http_sequence_sync_infer_client.py and simple_grpc_sequence_sync_infer_client.py."""
    server = start(triton_repository(tmp_path / "models"))
    address = server.http if library is triton_http else server.grpc
    sums = [0, 0]
    with library.InferenceServerClient(address) as client:
        for at, value in enumerate(VALUES):
            for which, x in enumerate((value, -value)):
                flags = {"sequence_start": at == 0, "sequence_end": at == len(VALUES) - 1}
                result = client.infer("sum", triton_input(library, x), sequence_id=ids[which], **flags)
                sums[which] += x
                assert result.as_numpy("y").tolist() == [[sums[which]]]
        with pytest.raises(InferenceServerException, match="no sequence"):
            client.infer("sum", triton_input(library, 1), sequence_id=ids[0])
        config = client.get_model_config("sum", **({"as_json": True} if library is triton_grpc else {}))
        config = config.get("config", config)
        assert config["sequence_batching"]["state"][0]["input_name"] == "sum_in"


@pytest.mark.parametrize("ids", [(1000, 1001), ("1000", "1001")])
def test_tritons_client_sends_sequences_in_a_stream(start, tmp_path, ids):
    """As NVIDIA's simple_grpc_sequence_stream_infer_client.py: nobody waits for an answer."""
    server = start(triton_repository(tmp_path / "models"))
    answers = queue.Queue()
    with triton_grpc.InferenceServerClient(server.grpc) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        for at, value in enumerate(VALUES):
            for which, x in enumerate((value, -value)):
                flags = {"sequence_start": at == 0, "sequence_end": at == len(VALUES) - 1}
                client.async_stream_infer("sum", triton_input(triton_grpc, x), request_id=f"{which}_{at}", sequence_id=ids[which], **flags)
        found = {0: [], 1: []}
        for _ in range(2 * len(VALUES)):
            result, error = answers.get(timeout=PATIENCE_S)
            assert error is None
            found[int(result.get_response().id.split("_")[0])].append(int(result.as_numpy("y")[0][0]))
        client.stop_stream()
    assert found == {0: np.cumsum(VALUES).tolist(), 1: (-np.cumsum(VALUES)).tolist()}


def test_requests_of_a_stream_behind_one_that_failed_fail_too(serve):
    server = serve(graphs.fragile)
    answers = queue.Queue()

    def tensor(x):
        tensor = triton_grpc.InferInput("x", [1, 1], "INT64")
        tensor.set_data_from_numpy(np.array([[x]], np.int64))
        return [tensor]

    with triton_grpc.InferenceServerClient(server.grpc) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        for at, x in enumerate([1, 2, 99, 3, 3]):
            client.async_stream_infer("sum", tensor(x), sequence_id=5, sequence_start=at == 0)
        # Another sequence is none of their business, and a start begins anew.
        client.async_stream_infer("sum", tensor(3), sequence_id=6, sequence_start=True)
        client.async_stream_infer("sum", tensor(2), sequence_id=5, sequence_start=True)
        found = [answers.get(timeout=PATIENCE_S) for _ in range(7)]
        client.stop_stream()
    sums = [None if error else float(result.as_numpy("y")[0][0]) for result, error in found]
    # The third fails. Those that had arrived behind it fail with it; one that came later goes on from the second.
    assert sums[:3] == [1, 3, None] and sums[5:] == [3, 2], sums
    assert sums[3:5] in ([None, None], [None, 6], [6, 9]), sums


TRITON_CONTROLS = """
input { name: "x" data_type: TYPE_FP32 dims: [ 1 ] }
sequence_batching {
  direct { minimum_slot_utilization: 0.5 }
  control_input [
    { name: "START" control [ { kind: CONTROL_SEQUENCE_START fp32_false_true: [ 0, 1 ] } ] },
    { name: "END" control [ { kind: CONTROL_SEQUENCE_END int32_false_true: [ 0, 7 ] } ] },
    { name: "READY" control [ { kind: CONTROL_SEQUENCE_READY bool_false_true: [ false, true ] } ] },
    { name: "CORRID" control [ { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64 } ] }
  ]
  state [ { input_name: "n_in" output_name: "n_out" data_type: TYPE_FP32 dims: [ 1 ]
    initial_state: { name: "n" data_type: TYPE_FP32 dims: [ 1 ] data_file: "n.bin" } } ]
}
max_batch_size: 4
"""


def test_tritons_controls_and_initial_state_are_imported(start, tmp_path):
    graphs.controls(tmp_path / "models/controls/1/model.onnx")
    (tmp_path / "models/controls/initial_state").mkdir()
    np.array([10], np.float32).tofile(tmp_path / "models/controls/initial_state/n.bin")
    (tmp_path / "models/controls/config.pbtxt").write_text(TRITON_CONTROLS)
    server = start(tmp_path / "models")
    answer = step(server, 0.0, 9, "controls", "FP32", start=True, end=True)
    assert answer.status_code == 200, answer.text
    found = {output["name"]: output["data"][0] for output in answer.json()["outputs"]}
    assert found == {"n": 11, "start": 1, "end": 7, "ready": True, "corrid": 9}
    assert "minimum_slot_utilization" in server.log.read_text()


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("TYPE_INT32 dims: [ 1 ] INITIAL", "TYPE_FP32 dims: [ 1 ]", "TYPE_FP32|FP32"),
        ("sum_in", "no_in", "no_in"),
        ("INITIAL", 'initial_state { data_type: TYPE_FP32 dims: [ 1 ] zero_data: true }', "initial state"),
        ("sequence_batching {", "sequence_batching { iterative_sequence: true", "iterative_sequence"),
        ("sequence_batching {", 'sequence_batching { control_input { name: "x" control { kind: CONTROL_SEQUENCE_START } }', "false_true"),
    ],
)
def test_what_a_configuration_has_wrong_is_named(start, tmp_path, old, new, problem):
    triton_repository(tmp_path / "models")
    (tmp_path / "models/sum/config.pbtxt").write_text(CONFIG.replace(old, new).replace("INITIAL", ""))
    server = start(bundle(tmp_path / "good"), tmp_path / "models")
    index = requests.post(server.url("/v2/repository/index"), json={}, timeout=PATIENCE_S).json()
    reason = next(entry["reason"] for entry in index if entry["name"] == "sum")
    assert re.search(problem, reason), reason


def test_a_state_that_is_an_output_of_the_configuration_is_answered(start, tmp_path):
    folder = triton_repository(tmp_path / "models", 'initial_state { data_type: TYPE_INT32 dims: [ 1 ] zero_data: true name: "zero" }')
    config = folder / "sum/config.pbtxt"
    config.write_text(config.read_text() + 'output { name: "sum_out" data_type: TYPE_INT32 dims: [ 1 ] }\n')
    server = start(folder)
    outputs = step(server, 3, 1, start=True).json()["outputs"]
    assert {output["name"]: output["data"] for output in outputs} == {"y": [3], "sum_out": [3]}
