"""Tokens of a certified OpenID provider, judged by `tidegate token inspect`."""

import json
import subprocess

import pytest

from conftest import BINARY, PATIENCE_S
from oidc_issuer import RESOURCE, OidcIssuer, decoded, encoded, new_key


@pytest.fixture(scope="module")
def keys():
    algorithms = {"r1": "RS256", "e1": "ES256", "o1": "EdDSA", "r2": "RS256"}
    return {name: new_key(name, algorithm) for name, algorithm in algorithms.items()}


@pytest.fixture
def oidc(keys):
    issuer = OidcIssuer(keys["r1"], keys["e1"], keys["o1"])
    yield issuer
    issuer.stop()


def inspect(issuer, token, *arguments, audience=RESOURCE):
    command = [BINARY, "token", "inspect", "--issuer", issuer, "--audience", audience, "--json", *arguments]
    ended = subprocess.run(command, input=token, capture_output=True, text=True, timeout=PATIENCE_S)
    assert ended.stdout, ended.stderr
    said = json.loads(ended.stdout)
    assert ended.returncode == (0 if said["accepted"] else 1)
    return said


def test_access_tokens_of_every_algorithm_are_accepted(oidc):
    for client in ("batch", "batch-es", "batch-ed"):
        claims = ("--tenant-claim", "tenant", "--groups-claim", "realm_access.roles")
        said = inspect(oidc.url, oidc.token(client), *claims)
        assert (said["accepted"], said["subject"], said["tenant"]) == (True, client, "acme"), said
        assert said["groups"] == ["caller", client]


def test_a_token_for_another_service_or_of_another_issuer_is_refused(oidc):
    token = oidc.token()
    assert "aud" in inspect(oidc.url, token, audience="https://other.example")["reason"]
    assert "not trusted" in inspect(oidc.url + "/", token)["reason"]


def test_the_server_of_the_token_is_down(oidc):
    token = oidc.token()
    oidc.stop()
    assert "not available" in inspect(oidc.url, token)["reason"]
    oidc.start()


def test_a_key_that_was_rotated_away_is_refused_and_the_new_one_accepted(oidc, keys):
    old = oidc.token()
    assert inspect(oidc.url, old)["accepted"]
    oidc.restart(keys["r2"], keys["e1"], keys["o1"])
    assert "does not publish" in inspect(oidc.url, old)["reason"]
    assert inspect(oidc.url, oidc.token())["accepted"]


def test_a_changed_token_is_refused_and_why_is_said_without_quoting_it(oidc):
    header, payload, signature = oidc.token().split(".")
    admin = encoded({**decoded(payload), "sub": "admin"})
    none = encoded({**decoded(header), "alg": "none"})
    for token, reason in [
        (f"{header}.{admin}.{signature}", "the signature is wrong"),
        (f"{none}.{payload}.", "signed with none"),
        (f"{header}.{payload}", "three parts"),
    ]:
        said = inspect(oidc.url, token)
        assert reason in said["reason"] and "admin" not in said["reason"]
