"""The fields of a pipeline as named inputs of the Open Inference Protocol, with Triton's clients."""

import json
import queue

import numpy as np
import pytest
import requests
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

from conftest import PATIENCE_S

# `matmul` multiplies rows of four numbers by a constant matrix.
PIPELINE = """
[pipeline]
fields = [
    { name = "age", type = "number", min = 0, max = 130 },
    { name = "country", type = "string", categories = ["DE", "FR"], optional = true },
    { name = "member", type = "boolean", optional = true },
    { name = "joined", type = "time", optional = true },
]
before = [
    { step = "one_hot", input = "country", categories = ["DE", "FR", "IT"], unknown = "zeros", output = "where" },
]
inputs = [{ name = "x", columns = ["age", "where"] }]
after = [{ step = "pick", input = "y", index = 0, output = "first" }]
response = [{ name = "first" }, { name = "y" }, { name = "country" }, { name = "member" }, { name = "joined" }]
"""
COLUMNS = {
    "age": [1.5, 40, 0],
    "country": ["DE", None, "FR"],
    "member": [True, False, True],
    "joined": ["2024-05-01T00:00:00Z", None, "1999-12-31"],
}
CLIENTS = {"http": triton_http, "grpc": triton_grpc}


@pytest.fixture
def server(start, graph):
    return start(graph("matmul", manifest=PIPELINE))


@pytest.fixture(params=CLIENTS)
def triton(request, server):
    """The client's module and a client."""
    module = CLIENTS[request.param]
    address = server.grpc if request.param == "grpc" else server.url("").removeprefix("http://").rstrip("/")
    with module.InferenceServerClient(address) as client:
        yield module, client


def tensor(module, name, values, datatype, column=False):
    values = np.asarray(values).reshape((-1, 1) if column else (-1,))
    made = module.InferInput(name, list(values.shape), datatype)
    made.set_data_from_numpy(values)
    return made


def fields(module, column=False):
    texts = {
        name: np.array(["" if text is None else text for text in COLUMNS[name]], dtype=object)
        for name in ["country", "joined"]
    }
    return [
        tensor(module, "country", texts["country"], "BYTES", column),
        tensor(module, "age", np.array(COLUMNS["age"]), "FP64", column),
        tensor(module, "member", np.array(COLUMNS["member"]), "BOOL", column),
        tensor(module, "joined", texts["joined"], "BYTES", column),
    ]


def records(server, columns=COLUMNS):
    url = server.url("/v1/endpoints/m/predict")
    answer = requests.post(url, data=json.dumps({"columns": columns}), timeout=PATIENCE_S)
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"]


@pytest.mark.parametrize("column", [False, True])
def test_named_inputs_get_what_records_get(server, triton, column):
    module, client = triton
    answer = client.infer("m", fields(module, column))
    expected = records(server)
    # Records have the shortest text of the model's FP32.
    assert answer.as_numpy("first").dtype == np.float64
    np.testing.assert_array_equal(np.float32(answer.as_numpy("first")), np.float32(expected["first"]))
    assert answer.as_numpy("y").dtype == np.float32
    np.testing.assert_array_equal(answer.as_numpy("y"), np.float32(expected["y"]))
    assert list(answer.as_numpy("member")) == COLUMNS["member"]
    # A missing text is empty, and a missing number is NaN.
    assert list(answer.as_numpy("country")) == [b"DE", b"", b"FR"]
    joined = answer.as_numpy("joined")
    assert joined[0] == expected["joined"][0] and np.isnan(joined[1])


def test_outputs_are_chosen_by_name(triton):
    module, client = triton
    wanted = [module.InferRequestedOutput("y"), module.InferRequestedOutput("first")]
    answer = client.infer("m", fields(module), outputs=wanted)
    response = answer.get_response()
    outputs = response["outputs"] if isinstance(response, dict) else response.outputs
    names = [output["name"] if isinstance(output, dict) else output.name for output in outputs]
    assert names == ["y", "first"]
    with pytest.raises(InferenceServerException, match="decision"):
        client.infer("m", fields(module), outputs=[module.InferRequestedOutput("decision")])
    with pytest.raises(InferenceServerException, match="without classes"):
        client.infer("m", fields(module), outputs=[module.InferRequestedOutput("first", class_count=1)])


def test_tensors_of_the_model_are_taken_as_before(triton):
    module, client = triton
    answer = client.infer("m", [tensor_of_model(module)])
    assert answer.as_numpy("y").shape == (1, answer.as_numpy("y").shape[1])
    assert answer.as_numpy("first") is None


def tensor_of_model(module):
    made = module.InferInput("x", [1, 4], "FP32")
    made.set_data_from_numpy(np.float32([[1, 0, 0, 0]]))
    return made


def test_fields_and_tensors_do_not_mix(triton):
    module, client = triton
    with pytest.raises(InferenceServerException, match="send fields only, or tensors only"):
        client.infer("m", [*fields(module), tensor_of_model(module)])
    # The parameter says what they are; then the other names are unknown.
    with pytest.raises(InferenceServerException, match='"x" is unknown'):
        client.infer("m", [tensor_of_model(module)], parameters={"pipeline": True})
    with pytest.raises(InferenceServerException, match='"country"'):
        client.infer("m", fields(module), parameters={"pipeline": False})


