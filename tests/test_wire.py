"""The wire forms of requests and answers: health bodies, numbers that JSON lacks, raw bodies, parameters, streams."""

import json
import queue

import grpc
import numpy as np
import pytest
import requests
import tritonclient.grpc as grpcclient
from tritonclient.grpc import service_pb2, service_pb2_grpc

from conftest import GRAPHS, PATIENCE_S, Server


@pytest.fixture(scope="module")
def identities(tmp_path_factory):
    """A folder with models whose answer is their input."""
    folder = tmp_path_factory.mktemp("identities")
    for kind in ("fp32", "fp64", "int64", "bytes", "bool"):
        (folder / f"identity_{kind}.onnx").write_bytes((GRAPHS / f"identity_{kind}.onnx").read_bytes())
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory, identities):
    server = Server(tmp_path_factory.mktemp("wire") / "data", identities)
    yield server
    server.stop()


def strict(text):
    """As a strict parser reads JSON, which knows no NaN."""

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


def post(server, model, text, path="/v2/models/{}/infer", **options):
    return requests.post(server.url(path.format(model)), data=text, timeout=PATIENCE_S, **options)


def tensor(data, datatype="FP32", shape=None):
    return json.dumps({"inputs": [{"name": "x", "shape": shape or [1, len(data)], "datatype": datatype, "data": data}]})


def test_health_has_the_bodies_of_the_open_inference_protocol(server):
    assert requests.get(server.url("/v2/health/live"), timeout=PATIENCE_S).json() == {"live": True}
    assert requests.get(server.url("/v2/health/ready"), timeout=PATIENCE_S).json()["ready"] is True
    for path in ("/v2/models/identity_fp32/ready", "/v2/models/identity_fp32/versions/1/ready", "/v1/models/identity_fp32"):
        body = requests.get(server.url(path), timeout=PATIENCE_S).json()
        assert body == {"name": "identity_fp32", "ready": True}
    absent = requests.get(server.url("/v2/models/absent/ready"), timeout=PATIENCE_S)
    assert absent.status_code == 404 and absent.json()["ready"] is False and absent.json()["code"] == "unknown_model"


