"""Triton's own HTTP client, sync and asyncio."""

import asyncio

import numpy as np
import pytest
import tritonclient.http as client
import tritonclient.http.aio as aio
from tritonclient.utils import InferenceServerException

from conftest import Heldout

TOLERANCE = 2e-5


def inputs(heldout, rows, binary=True):
    values = heldout.inputs[rows]
    tensor = client.InferInput("image", list(values.shape), "FP32")
    tensor.set_data_from_numpy(values, binary_data=binary)
    return [tensor]


def outputs(binary=True):
    return [client.InferRequestedOutput(name, binary_data=binary) for name in ("label", "probabilities")]


@pytest.fixture
def triton(server):
    with client.InferenceServerClient(server.http, concurrency=4) as triton:
        yield triton


def check(result, heldout, rows):
    assert [str(label) for label in result.as_numpy("label")] == heldout.labels[rows]
    np.testing.assert_allclose(result.as_numpy("probabilities"), heldout.probabilities[rows], atol=TOLERANCE)


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_infer_with_binary_and_json_tensors(triton, digits, binary_in, binary_out):
    rows = slice(3, 20)
    result = triton.infer("digits", inputs(digits, rows, binary_in), outputs=outputs(binary_out), request_id="abc")
    check(result, digits, rows)
    assert result.get_response()["id"] == "abc"
    assert result.get_response()["model_version"] == "1"


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_bodies_may_be_compressed_both_ways(triton, digits, algorithm):
    rows = slice(0, 200)
    result = triton.infer(
        "digits",
        inputs(digits, rows),
        outputs=outputs(),
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )
    check(result, digits, rows)


def test_strings_travel_both_ways(triton):
    language, rows = Heldout("language"), slice(0, 12)
    for binary in (True, False):
        tensor = client.InferInput("text", [12, 1], "BYTES")
        tensor.set_data_from_numpy(language.inputs[rows], binary_data=binary)
        result = triton.infer("language", [tensor], outputs=[client.InferRequestedOutput("label", binary_data=binary)])
        labels = [label.decode() if isinstance(label, bytes) else label for label in result.as_numpy("label")]
        assert labels == language.labels[rows]


def test_only_the_outputs_asked_for_are_answered(triton, digits):
    result = triton.infer("digits", inputs(digits, slice(0, 1)), outputs=[client.InferRequestedOutput("label")])
    assert [output["name"] for output in result.get_response()["outputs"]] == ["label"]


def test_classification_gives_the_best_classes_with_labels(triton, digits):
    wanted = [client.InferRequestedOutput("probabilities", class_count=3)]
    result = triton.infer("digits", inputs(digits, slice(0, 5)), outputs=wanted)
    classes = result.as_numpy("probabilities")
    assert classes.shape == (5, 3)
    for row, expected in zip(classes, digits.probabilities[:5]):
        order = np.argsort(-expected)[:3]
        parts = [text.decode().split(":") for text in row]
        assert [int(part[1]) for part in parts] == order.tolist()
        np.testing.assert_allclose([float(part[0]) for part in parts], expected[order], atol=TOLERANCE)
        assert parts[0][2] == str(order[0])


def test_async_infer_of_the_threaded_client(triton, digits):
    pending = [triton.async_infer("digits", inputs(digits, slice(at, at + 2)), outputs=outputs()) for at in range(32)]
    for at, answer in enumerate(pending):
        check(answer.get_result(), digits, slice(at, at + 2))


def test_asyncio_client(server, digits):
    async def ask():
        async with aio.InferenceServerClient(server.http) as triton:
            assert await triton.is_server_live()
            assert await triton.is_model_ready("digits")
            slices = [slice(at, at + 3) for at in range(40)]
            tasks = [triton.infer("digits", inputs(digits, rows), outputs=outputs()) for rows in slices]
            for rows, result in zip(slices, await asyncio.gather(*tasks)):
                check(result, digits, rows)

    asyncio.run(ask())


def test_health_and_metadata(triton):
    assert triton.is_server_live() and triton.is_server_ready() and triton.is_model_ready("digits", "1")
    metadata = triton.get_server_metadata()
    assert metadata["name"] == "tidegate" and "binary_tensor_data" in metadata["extensions"]
    model = triton.get_model_metadata("digits")
    assert model["versions"] == ["1"] and model["platform"] == "onnxruntime_onnx"
    assert model["inputs"] == [{"name": "image", "datatype": "FP32", "shape": [-1, 64]}]
    assert model["outputs"][1] == {"name": "probabilities", "datatype": "FP32", "shape": [-1, 10]}
    config = triton.get_model_config("digits")
    assert config["max_batch_size"] > 0 and config["input"][0]["dims"] in ([64], ["64"])


def test_statistics_count_rows_and_executions(triton, digits):
    before = triton.get_inference_statistics("digits")["model_stats"][0]
    for _ in range(3):
        triton.infer("digits", inputs(digits, slice(0, 4)))
    after = triton.get_inference_statistics("digits", "1")["model_stats"][0]
    assert after["inference_count"] - before["inference_count"] == 12
    assert 1 <= after["execution_count"] - before["execution_count"] <= 3
    success = (after["inference_stats"]["success"], before["inference_stats"]["success"])
    assert success[0]["count"] - success[1]["count"] == 3 and success[0]["ns"] > success[1]["ns"]
    assert any(batch["batch_size"] == 4 for batch in after["batch_stats"])


def test_load_and_unload(triton, digits):
    try:
        triton.unload_model("fraud")
        assert not triton.is_model_ready("fraud")
        index = {entry["name"]: entry for entry in triton.get_model_repository_index()}
        assert index["fraud"]["state"] == "UNAVAILABLE" and index["digits"]["state"] == "READY"
        values = np.zeros((1, 30), np.float32)
        tensor = client.InferInput("transaction", [1, 30], "FP32")
        tensor.set_data_from_numpy(values)
        with pytest.raises(InferenceServerException, match="fraud"):
            triton.infer("fraud", [tensor])
    finally:
        triton.load_model("fraud")
    assert triton.is_model_ready("fraud")
    assert triton.infer("fraud", [tensor]).as_numpy("probabilities").shape == (1, 2)


def test_errors_arrive_with_their_message(triton, digits):
    with pytest.raises(InferenceServerException, match='"image".*\\[2, 63\\]'):
        tensor = client.InferInput("image", [2, 63], "FP32")
        tensor.set_data_from_numpy(digits.inputs[:2, :63].copy())
        triton.infer("digits", [tensor])
    with pytest.raises(InferenceServerException, match="no_such_model"):
        triton.infer("no_such_model", inputs(digits, slice(0, 1)))


def test_a_deadline_that_has_no_chance_is_refused(triton):
    tensor = client.InferInput("rounds", [1, 1], "INT64")
    tensor.set_data_from_numpy(np.array([[3000]]))
    assert triton.infer("busy", [tensor]).as_numpy("done") == [[3000]]
    with pytest.raises(InferenceServerException, match="deadline"):
        triton.infer("busy", [tensor], timeout=1000)
