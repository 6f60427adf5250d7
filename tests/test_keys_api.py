"""API keys over the API, and with `tidegate api-keys --url`."""

import json
import os
import subprocess

import pytest
import requests

from conftest import BINARY, MODELS, PATIENCE_S, Server
from test_auth import DIGITS, Keys, bearer, wait_until_known


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("keys-api")


@pytest.fixture(scope="module")
def keys(folder):
    return Keys(folder / "data")


@pytest.fixture(scope="module")
def root(keys):
    return keys.create("root", "admin")


@pytest.fixture(scope="module")
def server(folder, root):
    server = Server(folder / "data", MODELS / "digits", environment={"TIDEGATE_AUTH__ENABLED": "true"})
    wait_until_known(server, root)
    yield server
    server.stop()


def call(server, method, path, key, **body):
    return requests.request(method, server.url(path), headers=bearer(key), json=body, timeout=PATIENCE_S)


def grant(role, *resources):
    return {"role": role, "resources": list(resources) or ["*"]}


def create(server, key, name, *grants, **more):
    return call(server, "POST", "/api/keys", key, name=name, grants=list(grants), **more)


def made(server, key, name, *grants, **more):
    answer = create(server, key, name, *grants, **more)
    assert answer.status_code == 201, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.json()["key"]


def test_a_key_is_created_listed_replaced_and_revoked(server, root):
    key = made(server, root, "shop", grant("caller", "digits*"), valid_for_s=3600)
    assert server.infer("digits", DIGITS, headers=bearer(key)).status_code == 200, "at once"
    listed = call(server, "GET", "/api/keys", root)
    own = next(entry for entry in listed.json() if entry["name"] == "shop")
    assert own["hint"] == key[:10] and own["created_by"] == "key:root" and own["expires_ms"] > own["created_ms"]
    assert own["grants"] == [grant("caller", "digits*")]
    assert key not in listed.text and "digest" not in own
    again = create(server, root, "shop", grant("caller"))
    assert (again.status_code, again.json()["code"]) == (409, "conflict")
    new = call(server, "POST", "/api/keys/shop/rotate", root, overlap_s=0).json()["key"]
    assert server.infer("digits", DIGITS, headers=bearer(new)).status_code == 200
    assert server.infer("digits", DIGITS, headers=bearer(key)).status_code == 401, "no overlap"
    assert call(server, "DELETE", "/api/keys/shop", root).status_code == 204
    assert server.infer("digits", DIGITS, headers=bearer(new)).status_code == 401
    gone = call(server, "DELETE", "/api/keys/shop", root)
    assert (gone.status_code, gone.json()["code"]) == (404, "not_found")


def test_nobody_gives_a_key_more_than_they_may_do(server, root):
    lead = made(server, root, "lead", grant("admin", "digits*"), grant("admin", "keys:*"))
    assert made(server, lead, "of-lead", grant("caller", "digits-eu"), grant("deployer", "model:digits*")).startswith("tdg_")
    for wrong in (grant("admin"), grant("caller"), grant("caller", "fraud"), grant("viewer", "metrics:*"), grant("caller", "dig*")):
        refused = create(server, lead, "too-much", wrong)
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden"), wrong
    # The key of somebody who may do more is not shown to them either.
    assert call(server, "POST", "/api/keys/root/rotate", lead).status_code == 403
    assert requests.get(server.url("/metrics"), headers=bearer(root), timeout=PATIENCE_S).status_code == 200
    other = made(server, root, "of-acme", grant("admin"), tenant="acme")
    assert create(server, other, "of-umbrella", grant("caller"), tenant="umbrella").status_code == 403
    assert made(server, other, "of-acme-too", grant("caller"))
    tenants = {entry["name"]: entry["tenant"] for entry in call(server, "GET", "/api/keys", root).json()}
    assert tenants["of-acme-too"] == "acme", "that of the caller"
    assert call(server, "DELETE", "/api/keys/lead", other).status_code == 403
    seen = {entry["tenant"] for entry in call(server, "GET", "/api/keys", other).json()}
    assert seen == {"acme"}, "keys of other tenants are not listed"


@pytest.mark.parametrize("role", ("viewer", "caller", "deployer", "operator"))
def test_other_roles_manage_no_keys(server, root, role):
    key = made(server, root, f"a-{role}", grant(role))
    for method, path in (("GET", ""), ("POST", ""), ("POST", "/root/rotate"), ("DELETE", "/root")):
        assert call(server, method, f"/api/keys{path}", key).status_code == 403, (method, path)


def test_wrong_keys_are_refused_with_the_reason(server, root):
    for name, given in (("a b", grant("caller")), ("x", grant("caller", "a*b"))):
        refused = create(server, root, name, given)
        assert (refused.status_code, refused.json()["code"]) == (400, "invalid_parameter"), refused.text
    unknown = create(server, root, "x", grant("root"))
    assert unknown.status_code == 400 and "root" in unknown.json()["error"]
    assert create(server, root, "x").status_code == 400


