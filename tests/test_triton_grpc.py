"""Triton's own gRPC client: sync, callbacks, asyncio, streams; and the standard health and reflection services."""

import asyncio
import queue

import grpc
import numpy as np
import pytest
import tritonclient.grpc as client
import tritonclient.grpc.aio as aio
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

TOLERANCE = 2e-5


def inputs(heldout, rows):
    values = heldout.inputs[rows]
    tensor = client.InferInput("image", list(values.shape), "FP32")
    tensor.set_data_from_numpy(values)
    return [tensor]


def check(result, heldout, rows):
    assert [str(label) for label in result.as_numpy("label")] == heldout.labels[rows]
    np.testing.assert_allclose(result.as_numpy("probabilities"), heldout.probabilities[rows], atol=TOLERANCE)


@pytest.fixture
def triton(server):
    with client.InferenceServerClient(server.grpc) as triton:
        yield triton


@pytest.fixture
def stub(server):
    with grpc.insecure_channel(server.grpc) as channel:
        yield service_pb2_grpc.GRPCInferenceServiceStub(channel)


@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_infer(triton, digits, compression):
    rows = slice(5, 50)
    result = triton.infer("digits", inputs(digits, rows), request_id="abc", compression_algorithm=compression)
    check(result, digits, rows)
    assert result.get_response().id == "abc" and result.get_response().model_version == "1"


def test_callbacks(triton, digits):
    answers = queue.Queue()
    for at in range(32):
        answer = lambda result, error, at=at: answers.put((at, result, error))
        triton.async_infer("digits", inputs(digits, slice(at, at + 2)), callback=answer)
    for _ in range(32):
        at, result, error = answers.get(timeout=30)
        assert error is None
        check(result, digits, slice(at, at + 2))


def test_stream_answers_in_order_and_survives_errors(triton, digits):
    answers = queue.Queue()
    triton.start_stream(lambda result, error: answers.put((result, error)))
    for at in range(40):
        model = "no_such_model" if at % 10 == 3 else "digits"
        triton.async_stream_infer(model, inputs(digits, slice(at, at + 1)), request_id=str(at))
    for at in range(40):
        result, error = answers.get(timeout=30)
        if at % 10 == 3:
            assert "no_such_model" in str(error)
        else:
            assert result.get_response().id == str(at)
            check(result, digits, slice(at, at + 1))
    triton.stop_stream()


def test_asyncio_client_and_stream(server, digits):
    async def ask():
        async with aio.InferenceServerClient(server.grpc) as triton:
            slices = [slice(at, at + 3) for at in range(40)]
            results = await asyncio.gather(*(triton.infer("digits", inputs(digits, rows)) for rows in slices))
            for rows, result in zip(slices, results):
                check(result, digits, rows)

            async def requests():
                for at in range(10):
                    yield {"model_name": "digits", "inputs": inputs(digits, slice(at, at + 1)), "request_id": str(at)}

            at = 0
            async for result, error in triton.stream_infer(requests()):
                assert error is None
                check(result, digits, slice(at, at + 1))
                at += 1
            assert at == 10

    asyncio.run(ask())


def test_typed_contents_are_taken_as_well_as_raw_bytes(stub, digits):
    request = service_pb2.ModelInferRequest(model_name="digits")
    tensor = request.inputs.add(name="image", datatype="FP32", shape=[2, 64])
    tensor.contents.fp32_contents.extend(float(x) for x in digits.inputs[:2].ravel())
    response = stub.ModelInfer(request)
    names = [output.name for output in response.outputs]
    probabilities = np.frombuffer(response.raw_output_contents[names.index("probabilities")], np.float32)
    np.testing.assert_allclose(probabilities.reshape(2, 10), digits.probabilities[:2], atol=TOLERANCE)


def test_health_metadata_config_statistics_and_index(triton):
    assert triton.is_server_live() and triton.is_server_ready() and triton.is_model_ready("digits", "1")
    assert triton.get_server_metadata().name == "tidegate"
    model = triton.get_model_metadata("digits")
    assert [(tensor.name, tensor.datatype, list(tensor.shape)) for tensor in model.inputs] == [
        ("image", "FP32", [-1, 64])
    ]
    config = triton.get_model_config("digits").config
    assert config.max_batch_size > 0 and list(config.input[0].dims) == [64]
    statistics = triton.get_inference_statistics("digits").model_stats[0]
    assert statistics.name == "digits" and statistics.inference_count > 0
    assert {entry.name for entry in triton.get_model_repository_index().models} >= {"digits", "fraud", "busy"}


def test_load_and_unload(triton):
    try:
        triton.unload_model("fraud")
        assert not triton.is_model_ready("fraud")
    finally:
        triton.load_model("fraud")
    assert triton.is_model_ready("fraud")


def test_standard_health_service(server):
    with grpc.insecure_channel(server.grpc) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", "inference.GRPCInferenceService"):
            answer = health.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_reflection_describes_the_service(server):
    with grpc.insecure_channel(server.grpc) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        assert "inference.GRPCInferenceService" in database.get_services()
        service = DescriptorPool(database).FindServiceByName("inference.GRPCInferenceService")
        ours = {method.name for method in service.methods}
        assert ours >= {"ModelInfer", "ModelStreamInfer", "ServerLive", "ModelStatistics", "RepositoryIndex"}


def test_grpc_deadline_is_obeyed(stub):
    request = service_pb2.ModelInferRequest(model_name="busy")
    request.inputs.add(name="rounds", datatype="INT64", shape=[1, 1])
    request.raw_input_contents.append(np.array([[20000]]).tobytes())
    with pytest.raises(grpc.RpcError) as refused:
        stub.ModelInfer(request, timeout=0.05)
    assert refused.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