def test_a_stream_takes_named_inputs_and_survives_a_bad_one(server):
    answers = queue.Queue()
    with triton_grpc.InferenceServerClient(server.grpc) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        old = [tensor(triton_grpc, "age", np.array([900.0]), "FP64")]
        flag = tensor(triton_grpc, "member", np.array([True]), "BOOL")
        good = [tensor(triton_grpc, "age", np.array([9.0]), "FP64"), flag]
        client.async_stream_infer("m", old)
        client.async_stream_infer("m", good)
        _, error = answers.get(timeout=PATIENCE_S)
        assert 'row 0: field "age" is 900' in str(error)
        result, error = answers.get(timeout=PATIENCE_S)
        assert error is None and list(result.as_numpy("member")) == [True]
        client.stop_stream()


def test_times_may_be_milliseconds(server):
    flag = tensor(triton_grpc, "member", np.array([True]), "BOOL")
    age = tensor(triton_grpc, "age", np.array([1], dtype=np.int16), "INT16")
    with triton_grpc.InferenceServerClient(server.grpc) as client:
        joined = tensor(triton_grpc, "joined", np.array([946684800000]), "INT64")
        answer = client.infer("m", [age, flag, joined])
        assert list(answer.as_numpy("joined")) == [946684800000 * 1000]


def test_metadata_show_tensors_and_fields(server, triton):
    module, client = triton
    is_grpc = module is triton_grpc
    shown = client.get_model_metadata("m", as_json=True) if is_grpc else client.get_model_metadata("m")
    assert [tensor["name"] for tensor in shown["inputs"]] == ["x"]
    config = client.get_model_config("m", as_json=True)["config"] if is_grpc else client.get_model_config("m")
    pipeline = json.loads(config["parameters"]["pipeline"]["string_value"])
    if not is_grpc:
        assert shown["pipeline"] == pipeline
    assert pipeline["inputs"][0] == {"name": "age", "datatype": "FP64", "shape": [-1], "optional": False}
    assert [field["datatype"] for field in pipeline["inputs"]] == ["FP64", "BYTES", "BOOL", "BYTES"]
    assert pipeline["outputs"][1] == {"name": "y", "datatype": "FP32", "shape": pipeline["outputs"][1]["shape"]}


def infer(server, inputs, **options):
    url = server.url("/v2/models/m/infer")
    body = inputs if isinstance(inputs, str) else json.dumps({"inputs": inputs, **options})
    return requests.post(url, data=body, timeout=PATIENCE_S)


def rest(name, data, datatype="FP64"):
    return {"name": name, "shape": [len(data)], "datatype": datatype, "data": data}


@pytest.mark.parametrize(
    ("inputs", "code"),
    [
        ([rest("age", ["1"], "BYTES")], "datatype_mismatch"),
        ([rest("age", [1, 2]), rest("member", [True], "BOOL")], "wrong_dimension"),
        ([rest("age", [1]), rest("country", ["D\0E"], "BYTES")], "invalid_field"),
        ([rest("age", [1]), rest("joined", ["soon"], "BYTES")], "invalid_field"),
        ([rest("age", [1]), rest("member", [True], "BOOL"), rest("member", [True], "BOOL")], "malformed_request"),
        ([rest("age", [1])], "malformed_request"),
        ([rest(f"f{at}", [1]) for at in range(100_000)], "too_many_inputs"),
        ('{"inputs": [{"name": "age", "shape": [1], "datatype": "FP64", "data": [1e400]}]}', None),
        ('{"inputs": [{"name": "country", "shape": [1], "datatype": "BYTES", "data": ["\\ud800"]}]}', None),
    ],
    ids=["type", "rows", "nul", "time", "twice", "missing-boolean", "100k-fields", "1e400", "surrogate"],
)
def test_a_hostile_request_gets_its_error_and_others_their_answer(server, inputs, code):
    answer = infer(server, inputs)
    assert answer.status_code == 400, answer.text
    assert code is None or answer.json()["code"] == code, answer.text
    assert infer(server, [rest("age", [1]), rest("member", [True], "BOOL")]).status_code == 200


def test_a_name_of_both_is_the_tensors_unless_the_request_says_otherwise(start, graph):
    """The model has an input `x`, and so has the pipeline a field."""
    manifest = """
[pipeline]
fields = [{ name = "x", type = "number" }]
inputs = [{ name = "x", columns = ["x", "x", "x", "x"] }]
response = [{ name = "x" }]
"""
    server = start(graph("matmul", manifest=manifest))
    of_field = infer(server, [rest("x", [2])], parameters={"pipeline": True}).json()["outputs"]
    assert [(output["name"], output["data"]) for output in of_field] == [("x", [2])]
    tensor = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 0, 0, 0]}
    for parameters in ({}, {"pipeline": False}):
        of_model = infer(server, [tensor], parameters=parameters).json()["outputs"]
        assert [output["name"] for output in of_model] == ["y"]
    refused = infer(server, [rest("x", [2])])
    assert (refused.status_code, refused.json()["code"]) == (400, "datatype_mismatch")


def test_a_version_without_a_pipeline_has_no_fields(start, graph):
    server = start(graph("matmul"))
    refused = infer(server, [rest("x", [2])], parameters={"pipeline": True})
    assert (refused.status_code, refused.json()["code"]) == (400, "no_pipeline")
    shown = requests.get(server.url("/v2/models/m"), timeout=PATIENCE_S).json()
    assert "pipeline" not in shown
