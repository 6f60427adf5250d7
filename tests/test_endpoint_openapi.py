"""The description of each endpoint: valid OpenAPI, true of the version that answers, and its example is answered."""

import json

import jsonschema
import pytest
import requests
from openapi_spec_validator import validate

from conftest import PATIENCE_S

PIPELINE = """
description = "Ages to scores"

[pipeline]
fields = [
    { name = "age", type = "number", min = 0, max = 130, description = "In years" },
    { name = "visits", type = "integer", min = 1, optional = true },
    { name = "country", type = "string", categories = ["DE", "FR"] },
    { name = "code", type = "string", pattern = "[A-Z]{2}", optional = true },
    { name = "member", type = "boolean" },
    { name = "joined", type = "time" },
    { name = "photo", type = "bytes", optional = true },
]
before = [
    { step = "one_hot", input = "country", categories = ["DE", "FR", "IT"], unknown = "zeros", output = "where" },
]
inputs = [{ name = "x", columns = ["age", "where"] }]
after = [{ step = "pick", input = "y", index = 0, output = "first" }]
response = [{ name = "first" }, { name = "y" }, { name = "country" }]
"""


def described(server, name="m"):
    answer = requests.get(server.url(f"/v1/endpoints/{name}/openapi.json"), timeout=PATIENCE_S)
    assert answer.status_code == 200, answer.text
    description = answer.json()
    validate(description)
    return description


def body(description, path):
    return description["paths"][path]["post"]["requestBody"]["content"]["application/json"]


def check(description, schema, value):
    jsonschema.validate(value, {**schema, "components": description["components"]})


def fits(description, schema, value):
    try:
        check(description, schema, value)
    except jsonschema.ValidationError:
        return False
    return True


@pytest.fixture
def server(start, graph):
    return start(graph("matmul", manifest=PIPELINE))


@pytest.mark.parametrize("path", ["/v1/endpoints/m/predict", "/v2/models/m/infer"])
def test_the_example_of_the_description_is_answered_as_described(server, path):
    description = described(server)
    request = body(description, path)
    check(description, request["schema"], request["example"])
    answer = requests.post(server.url(path), json=request["example"], timeout=PATIENCE_S)
    assert answer.status_code == 200, answer.text
    responses = description["paths"][path]["post"]["responses"]
    check(description, responses["200"]["content"]["application/json"]["schema"], answer.json())
    wrong = requests.post(server.url(path), json={}, timeout=PATIENCE_S)
    check(description, responses["default"]["content"]["application/json"]["schema"], wrong.json())


RECORD = {"age": 1, "country": "DE", "member": True, "joined": "2024-01-01"}


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({}, 200),
        ({"visits": None, "code": "AB"}, 200),
        ({"photo": "AQID"}, 200),
        ({"age": -1}, 400),
        ({"age": 131}, 400),
        ({"age": "1"}, 400),
        ({"age": None}, 400),
        ({"visits": 1.5}, 400),
        ({"visits": 0}, 400),
        ({"country": "XX"}, 400),
        ({"code": "abc"}, 400),
        ({"member": 1}, 400),
        ({"wrong": 1}, 400),
    ],
    ids=str,
)
def test_the_schema_takes_what_the_server_takes(server, change, status):
    description = described(server)
    request = {"instances": [RECORD | change]}
    url = server.url("/v1/endpoints/m/predict")
    answer = requests.post(url, json=request, timeout=PATIENCE_S)
    assert answer.status_code == status, answer.text
    schema = body(description, "/v1/endpoints/m/predict")["schema"]
    assert fits(description, schema, request) == (status == 200)
    columns = {"columns": {name: [value] for name, value in request["instances"][0].items()}}
    assert fits(description, schema, columns) == (status == 200)


def test_the_example_comes_from_the_samples_of_the_bundle(start, graph):
    bundle = graph("matmul", manifest=PIPELINE + '\n[[warmup]]\nfile = "sample.json"\n')
    sample = {"request": {"instances": [RECORD | {"code": "ZZ"}]}}
    (bundle / "sample.json").write_text(json.dumps(sample))
    request = body(described(start(bundle)), "/v1/endpoints/m/predict")
    assert request["example"] == sample["request"]


def test_a_description_follows_the_version_that_is_loaded(start, graph):
    bundle = graph("matmul", manifest=PIPELINE)
    server = start(bundle)
    schemas = described(server)["components"]["schemas"]
    assert schemas["Record"]["properties"]["age"]["description"] == "In years"
    manifest = bundle / "model.toml"
    manifest.write_text(manifest.read_text().replace("max = 130", "max = 99"))
    load = requests.post(server.url("/v2/repository/models/m/load"), timeout=PATIENCE_S)
    assert load.status_code == 200, load.text
    schemas = described(server)["components"]["schemas"]
    assert schemas["Record"]["properties"]["age"]["maximum"] == 99


def test_a_model_without_a_pipeline_has_its_tensors(start, graph):
    server = start(graph("matmul"))
    description = described(server)
    assert list(description["paths"]) == ["/v2/models/m/infer"]
    missing = requests.get(server.url("/v1/endpoints/nothing/openapi.json"), timeout=PATIENCE_S)
    assert (missing.status_code, missing.json()["code"]) == (404, "unknown_model")
