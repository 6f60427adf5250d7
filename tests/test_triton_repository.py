"""Folders as Triton's users have them."""

import shutil

import numpy as np
import pytest
import requests
import tritonclient.http as client

from conftest import BUSY, GRAPHS, MODELS

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
        (BATCHING, "sequence_batching { }", "sequence_batching"),
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
    assert requests.get(server.url("/v2/health/ready"), timeout=60).status_code == 503
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
