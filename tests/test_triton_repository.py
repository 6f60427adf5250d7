"""Folders as Triton's users have them."""

import shutil
import subprocess

import numpy as np
import pytest
import requests
import tritonclient.grpc as grpcclient
import tritonclient.http as client
from tritonclient.utils import InferenceServerException

from conftest import BINARY, BUSY, GRAPHS, MODELS
from external_weights import doubler, weights
from parts import until

BATCHING = "dynamic_batching { preferred_batch_size: [ 4, 8 ] max_queue_delay_microseconds: 100 }"
CONFIG = f"""
name: "digits"
platform: "onnxruntime_onnx"
max_batch_size: 8
input [{{ name: "image" data_type: TYPE_FP32 dims: [ 64 ] }}]
output [{{ name: "probabilities" data_type: TYPE_FP32 dims: [ 10 ] label_filename: "labels.txt" }}]
instance_group [{{ count: 1 kind: KIND_CPU }}]
{BATCHING}
version_policy: {{ all {{ }} }}
parameters: {{ key: "owner" value: {{ string_value: "tests" }} }}
"""


@pytest.fixture
def repository(tmp_path):
    """`digits` in two versions with a configuration, `identity` without one."""
    root = tmp_path / "repository"
    for version in ("1", "3"):
        (root / "digits" / version).mkdir(parents=True)
        shutil.copy(MODELS / "digits/model.onnx", root / "digits" / version)
    shutil.copy(MODELS / "digits/labels.txt", root / "digits")
    (root / "digits/config.pbtxt").write_text(CONFIG)
    (root / "identity/1").mkdir(parents=True)
    shutil.copy(GRAPHS / "identity_fp64.onnx", root / "identity/1/model.onnx")
    return root


def test_versions_configuration_and_batching(start, repository, digits):
    server = start(repository)
    triton = client.InferenceServerClient(server.http)
    assert triton.get_model_metadata("digits")["versions"] == ["1", "3"]
    config = triton.get_model_config("digits")
    assert config["max_batch_size"] == 8
    assert [int(size) for size in config["dynamic_batching"]["preferred_batch_size"]] == [4, 8]
    assert int(config["dynamic_batching"]["max_queue_delay_microseconds"]) == 100
    assert config["parameters"]["owner"]["string_value"] == "tests"
    # More rows than the largest batch: split and joined in order.
    tensor = client.InferInput("image", [50, 64], "FP32")
    tensor.set_data_from_numpy(digits.inputs[:50])
    for version in ("", "1", "3"):
        result = triton.infer("digits", [tensor], model_version=version)
        assert result.get_response()["model_version"] == (version or "3")
        np.testing.assert_allclose(result.as_numpy("probabilities"), digits.probabilities[:50], atol=2e-5)
    values = triton.infer("identity", [double([[1.5, -2.0]])]).get_response()["outputs"][0]
    assert values["shape"] == [1, 2]


def double(values):
    array = np.array(values, np.float64)
    tensor = client.InferInput("x", list(array.shape), "FP64")
    tensor.set_data_from_numpy(array)
    return tensor


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("max_batch_size: 8", "max_batch_size: -1", "max_batch_size"),
        ("max_batch_size: 8", "max_batch_sise: 8", "max_batch_sise"),
        ("count: 1", "count: -1", "count"),
        ("dims: [ 64 ]", "dims: [ 65 ]", "image"),
        ("TYPE_FP32 dims: [ 64 ]", "TYPE_INT32 dims: [ 64 ]", "image"),
        ('name: "image"', 'name: "picture"', "picture"),
        ("KIND_CPU", "KIND_GPU", "KIND_GPU"),
        ("all { }", "specific { versions: [ 9 ] }", "9"),
        (BATCHING, "sequence_batching { iterative_sequence: true }", "sequence_batching"),
        ('platform: "onnxruntime_onnx"', 'platform: "tensorrt_plan"', "tensorrt_plan"),
        (BATCHING, "ensemble_scheduling { }", "ensemble_scheduling"),
    ],
)
def test_what_is_not_supported_is_refused_by_name_and_the_rest_serves(start, repository, old, new, named):
    config = repository / "digits/config.pbtxt"
    assert old in CONFIG
    config.write_text(CONFIG.replace(old, new, 1))
    server = start(repository)
    failed = [line for line in server.lines if line.startswith("failed")]
    assert len(failed) == 1 and "digits" in failed[0] and named in failed[0], server.lines
    degraded = requests.get(server.url("/v2/health/ready"), timeout=60)
    assert degraded.status_code == 200 and "digits is not served" in str(degraded.json()["problems"])
    assert requests.get(server.url("/v2/models/identity/ready"), timeout=60).status_code == 200
    # Repaired, it loads without a restart; while broken, the answer says why.
    broken = requests.post(server.url("/v2/repository/models/digits/load"), timeout=60)
    assert (broken.status_code, broken.json()["code"]) == (400, "load_failed") and named in broken.json()["error"]
    config.write_text(CONFIG)
    assert requests.post(server.url("/v2/repository/models/digits/load"), timeout=60).status_code == 200
    assert requests.get(server.url("/v2/health/ready"), timeout=60).status_code == 200


