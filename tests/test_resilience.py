"""What happens when a version fails: circuit breakers."""

import numpy as np
import pytest
import requests

import graphs
from conftest import FRAGILE, PATIENCE_S
from test_auth import wait_for

MODEL = "picky"
# It takes these numbers and the next two. No synthetic sample is as large, so each failed run counts for its breaker.
FIRST = 1000


def picky(path):
    nodes = [graphs.node("Sub", ["index", "first"], ["i"]), graphs.node("Gather", ["table", "i"], ["y"])]
    table = graphs.weights("table", np.array([1, 2, 3], np.float32))
    first = graphs.weights("first", np.array([FIRST], np.int64))
    inputs, outputs = [graphs.value("index", graphs.INT64, ["N"])], [graphs.value("y", graphs.FLOAT, ["N"])]
    return graphs.save(path, nodes, inputs, outputs, [table, first])


def gather(index):
    return {"inputs": [{"name": "index", "shape": [1], "datatype": "INT64", "data": [FIRST + index]}]}


def server_fault(server, model=MODEL):
    failed = server.infer(model, gather(99))
    assert (failed.status_code, failed.json()["code"]) == (500, "execution_failed"), failed.text


@pytest.fixture
def configured(start, tmp_path):
    """Starts a server over a model that fails on some inputs, with these settings."""

    def configured(settings, *models, **options):
        config = tmp_path / "tidegate.toml"
        config.write_text(settings)
        return start(*(models or (picky(tmp_path / f"{MODEL}.onnx"),)), flags=("--config", str(config)), **options)

    return configured


def breaker(settings="", model=MODEL):
    return f'[[endpoints]]\nname = "{model}"\n[endpoints.breaker]\nmin_requests = 3\n{settings}'


def events(server):
    """The names of the events of breakers, the oldest first, with their numbers."""
    page = requests.get(server.url("/api/events"), timeout=PATIENCE_S).json()
    own = [event for event in page if event["name"].startswith("breaker.")]
    return [(event["name"], event["fields"]) for event in sorted(own, key=lambda event: event["id"])]


def test_a_version_that_fails_gets_no_requests_until_one_succeeds(configured):
    server = configured(breaker("open_ms = 1\n"))
    assert server.infer(MODEL, gather(0)).status_code == 200
    for _ in range(2):
        server_fault(server)
    # Open for a moment only: the next request tries.
    wait_for(lambda: server.infer(MODEL, gather(0)).status_code == 200)
    wait_for(lambda: len(events(server)) == 3)
    assert [name for name, _ in events(server)] == ["breaker.opened", "breaker.half_open", "breaker.closed"]
    opened = events(server)[0][1]
    assert (opened["requests"], opened["failed"], opened["slow"]) == (3, 2, 0)
    for state in ("open", "half_open", "closed"):
        assert server.metric("tidegate_breaker_changes_total", model=MODEL, version="1", state=state) == 1


def test_an_open_breaker_refuses_with_a_code_of_its_own(configured):
    server = configured(breaker("open_ms = 3600000\n"))
    for _ in range(3):
        server_fault(server)
    refused = server.infer(MODEL, gather(0))
    assert (refused.status_code, refused.json()["code"]) == (503, "breaker_open"), refused.text
    assert refused.headers["Retry-After"] == "1"
    assert server.metric("tidegate_breaker_state", model=MODEL, version="1") == 2
    # A wrong request is told so, and is not let through as a try.
    wrong = server.infer(MODEL, {"inputs": [{"name": "index", "shape": [1], "datatype": "FP32", "data": [0.5]}]})
    assert (wrong.status_code, wrong.json()["code"]) == (400, "datatype_mismatch")


def test_wrong_requests_do_not_open_a_breaker(configured):
    server = configured(breaker())
    for _ in range(8):
        assert server.infer(MODEL, {"inputs": []}).status_code == 400
    assert server.infer(MODEL, gather(0)).status_code == 200
    assert server.metric("tidegate_breaker_state", model=MODEL, version="1") == 0


def test_inputs_that_the_model_rejects_do_not_open_a_breaker(configured):
    server = configured(breaker("open_ms = 3600000\n", FRAGILE.stem), FRAGILE)
    for _ in range(8):
        server_fault(server, FRAGILE.stem)
    body = gather(0)
    body["inputs"][0]["data"] = [0]
    assert server.infer(FRAGILE.stem, body).status_code == 200
    assert server.metric("tidegate_breaker_state", model=FRAGILE.stem, version="1") == 0


def test_the_gauge_of_a_breaker_goes_with_its_version_and_comes_back_closed(configured):
    server = configured(breaker("open_ms = 3600000\n"))

    def gauge():
        return server.metric("tidegate_breaker_state", model=MODEL, version="1")

    for _ in range(3):
        server_fault(server)
    assert gauge() == 2
    for action, expected in (("unload", None), ("load", 0), ("load", 0)):
        done = requests.post(server.url(f"/v2/repository/models/{MODEL}/{action}"), timeout=PATIENCE_S)
        assert done.status_code == 200 and gauge() == expected, action
    assert server.infer(MODEL, gather(0)).status_code == 200


def test_an_endpoint_without_configuration_has_no_breaker(configured):
    server = configured("")
    for _ in range(25):
        server_fault(server)
    assert server.infer(MODEL, gather(0)).status_code == 200
    assert server.metric("tidegate_breaker_state", model=MODEL) is None


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ("[[endpoints]]\n", "endpoints needs a name"),
        (breaker("open_ms = 0\n"), "breaker.open_ms is 0, it must be from 1 to"),
        (breaker("failure_percent = 0\n"), "the breaker never opens"),
    ],
)
def test_settings_of_an_endpoint_that_cannot_be_meant_are_refused_at_start(refusal, settings, problem):
    assert problem in refusal(settings)