def test_a_server_that_is_not_ready_says_so_in_the_body(start, identities, tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models/broken.onnx").write_text("no model")
    server = start(tmp_path / "models", identities)
    ready = requests.get(server.url("/v2/models/broken/ready"), timeout=PATIENCE_S)
    assert ready.status_code == 503
    assert ready.json()["ready"] is False and ready.json()["name"] == "broken" and ready.json()["code"] == "not_ready"


def test_missing_numbers_are_nan_for_floats_in_both_protocols(server):
    for model, datatype in (("identity_fp32", "FP32"), ("identity_fp64", "FP64")):
        for missing in ("null", "NaN", '"NaN"'):
            text = tensor([1, 2], datatype).replace("[1, 2]}", f"[1, {missing}]}}")
            answer = post(server, model, text)
            assert strict(answer.text)["outputs"][0]["data"] == [1.0, None], (missing, answer.text)
            answer = post(server, model, f'{{"instances": [[1, {missing}]]}}', "/v1/models/{}:predict")
            assert strict(answer.text)["predictions"] == [[1.0, None]], answer.text
    text = tensor([1, 2]).replace("[1, 2]}", '[Infinity, "-Infinity"]}')
    answer = strict(post(server, "identity_fp32", text).text)["outputs"][0]["data"]
    assert answer == ["Infinity", "-Infinity"]
    # What came out goes in again, and NumPy reads it.
    assert strict(post(server, "identity_fp32", tensor(answer)).text)["outputs"][0]["data"] == answer
    assert np.isinf(np.array(answer, np.float32)).all()


@pytest.mark.parametrize(("model", "datatype"), [("int64", "INT64"), ("bytes", "BYTES"), ("bool", "BOOL")])
def test_a_missing_value_that_is_no_float_is_refused_by_row_and_column(server, model, datatype):
    good = {"INT64": 1, "BYTES": "a", "BOOL": True}[datatype]
    answer = post(server, f"identity_{model}", tensor([good, good, None, good], datatype, [2, 2]))
    assert answer.status_code == 400 and answer.json()["code"] == "datatype_mismatch"
    assert "row 2, column 1" in answer.json()["error"] and "null" in answer.json()["error"]


def test_positions_in_v1_bodies_are_those_of_the_body(server):
    text = '{"a": 1,\n "instances": [[1], [null]]}'
    answer = post(server, "identity_int64", text, "/v1/models/{}:predict").json()
    assert "row 2, column 1, at line 2 column 22" in answer["error"], answer
    answer = post(server, "identity_fp32", '{"instances": []}', "/v1/models/{}:predict").json()
    assert answer["code"] == "wrong_dimension" and "no rows" in answer["error"], answer


def test_an_integer_may_be_written_with_a_fraction_of_zeros(server):
    answer = post(server, "identity_int64", tensor([1.0, 2], "INT64")).json()
    assert answer["outputs"][0]["data"] == [1, 2]
    assert post(server, "identity_int64", tensor([1.5, 2], "INT64")).json()["code"] == "datatype_mismatch"


def test_floats_of_json_are_rounded_once(server):
    text = tensor([7, 0]).replace("[7, 0]}", "[1.353687561035156250000000000000000000000001e+3, 0]}")
    assert post(server, "identity_fp32", text).json()["outputs"][0]["data"] == [1353.6876, 0]


def test_a_body_may_be_nothing_but_the_bytes_of_the_input(server):
    headers = {"Inference-Header-Content-Length": "0", "Content-Type": "application/octet-stream"}
    rows = np.array([[1, 2], [3, 4]], np.float32)
    metadata = requests.get(server.url("/v2/models/identity_fp32"), timeout=PATIENCE_S).json()
    answer = post(server, "identity_fp32", rows.tobytes(), headers=headers)
    assert answer.status_code == 200, (answer.text, metadata)
    length = int(answer.headers["Inference-Header-Content-Length"])
    assert answer.content[length:] == rows.tobytes()
    answer = post(server, "identity_fp32", b"123", headers=headers)
    assert answer.status_code == 400 and answer.json()["code"] == "invalid_binary"


def test_unknown_parameters_have_any_value(server):
    body = json.loads(tensor([1, 2]))
    body["parameters"] = {"a": {"b": [1]}, "c": [], "d": 10**30, "e": None, "timeout": 10**7}
    body["inputs"][0]["parameters"] = {"content_type": ["np"]}
    body["outputs"] = [{"name": "y", "parameters": {"x": {}}}]
    metadata = requests.get(server.url("/v2/models/identity_fp32"), timeout=PATIENCE_S).json()
    body["outputs"][0]["name"] = metadata["outputs"][0]["name"]
    assert post(server, "identity_fp32", json.dumps(body)).status_code == 200
    body["parameters"] = {"timeout": [1]}
    assert post(server, "identity_fp32", json.dumps(body)).json()["code"] == "invalid_parameter"


def test_the_last_response_of_a_stream_says_so(server):
    client = grpcclient.InferenceServerClient(server.grpc)
    answers = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    row = grpcclient.InferInput("x", [1, 2], "FP32")
    row.set_data_from_numpy(np.ones((1, 2), np.float32))
    client.async_stream_infer("identity_fp32", [row], request_id="1", enable_empty_final_response=True)
    result, error = answers.get(timeout=PATIENCE_S)
    assert error is None
    assert result.get_response().parameters["triton_final_response"].bool_param
    assert result.get_response().id == "1"
    client.stop_stream()
    client.close()


def test_the_response_to_a_request_of_a_stream_that_fails_is_its_last(server):
    with grpc.insecure_channel(server.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        request = service_pb2.ModelInferRequest(model_name="absent", id="7")
        (response,) = stub.ModelStreamInfer(iter([request]))
    assert response.error_message and response.infer_response.id == "7"
    assert response.infer_response.parameters["triton_final_response"].bool_param