def test_a_bare_file_and_a_plain_folder_serve_without_configuration(start, tmp_path):
    shutil.copy(GRAPHS / "matmul.onnx", tmp_path / "matmul.onnx")
    server = start(tmp_path / "matmul.onnx", BUSY)
    assert {entry["name"] for entry in requests.post(server.url("/v2/repository/index"), timeout=60).json()} == {
        "matmul",
        "busy",
    }


def test_reshape_and_format_are_what_clients_see(start, repository, digits):
    config = repository / "digits/config.pbtxt"
    config.write_text(
        """
max_batch_size: 8
input [{ name: "image" data_type: TYPE_FP32 format: FORMAT_NCHW dims: [ 1, 8, 8 ] reshape { shape: [ 64 ] } }]
output [{ name: "probabilities" data_type: TYPE_FP32 dims: [ 10, 1, 1 ] reshape { shape: [ 10 ] } label_filename: "labels.txt" }]
"""
    )
    server = start(repository)
    triton = client.InferenceServerClient(server.http)
    shapes = {tensor["name"]: tensor["shape"] for tensor in triton.get_model_metadata("digits")["inputs"]}
    assert shapes == {"image": [-1, 1, 8, 8]}
    shown = triton.get_model_config("digits")
    assert shown["input"][0]["format"] == "FORMAT_NCHW" and shown["input"][0]["dims"] == [1, 8, 8]
    assert shown["input"][0]["reshape"]["shape"] == [64] and shown["output"][1]["reshape"]["shape"] == [10]
    rows = digits.inputs[:20].reshape(20, 1, 8, 8)
    tensor = client.InferInput("image", list(rows.shape), "FP32")
    tensor.set_data_from_numpy(rows)
    found = triton.infer("digits", [tensor]).as_numpy("probabilities")
    assert found.shape == (20, 10, 1, 1)
    np.testing.assert_allclose(found.reshape(20, 10), digits.probabilities[:20], atol=2e-5)
    # A row is classified with all its elements, whatever the rank of the output.
    wanted = client.InferRequestedOutput("probabilities", class_count=2)
    assert triton.infer("digits", [tensor], outputs=[wanted]).as_numpy("probabilities").shape == (20, 2)


def test_a_scalar_is_sent_as_one_element(start, tmp_path):
    folder = tmp_path / "scaled/1"
    folder.mkdir(parents=True)
    shutil.copy(GRAPHS / "add_scalar_input.onnx", folder / "model.onnx")
    (tmp_path / "scaled/config.pbtxt").write_text(
        """input [{ name: "x" data_type: TYPE_FP32 dims: [ -1, 2 ] },
                  { name: "scale" data_type: TYPE_FP32 dims: [ 1 ] reshape { shape: [ ] } }]"""
    )
    server = start(tmp_path / "scaled")
    x = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.5, -2]}
    answer = server.infer("scaled", {"inputs": [x, {"name": "scale", "shape": [1], "datatype": "FP32", "data": [2]}]})
    assert answer.json()["outputs"][0]["data"] == [3.0, -4.0], answer.text
    answer = server.infer("scaled", {"inputs": [x, {"name": "scale", "shape": [2], "datatype": "FP32", "data": [2, 3]}]})
    assert answer.json()["code"] == "wrong_dimension", answer.text


