"""A server that accepts access tokens of a certified OpenID provider, over REST and gRPC."""

import base64
import json
import time

import pytest
import requests
import tritonclient.grpc as triton_grpc
from tritonclient.utils import InferenceServerException

from conftest import MODELS, PATIENCE_S, Heldout, Server
from oidc_issuer import RESOURCE, OidcIssuer, decoded, new_key
from test_auth import DIGITS, bearer, wait_for

LIFETIME_S = 4


@pytest.fixture(scope="module")
def oidc():
    keys = (new_key("r1", "RS256"), new_key("e1", "ES256"), new_key("o1", "EdDSA"))
    issuer = OidcIssuer(*keys)
    yield issuer
    issuer.stop()


def config(issuer, *bindings):
    head = f"""
        [auth]
        enabled = true
        [[auth.issuer]]
        issuer = "{issuer.url}"
        audiences = ["{RESOURCE}"]
        groups_claim = "realm_access.roles"
        clock_skew_s = 0
        """
    return head + "".join(f"[[auth.binding]]\n{binding}\n" for binding in bindings)


@pytest.fixture
def protected(tmp_path, start):
    def protected(issuer, *bindings):
        path = tmp_path / "tidegate.toml"
        path.write_text(config(issuer, *bindings))
        return start(MODELS / "digits", flags=("--config", str(path)))

    return protected


def tensor():
    tensor = triton_grpc.InferInput("image", [1, 64], "FP32")
    tensor.set_data_from_numpy(Heldout("digits").inputs[:1].astype("float32").reshape(1, 64))
    return tensor


def over_grpc(server, token):
    client = triton_grpc.InferenceServerClient(server.grpc)
    try:
        client.infer("digits", [tensor()], headers={"authorization": f"Bearer {token}"})
    except InferenceServerException as error:
        return error.status().split(".")[-1]
    return "OK"


def test_roles_follow_the_subject_the_group_and_a_claim_of_a_token(oidc, protected):
    subject, group, claim = (
        'subject = "batch"\nrole = "caller"',
        'group = "batch-es"\nrole = "caller"\nresources = ["digits"]',
        'claims = { client_id = "batch-ed" }\nrole = "viewer"',
    )
    server = protected(oidc, subject, group, claim)
    asked = {}
    for client in ("batch", "batch-es", "batch-ed"):
        token = oidc.token(client)
        answer = server.infer("digits", DIGITS, headers=bearer(token))
        alerts = requests.get(server.url("/api/alerts"), headers=bearer(token), timeout=PATIENCE_S)
        asked[client] = (answer.status_code, over_grpc(server, token), alerts.status_code)
    assert asked == {
        "batch": (200, "OK", 403),
        "batch-es": (200, "OK", 403),
        "batch-ed": (403, "PERMISSION_DENIED", 200),
    }


def test_a_subject_without_a_binding_may_do_nothing(oidc, protected):
    server = protected(oidc, 'subject = "somebody-else"\nrole = "admin"')
    token = oidc.token()
    answer = server.infer("digits", DIGITS, headers=bearer(token))
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert f"user:batch@127.0.0.1:{oidc.port}" in answer.text
    assert over_grpc(server, token) == "PERMISSION_DENIED"


def test_tokens_for_others_and_forged_ones_are_refused(oidc, protected):
    server = protected(oidc, 'subject = "*"\nrole = "admin"')
    token = oidc.token()
    assert server.infer("digits", DIGITS, headers=bearer(token)).status_code == 200
    head, body, signature = token.split(".")
    claims = json.dumps({**decoded(body), "sub": "root"}).encode()
    forged = ".".join((head, base64.urlsafe_b64encode(claims).rstrip(b"=").decode(), signature))
    unsigned = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode() + f".{body}."
    for wrong in (oidc.token(resource="https://other.example"), forged, unsigned):
        answer = server.infer("digits", DIGITS, headers=bearer(wrong))
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
        assert over_grpc(server, wrong) == "UNAUTHENTICATED"
        assert body not in answer.text


def test_an_open_stream_ends_when_its_token_expires(protected):
    from queue import Queue

    oidc = OidcIssuer(new_key("r1", "RS256"), lifetime_s=LIFETIME_S)
    try:
        server = protected(oidc, 'subject = "batch"\nrole = "caller"')
        token = oidc.token()
        answers = Queue()
        client = triton_grpc.InferenceServerClient(server.grpc)
        headers = {"authorization": f"Bearer {token}"}
        client.start_stream(lambda result, error: answers.put((result, error)), headers=headers)
        client.async_stream_infer("digits", [tensor()])
        assert answers.get(timeout=PATIENCE_S)[1] is None

        def is_refused():
            client.async_stream_infer("digits", [tensor()])
            error = answers.get(timeout=PATIENCE_S)[1]
            return error is not None and "UNAUTHENTICATED" in str(error.status())

        while not is_refused():
            time.sleep(0.1)
        claims = decoded(token.split(".")[1])
        assert time.time() >= claims["exp"]
        client.stop_stream()
    finally:
        oidc.stop()


def test_a_token_with_an_unknown_key_is_no_fault_of_the_caller_while_the_issuer_is_down(tmp_path, start):
    old, new = new_key("r1", "RS256"), new_key("r2", "RS256")
    oidc = OidcIssuer(old)
    try:
        # From the time after the rotation. The server sees the old key only.
        oidc.restart(new)
        unknown = oidc.token()
        oidc.restart(old)
        path = tmp_path / "tidegate.toml"
        often = "min_refresh_s = 1\nmax_refresh_s = 1\n        [[auth.binding]]"
        binding = 'subject = "batch"\nrole = "admin"'
        path.write_text(config(oidc, binding).replace("[[auth.binding]]", often))
        server = start(MODELS / "digits", flags=("--config", str(path)))
        known = oidc.token()
        assert server.infer("digits", DIGITS, headers=bearer(known)).status_code == 200
        oidc.stop()

        def problems():
            ready = requests.get(server.url("/v2/health/ready"), headers=bearer(known), timeout=PATIENCE_S)
            return str(ready.json()["problems"])

        wait_for(lambda: "cannot be fetched" in problems())
        answer = server.infer("digits", DIGITS, headers=bearer(unknown))
        assert (answer.status_code, answer.json()["code"]) == (503, "auth_unavailable"), answer.text
        assert answer.headers["Retry-After"]
        assert over_grpc(server, unknown) == "UNAVAILABLE"
        assert server.infer("digits", DIGITS, headers=bearer(known)).status_code == 200
        oidc.start(new)
        wait_for(lambda: server.infer("digits", DIGITS, headers=bearer(unknown)).status_code == 200)
    finally:
        oidc.stop()
