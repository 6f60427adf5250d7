"""What a page of another site lets a browser send: it changes nothing. Clients that are no browser send what they like."""

import pytest
import requests

from conftest import MODELS, PATIENCE_S

SILENCE = {"matchers": ['endpoint="digits"'], "duration_s": 60, "author": "ada", "comment": "a test"}
THAW = {"duration_s": 60, "author": "ada", "comment": "a test"}
FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
    {"Sec-Fetch-Site": "same-site"},
]


@pytest.fixture
def server(start, tmp_path):
    config = tmp_path / "tidegate.toml"
    config.write_text('[[slo]]\nname = "available"\n')
    return start(MODELS / "digits", flags=("--config", str(config)))


def send(server, method, path, body=None, **headers):
    # A form of a page can send this type, with any text in it, without asking first.
    headers = {"Content-Type": "text/plain", **headers}
    return requests.request(method, server.url(path), json=body, headers=headers, timeout=PATIENCE_S)


def silences(server):
    return requests.get(server.url("/api/silences"), timeout=PATIENCE_S).json()


@pytest.mark.parametrize("headers", FOREIGN, ids=lambda headers: " ".join(headers.values()))
def test_pages_of_other_sites_change_nothing(server, headers):
    kept = send(server, "POST", "/api/silences", SILENCE).json()["id"]
    paths = [
        ("POST", "/v2/repository/models/digits/unload", None),
        ("POST", "/v2/repository/models/digits/load", None),
        ("POST", "/api/silences", SILENCE),
        ("DELETE", f"/api/silences/{kept}", None),
        ("POST", "/api/slos/available/thaw", THAW),
        ("PUT", "/api/slos/more", {"endpoint": "digits", "target": 0.99}),
        ("DELETE", "/api/slos/available", None),
    ]
    for method, path, body in paths:
        answer = send(server, method, path, body, **headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "foreign_origin"), path
    assert requests.get(server.url("/v2/models/digits/ready"), timeout=PATIENCE_S).status_code == 200
    assert [(silence["id"], silence["state"]) for silence in silences(server)] == [(kept, "active")]
    # What only reads is for everybody; a browser shows it to no other site.
    assert requests.get(server.url("/api/silences"), headers=headers, timeout=PATIENCE_S).status_code == 200
    assert send(server, "POST", "/v2/repository/index", **headers).status_code == 200


@pytest.mark.parametrize("is_browser", [False, True])
def test_our_own_pages_and_clients_that_are_no_browser_may_change_things(server, is_browser):
    headers = {"Origin": f"http://{server.http}", "Sec-Fetch-Site": "same-origin"} if is_browser else {}
    added = send(server, "POST", "/api/silences", SILENCE, **headers)
    assert added.status_code == 200
    assert send(server, "DELETE", f"/api/silences/{added.json()['id']}", **headers).status_code == 200
    assert [silence["state"] for silence in silences(server)] == ["expired"]
    for path in ("unload", "load"):
        assert send(server, "POST", f"/v2/repository/models/digits/{path}", **headers).status_code == 200
    # The objective has spent nothing, so that there is nothing to thaw: it is heard, and says so.
    assert send(server, "POST", "/api/slos/available/thaw", THAW, **headers).status_code != 403


def test_methods_that_a_path_does_not_take_are_refused_as_before(server):
    answer = requests.put(server.url("/api/silences"), timeout=PATIENCE_S)
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    answer = requests.get(server.url("/api/slos/available/thaw"), timeout=PATIENCE_S)
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