def test_settings_that_change_no_answer_are_taken_and_told_in_one_line(start, repository):
    threads = 'parameters { key: "intra_op_thread_count" value { string_value: "1" } }'
    others = 'parameters { key: "inter_op_thread_count" value { string_value: "1" } }'
    warmup = """model_warmup [{ name: "w" batch_size: 1
        inputs { key: "image" value: { data_type: TYPE_FP32 dims: [ 64 ] zero_data: true } } }]"""
    config = repository / "digits/config.pbtxt"
    config.write_text(f"{CONFIG}\n{threads}\n{others}\n{warmup}\noptimization {{ graph {{ level: 1 }} }}")
    server = start(repository)
    assert not [line for line in server.lines if line.startswith("failed")]
    told = [line for line in server.log.read_text().splitlines() if "have no effect" in line and "digits" in line]
    assert len(told) == 2, "once for each version"
    assert "model_warmup" in told[0] and "optimization" in told[0] and "parameters.inter_op_thread_count" in told[0]
    assert "intra_op" not in told[0], "that one is followed"


def test_a_model_may_be_a_folder_or_a_link_and_a_bad_name_harms_nobody(start, repository, tmp_path):
    store = tmp_path / "store"
    store.mkdir()
    shutil.copy(MODELS / "digits/model.onnx", store / "weights")
    (repository / "linked/1").mkdir(parents=True)
    (repository / "linked/1/model.onnx").symlink_to(store / "weights")
    (repository / "linked/config.pbtxt").write_text("max_batch_size: 4")
    (repository / "big/1/model.onnx").mkdir(parents=True)
    shutil.copy(MODELS / "digits/model.onnx", repository / "big/1/model.onnx/model.onnx")
    shutil.copy(MODELS / "digits/model.onnx", repository / "not a name.onnx")
    # As a container of model files is mounted: a link whose real path means nothing here.
    mounted = tmp_path / "mounted"
    mounted.symlink_to(repository)
    server = start(mounted)
    for model in ("digits", "identity", "linked", "big"):
        assert requests.get(server.url(f"/v2/models/{model}/ready"), timeout=60).status_code == 200, model
    failed = [line for line in server.lines if line.startswith("failed")]
    assert len(failed) == 1 and "not a name" in failed[0], server.lines


def test_a_model_in_the_cache_of_a_hub_is_checked_and_pushed(registry, tmp_path):
    (tmp_path / "hub/blobs").mkdir(parents=True)
    snapshot = tmp_path / "hub/snapshots/c0/onnx"
    snapshot.mkdir(parents=True)
    shutil.copy(MODELS / "digits/model.onnx", tmp_path / "hub/blobs/0f3a")
    (snapshot / "model.onnx").symlink_to("../../../blobs/0f3a")
    for command in (("inspect", snapshot / "model.onnx"), ("check", snapshot)):
        ended = subprocess.run([BINARY, *map(str, command)], capture_output=True, text=True, timeout=60)
        assert ended.returncode == 0, ended.stdout + ended.stderr
    registry.run("push", snapshot, "--name", "hf")
    assert [version["model"] for version in registry.versions()] == ["hf"]


def test_a_long_table_is_cut_into_as_many_batches_as_it_takes(start, tmp_path):
    (tmp_path / "m").mkdir()
    shutil.copy(GRAPHS / "identity_fp32.onnx", tmp_path / "m/model.onnx")
    (tmp_path / "m/model.toml").write_text("[batching]\nmax_batch_size = 4\nmax_queue_requests = 8\n")
    server = start(tmp_path / "m")
    triton = client.InferenceServerClient(server.http, network_timeout=60)
    rows = np.arange(20_000, dtype=np.float32).reshape(10_000, 2)
    tensor = client.InferInput("x", list(rows.shape), "FP32")
    tensor.set_data_from_numpy(rows)
    np.testing.assert_array_equal(triton.infer("m", [tensor]).as_numpy("y"), rows)