def test_a_caller_learns_who_they_are(server, root):
    key = made(server, root, "asker", grant("caller", "digits*"), tenant="acme")
    said = call(server, "GET", "/api/whoami", key).json()
    both = [{"permission": name, "resources": ["digits*"]} for name in ("call", "view-models")]
    assert said == {"principal": "key:asker", "tenant": "acme", "permissions": both, "policies": False}
    assert requests.get(server.url("/api/whoami"), timeout=PATIENCE_S).json()["principal"] == "anonymous"
    assert call(server, "GET", "/api/whoami", "tdg_wrong").status_code == 401


def test_a_page_of_another_site_changes_no_keys(server, root):
    headers = {**bearer(root), "Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}
    for method, path in (("POST", "/api/keys"), ("POST", "/api/keys/root/rotate"), ("DELETE", "/api/keys/root")):
        refused = requests.request(method, server.url(path), headers=headers, json={}, timeout=PATIENCE_S)
        assert (refused.status_code, refused.json()["code"]) == (403, "foreign_origin")


def test_changes_of_keys_are_in_the_audit_log_without_the_key(server, root, keys):
    key = made(server, root, "audited", grant("caller"))
    assert call(server, "DELETE", "/api/keys/audited", root).status_code == 204
    command = [BINARY, "audit", "list", "--json", "--resource", "audited", "--data", str(keys.data)]
    log = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=True).stdout
    rows = [json.loads(line) for line in log.splitlines()]
    done = {(row["action"], row["actor"], row["source"]) for row in rows if row["result"] == "ok" and row["source"]}
    assert done == {(f"key.{change}", "key:root", "127.0.0.1") for change in ("create", "revoke")}
    assert key not in log


def test_without_authentication_there_are_no_keys_to_manage(start):
    server = start(MODELS / "digits")
    refused = requests.get(server.url("/api/keys"), timeout=PATIENCE_S)
    assert (refused.status_code, refused.json()["code"]) == (405, "method_not_allowed")
    said = requests.get(server.url("/api/whoami"), timeout=PATIENCE_S).json()
    assert said["principal"] == "anonymous" and {"permission": "manage-keys", "resources": ["*"]} in said["permissions"]


def test_the_command_line_manages_the_keys_of_a_server(server, root):
    def run(*arguments, token=root):
        command = [BINARY, "api-keys", *arguments, "--url", server.http]
        environment = {**os.environ, "TIDEGATE_TOKEN": token}
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, env=environment)

    created = run("create", "by-command", "--role", "caller", "--on", "digits", "--tenant", "acme", "--expires", "1h")
    key = created.stdout.strip()
    assert created.returncode == 0 and server.infer("digits", DIGITS, headers=bearer(key)).status_code == 200
    [listed] = [entry for entry in json.loads(run("list", "--json").stdout) if entry["name"] == "by-command"]
    assert listed["state"] == "valid" and listed["tenant"] == "acme" and listed["expires_ms"]
    assert "caller on digits" in run("list").stdout
    assert run("rotate", "by-command", "--overlap", "30m").stdout.startswith("tdg_")
    assert run("revoke", "by-command").returncode == 0
    assert server.infer("digits", DIGITS, headers=bearer(key)).status_code == 401
    assert "by-command" not in run("list").stdout and "revoked" in run("list", "--all").stdout
    for refused in (run("list", token="tdg_wrong"), run("list", token=key), run("revoke", "a/b")):
        assert refused.returncode != 0 and refused.stderr


def test_a_key_that_is_valid_for_no_time_is_refused(server, root):
    refused = create(server, root, "timeless", grant("caller"), valid_for_s=0)
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_parameter"), refused.text
    assert "timeless" not in call(server, "GET", "/api/keys", root).text


def test_the_name_of_a_revoked_key_stays_with_its_tenant(server, root):
    made(server, root, "billing", grant("caller"), tenant="acme")
    assert call(server, "DELETE", "/api/keys/billing", root).status_code == 204
    manager = made(server, root, "umbrella-keys", grant("admin"), tenant="umbrella")
    foreign = create(server, manager, "billing", grant("caller"), tenant="umbrella")
    assert (foreign.status_code, foreign.json()["code"]) == (409, "conflict"), foreign.text
    assert "acme" not in foreign.text and "revoked" not in foreign.text
    assert made(server, root, "billing", grant("caller"), tenant="acme")


@pytest.mark.parametrize("remote", (True, False))
def test_the_last_admin_key_is_revoked_only_by_force(start, tmp_path, remote):
    data = tmp_path / "data"
    keys = Keys(data)
    root = keys.create("root", "admin")
    server = start(MODELS / "digits", data=data, environment={"TIDEGATE_AUTH__ENABLED": "true"})
    wait_until_known(server, root)

    def revoke(name, *flags, key=root):
        place = ("--url", server.http) if remote else ("--data", str(data))
        command = [BINARY, "api-keys", "revoke", name, *flags, *place]
        environment = {**os.environ, "TIDEGATE_TOKEN": key}
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, env=environment)

    refused = revoke("root")
    assert refused.returncode != 0 and "--force" in refused.stderr, refused.stderr
    assert call(server, "GET", "/api/keys", root).status_code == 200, "it is still valid"
    second = made(server, root, "second", grant("admin"))
    assert revoke("root").returncode == 0
    assert revoke("second", key=second).returncode != 0
    assert revoke("second", "--force", key=second).returncode == 0