def test_a_load_brings_its_configuration_and_its_files(start, repository, digits):
    server = start(repository)
    tensor = client.InferInput("image", [3, 64], "FP32")
    tensor.set_data_from_numpy(digits.inputs[:3])
    content = (MODELS / "digits/model.onnx").read_bytes()
    http, grpc = client.InferenceServerClient(server.http), grpcclient.InferenceServerClient(server.grpc)
    # Another configuration for the folder, until the next plain load.
    http.load_model("digits", config='{"max_batch_size": 2, "version_policy": {"specific": {"versions": [1]}}}')
    assert http.get_model_config("digits")["max_batch_size"] == 2
    assert http.get_model_metadata("digits")["versions"] == ["1"]
    http.load_model("digits")
    assert http.get_model_config("digits")["max_batch_size"] == 8
    # A model that no folder has.
    for name, triton in (("sent", http), ("called", grpc)):
        triton.load_model(name, config='{"max_batch_size": 4}', files={"file:7/model.onnx": content})
        assert http.get_model_metadata(name)["versions"] == ["7"]
        np.testing.assert_allclose(
            http.infer(name, [tensor]).as_numpy("probabilities"), digits.probabilities[:3], atol=2e-5
        )
        for config, files, named in (
            ("{}", {"file:../model.onnx": content}, "outside"),
            ("{}", {"file:1/model.onnx": b"no model"}, "cannot be loaded"),
            ('{"sequence_batching": {"iterative_sequence": true}}', {"file:1/model.onnx": content}, "sequence_batching"),
            (None, {"file:1/model.onnx": content}, "config"),
        ):
            with pytest.raises(InferenceServerException, match=named):
                triton.load_model(name, config=config, files=files)
        assert http.is_model_ready(name), "the version that was loaded before answers"
        http.unload_model(name)
        assert not http.is_model_ready(name)


def doubled(server, model):
    row = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.5, -2]}
    answer = server.infer(model, {"inputs": [row]})
    return answer.json().get("outputs", [answer.json()])[0].get("data")


def test_weights_are_found_beside_links_and_beside_what_they_lead_to(start, registry, tmp_path):
    # The cache of a hub: both files are links to blobs.
    blobs, snapshot = tmp_path / "hub/blobs", tmp_path / "hub/snapshots/c0"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    (blobs / "aaa").write_bytes(doubler("model.onnx_data"))
    (blobs / "bbb").write_bytes(weights())
    (snapshot / "model.onnx").symlink_to("../../blobs/aaa")
    (snapshot / "model.onnx_data").symlink_to("../../blobs/bbb")
    for command in (("inspect", snapshot / "model.onnx"), ("check", snapshot)):
        ended = subprocess.run([BINARY, *map(str, command)], capture_output=True, text=True, timeout=60)
        assert ended.returncode == 0, ended.stdout + ended.stderr
    registry.run("push", snapshot, "--name", "hf")
    # Only the model is a link.
    models = tmp_path / "models"
    (models / "linked/1").mkdir(parents=True)
    (tmp_path / "store").mkdir()
    (tmp_path / "store/m.onnx").write_bytes(doubler("w.bin"))
    (tmp_path / "store/w.bin").write_bytes(weights())
    (models / "linked/1/model.onnx").symlink_to("../../../store/m.onnx")
    # A folder, as Triton's documentation has it.
    (models / "folder/1/model.onnx").mkdir(parents=True)
    (models / "folder/1/model.onnx/model.onnx").write_bytes(doubler("w.bin"))
    (models / "folder/1/model.onnx/w.bin").write_bytes(weights())
    (models / "folder/config.pbtxt").write_text('platform: "onnxruntime_onnx" max_batch_size: 8')
    server = start(models, snapshot, "--registry", data=registry.data)
    for model in ("linked", "folder", "c0"):
        assert doubled(server, model) == [3.0, -4.0], (model, server.lines)
    until(lambda: doubled(server, "hf") == [3.0, -4.0])
    # A link to any other file is not followed by a bundle that is pushed.
    (snapshot / "model.onnx_data").unlink()
    (tmp_path / "secret").write_bytes(weights())
    (snapshot / "model.onnx_data").symlink_to(tmp_path / "secret")
    refused = registry.run("push", snapshot, "--name", "hf", check=False)
    assert refused.returncode != 0 and "outside" in refused.stdout


def test_a_polled_repository_follows_its_files(start, repository):
    server = start(repository, environment={"TIDEGATE_SERVER__REPOSITORY_POLL_MS": "100"})

    def versions(model):
        answer = requests.get(server.url(f"/v2/models/{model}"), timeout=60)
        return answer.json().get("versions")

    content = (MODELS / "digits/model.onnx").read_bytes()
    (repository / "later/1").mkdir(parents=True)
    with (repository / "later/1/model.onnx").open("wb") as file:
        file.write(content[:1000])
        file.flush()
        # Half a file is never loaded: the server would show it as failed.
        until(lambda: versions("digits") == ["1", "3"])
        file.write(content[1000:])
    until(lambda: versions("later") == ["1"])
    shutil.copytree(repository / "digits/3", repository / "digits/4")
    until(lambda: versions("digits") == ["1", "3", "4"])
    shutil.rmtree(repository / "later")
    until(lambda: versions("later") is None)
    assert versions("digits") == ["1", "3", "4"]


def cache_statistics(server):
    """Of `digits`, as both of Triton's clients read them: successes, hits, misses, computed, and the times of the cache."""
    rest = client.InferenceServerClient(server.http).get_inference_statistics("digits", "3")["model_stats"][0]["inference_stats"]
    grpc = grpcclient.InferenceServerClient(server.grpc).get_inference_statistics("digits", "3").model_stats[0].inference_stats
    kinds = ("success", "cache_hit", "cache_miss", "compute_infer")
    counts = [rest[kind]["count"] for kind in kinds]
    assert [getattr(grpc, kind).count for kind in kinds] == counts
    times = [rest[kind]["ns"] for kind in ("cache_hit", "cache_miss")]
    assert [grpc.cache_hit.ns, grpc.cache_miss.ns] == times
    return counts, times


def ask_in_both_protocols(server, digits):
    rest = client.InferInput("image", [1, 64], "FP32")
    grpc = grpcclient.InferInput("image", [1, 64], "FP32")
    for tensor in (rest, grpc):
        tensor.set_data_from_numpy(digits.inputs[:1].reshape(1, 64))
    first = client.InferenceServerClient(server.http).infer("digits", [rest]).as_numpy("probabilities")
    second = grpcclient.InferenceServerClient(server.grpc).infer("digits", [grpc]).as_numpy("probabilities")
    np.testing.assert_array_equal(first, second)


def test_a_configuration_that_asks_for_a_response_cache_gets_one(start, repository, digits):
    config = repository / "digits/config.pbtxt"
    config.write_text(CONFIG + "response_cache { enable: true }")
    server = start(repository)
    assert "have no effect" not in server.log.read_text()
    ask_in_both_protocols(server, digits)
    counts, (hit_ns, miss_ns) = cache_statistics(server)
    assert counts == [2, 1, 1, 1]
    assert hit_ns > 0 and miss_ns > 0
    # A model that does not ask for it is not cached.
    values = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [1.5, -2.0]}]}
    assert "Tidegate-Cache" not in server.infer("identity", values).headers


def test_a_policy_of_the_endpoint_goes_before_the_response_cache_of_its_model(start, repository, digits, tmp_path):
    config = repository / "digits/config.pbtxt"
    config.write_text(CONFIG + "response_cache { enable: true }")
    settings = tmp_path / "tidegate.toml"
    settings.write_text('[[cache.endpoint]]\nname = "digits"\nttl_ms = 1\n')
    server = start(repository, flags=("--config", str(settings)))
    body = {"inputs": [digits.tensor(slice(0, 1))]}
    outcome = server.infer("digits", body).headers["Tidegate-Cache"]
    assert outcome == "miss"
    # Each asks later than a millisecond after the one before: none is kept for so long.
    until(lambda: server.infer("digits", body).headers["Tidegate-Cache"] == "miss")


def test_a_model_without_response_cache_counts_no_hits(start, repository, digits):
    server = start(repository)
    ask_in_both_protocols(server, digits)
    assert cache_statistics(server) == ([2, 0, 0, 2], [0, 0])
