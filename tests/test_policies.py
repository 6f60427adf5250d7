"""Cedar policies beside roles, over REST, gRPC, KServe v1 and the API of keys: what they permit, forbid, and how they are replaced."""

import json
import os
import shlex
import subprocess

import grpc
import pytest
import requests

from conftest import BINARY, MODELS, PATIENCE_S, ROOT, Server
from oidc_issuer import RESOURCE, OidcIssuer, new_key
from test_auth import DIGITS, Keys, bearer, grpc_rows, grpc_stub, wait_for, wait_until_known
from test_docs import blocks, commands

POLICIES = """
@id("shop calls digits")
permit (principal == Tidegate::Principal::"key:shop", action == Tidegate::Action::"call", resource == Tidegate::Endpoint::"digits");

@id("acme sees models")
permit (principal, action == Tidegate::Action::"view-models", resource)
when { principal.tenant == "acme" };

@id("fraud is closed")
forbid (
  principal,
  action in [Tidegate::Action::"call", Tidegate::Action::"view-models"],
  resource
)
when { resource.name == "fraud" }
unless { principal.tenant == "risk" };

@id("banned")
forbid (principal == Tidegate::Principal::"key:banned", action, resource);
"""
NOTHING = ("viewer", "--on", "endpoint:none")


class Policed:
    """A server with policies in a file that the test writes."""

    def __init__(self, folder, text):
        self.file = folder / "policies.cedar"
        self.file.write_text(text)
        self.keys = Keys(folder / "data")
        self.root = self.keys.create("root", "admin")
        environment = {
            "TIDEGATE_AUTH__ENABLED": "true",
            "TIDEGATE_AUTH__REFRESH_MS": "50",
            "TIDEGATE_AUTH__POLICIES": str(self.file),
        }
        self.server = Server(folder / "data", MODELS, environment=environment)
        wait_until_known(self.server, self.root)

    def key(self, name, *role, tenant=""):
        key = self.keys.create(name, *(role or NOTHING), "--tenant", tenant)
        wait_until_known(self.server, key)
        return key

    def get(self, path, key):
        return requests.get(self.server.url(path), headers=bearer(key), timeout=PATIENCE_S)

    def infer(self, key, model="digits"):
        return self.server.infer(model, DIGITS, headers=bearer(key)).status_code

    def grpc_code(self, key, model="digits"):
        rows = grpc_rows("digits", "image", 64) if model == "digits" else grpc_rows(model, "transaction", 30)
        metadata = [("authorization", f"Bearer {key}")]
        with grpc.insecure_channel(self.server.grpc) as channel:
            try:
                grpc_stub(channel).ModelInfer(rows, metadata=metadata, timeout=PATIENCE_S)
            except grpc.RpcError as error:
                return error.code().name
        return "OK"

    def metric(self, name):
        page = self.get("/metrics", self.root).text
        return float(next(line for line in page.splitlines() if line.startswith(f"{name} ")).split()[1])

    def replace(self, text):
        new = self.file.with_suffix(".new")
        new.write_text(text)
        new.rename(self.file)


@pytest.fixture(scope="module")
def policed(tmp_path_factory):
    policed = Policed(tmp_path_factory.mktemp("policies"), POLICIES)
    yield policed
    policed.server.stop()


@pytest.fixture
def own(tmp_path):
    """A server whose policies a test replaces."""
    made = []

    def own(text):
        made.append(Policed(tmp_path, text))
        return made[-1]

    yield own
    for policed in made:
        policed.server.stop()


def test_a_policy_permits_what_no_role_does(policed):
    key = policed.key("shop")
    assert (policed.infer(key), policed.grpc_code(key)) == (200, "OK")
    v1 = policed.server.url("/v1/models/digits:predict")
    answer = requests.post(v1, json={"instances": [[0.0] * 64]}, headers=bearer(key), timeout=PATIENCE_S)
    assert answer.status_code == 200, answer.text
    # Only that endpoint, and only calls.
    assert (policed.infer(key, "fraud"), policed.grpc_code(key, "fraud")) == (403, "PERMISSION_DENIED")
    assert policed.get("/v2/models/digits", key).status_code == 403
    other = policed.key("another")
    assert (policed.infer(other), policed.grpc_code(other)) == (403, "PERMISSION_DENIED")


def test_a_forbid_wins_over_the_role_admin(policed):
    assert policed.infer(policed.root) == 200
    assert (policed.infer(policed.root, "fraud"), policed.grpc_code(policed.root, "fraud")) == (403, "PERMISSION_DENIED")
    v1 = policed.server.url("/v1/models/fraud:predict")
    answer = requests.post(v1, json={"instances": [[0.0] * 30]}, headers=bearer(policed.root), timeout=PATIENCE_S)
    assert (answer.status_code, answer.json().get("code", "forbidden")) == (403, "forbidden"), answer.text
    assert policed.get("/v2/models/digits", policed.root).status_code == 200
    assert policed.get("/v2/models/fraud", policed.root).status_code == 403
    # A list of all models would show the one that is closed.
    index = policed.server.url("/v2/repository/index")
    assert requests.post(index, headers=bearer(policed.root), timeout=PATIENCE_S).status_code == 403
    risk = policed.key("risk", "viewer", tenant="risk")
    assert requests.post(index, headers=bearer(risk), timeout=PATIENCE_S).status_code == 200
    banned = policed.key("banned", "admin")
    assert (policed.infer(banned), policed.grpc_code(banned)) == (403, "PERMISSION_DENIED")
    assert policed.get("/api/alerts", banned).status_code == 403
    assert policed.get("/console", banned).status_code == 403


def test_a_policy_looks_at_the_tenant(policed):
    acme, other = policed.key("of-acme", tenant="acme"), policed.key("of-other", tenant="other")
    assert policed.get("/v2/models/digits", acme).status_code == 200
    assert policed.get("/v2/models/digits", other).status_code == 403
    assert policed.get("/v2/models/fraud", acme).status_code == 403


def test_what_is_public_stays_public(policed):
    for headers in ({}, bearer(policed.key("banned-2"))):
        for path in ("/v2/health/live", "/v2/health/ready"):
            assert requests.get(policed.server.url(path), headers=headers, timeout=PATIENCE_S).status_code == 200


def test_nobody_hands_on_what_policies_give_or_forbid(policed):
    def create(name, role, resource="*", key=policed.root, **more):
        body = {"name": name, "grants": [{"role": role, "resources": [resource]}], **more}
        answer = requests.post(policed.server.url("/api/keys"), json=body, headers=bearer(key), timeout=PATIENCE_S)
        return answer.status_code

    assert create("may-call-digits", "caller", "digits") == 201
    assert create("may-operate", "viewer", "operations:*") == 201
    # root may not call fraud, so it cannot let a key of the tenant risk do it.
    assert create("too-much", "caller", "fraud", tenant="risk") == 403
    assert create("too-much", "caller", "*", tenant="risk") == 403
    assert create("too-much", "admin") == 403
    # The policies would permit more to a key of this tenant than root may see.
    assert create("too-much", "viewer", "operations:*", tenant="acme") == 403
    # The command on the database can still make them.
    policed.key("by-operator", "caller", tenant="risk")


def test_whoami_tells_that_policies_decide(policed):
    told = policed.get("/api/whoami", policed.root).json()
    assert told["policies"] is True
    banned = policed.keys.create("banned-3", "admin")
    wait_until_known(policed.server, banned)
    assert policed.get("/api/whoami", banned).json()["permissions"]


def test_new_policies_are_in_force_within_a_moment_and_broken_ones_never(own):
    policed = own(POLICIES)
    key = policed.key("shop")
    assert policed.infer(key) == 200
    policed.replace(POLICIES + 'forbid (principal == Tidegate::Principal::"key:shop", action, resource);')
    wait_for(lambda: policed.infer(key) == 403)
    assert policed.grpc_code(key) == "PERMISSION_DENIED"

    policed.replace(POLICIES + 'forbid (principal, action, resource) when { principal.tenat == "x" };')
    wait_for(lambda: policed.metric("tidegate_policy_reload_failures_total") == 1)
    assert policed.infer(key) == 403, "the policies before stay in force"
    ready = policed.get("/v2/health/ready", policed.root)
    assert ready.status_code == 200 and "policies cannot be used" in ready.text
    lines = 1 + len(POLICIES.splitlines())
    assert f"policies.cedar:{lines}: policy policies.cedar#5" in policed.server.log.read_text()
    events = policed.get("/api/events", policed.root).text
    assert "policies.changed" in events and "policies.refused" in events

    policed.replace(POLICIES)
    wait_for(lambda: policed.infer(key) == 200)
    assert "cannot be used" not in policed.get("/v2/health/ready", policed.root).text
    assert policed.metric("tidegate_policies") == 4
    policed.file.unlink()
    wait_for(lambda: policed.metric("tidegate_policy_reload_failures_total") == 2)
    assert policed.infer(key) == 200


def test_a_policy_that_cannot_be_evaluated_denies(own):
    policed = own('forbid (principal, action == Tidegate::Action::"call", resource) when { 9223372036854775807 + 1 < 0 };')
    assert (policed.infer(policed.root), policed.grpc_code(policed.root)) == (403, "PERMISSION_DENIED")
    assert policed.metric("tidegate_policy_failures_total") >= 2
    assert "a policy cannot be evaluated" in policed.server.log.read_text()
    assert policed.get("/v2/models/digits", policed.root).status_code == 200


def serve(folder, **environment):
    command = [BINARY, "serve", MODELS / "digits", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--data", folder / "data"]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, env={**os.environ, **environment})


def test_a_server_with_a_broken_policy_does_not_start(tmp_path):
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "a.cedar").write_text(POLICIES)
    (folder / "b.cedar").write_text('// Rules.\n\n@id("typo")\nforbid (principal, action == Tidegate::Action::"cal", resource);\n')
    ended = serve(tmp_path, TIDEGATE_AUTH__ENABLED="true", TIDEGATE_AUTH__POLICIES=str(folder))
    assert ended.returncode != 0
    assert "b.cedar:4: policy typo: " in ended.stderr and "a.cedar" not in ended.stderr
    none = serve(tmp_path, TIDEGATE_AUTH__ENABLED="true", TIDEGATE_AUTH__POLICIES=str(tmp_path / "none"))
    assert none.returncode != 0 and "cannot read the policies" in none.stderr
    off = serve(tmp_path, TIDEGATE_AUTH__POLICIES=str(folder / "a.cedar"))
    assert off.returncode != 0 and "auth.enabled" in off.stderr


def test_a_claim_that_is_kept_of_no_token_is_refused(tmp_path):
    file = tmp_path / "policies.cedar"
    file.write_text('forbid (principal, action, resource)\nwhen { principal.hasTag("team") };')
    ended = serve(tmp_path, TIDEGATE_AUTH__ENABLED="true", TIDEGATE_AUTH__POLICIES=str(file))
    assert ended.returncode != 0 and 'reads the claim "team"' in ended.stderr and "kept_claims" in ended.stderr


def test_a_policy_looks_at_a_claim_of_a_token(tmp_path, start):
    oidc = OidcIssuer(new_key("r1", "RS256"), new_key("e1", "ES256"), new_key("o1", "EdDSA"))
    try:
        policies, config = tmp_path / "policies.cedar", tmp_path / "tidegate.toml"
        policies.write_text(
            'permit (principal, action == Tidegate::Action::"call", resource == Tidegate::Endpoint::"digits")\n'
            'when { principal.hasTag("client_id") && principal.getTag("client_id").contains("batch-es") };'
        )
        config.write_text(
            f'[auth]\nenabled = true\npolicies = "{policies}"\n[[auth.issuer]]\nissuer = "{oidc.url}"\n'
            f'audiences = ["{RESOURCE}"]\nkept_claims = ["client_id"]\n'
        )
        server = start(MODELS / "digits", flags=("--config", str(config)))
        asked = {client: server.infer("digits", DIGITS, headers=bearer(oidc.token(client))) for client in ("batch", "batch-es")}
        assert {client: answer.status_code for client, answer in asked.items()} == {"batch": 403, "batch-es": 200}
    finally:
        oidc.stop()


def policies(*arguments):
    return subprocess.run([BINARY, "policies", *map(str, arguments)], capture_output=True, text=True, timeout=PATIENCE_S)


def test_policies_are_checked_on_the_command_line(tmp_path):
    file = tmp_path / "policies.cedar"
    file.write_text(POLICIES)
    checked = policies("check", file)
    assert (checked.returncode, checked.stdout) == (0, "policies: 4, errors: 0\n")
    file.write_text("permit (principal, action, resource);\nforbid (principal, action, resource) when { principal.tenat == 1 };\npermit")
    broken = policies("check", file)
    assert broken.returncode == 1 and broken.stderr.startswith(f"{file}:3: "), broken.stderr
    file.write_text("permit (principal, action, resource);\nforbid (principal, action, resource) when { principal.tenat == 1 };")
    broken = policies("check", file)
    assert broken.returncode == 1 and broken.stderr.startswith(f"{file}:2: policy policies.cedar#2: "), broken.stderr


def test_requests_are_tested_on_the_command_line(tmp_path):
    file = tmp_path / "policies.cedar"
    file.write_text(POLICIES)

    def test(principal, resource, *more, action="call"):
        command = ("test", "--policies", file, "--principal", principal, "--action", action, "--resource", resource)
        ended = policies(*command, *more, "--json")
        told = json.loads(ended.stdout)
        assert ended.returncode == (0 if told["allowed"] else 1)
        return told["allowed"], told["policies"]

    assert test("key:shop", "endpoint:digits") == (True, ["shop calls digits"])
    assert test("key:shop", "endpoint:churn") == (False, [])
    assert test("key:shop", "endpoint:churn", "--role", "caller") == (True, [])
    assert test("key:shop", "endpoint:churn", "--role", "caller", "--on", "other") == (False, [])
    assert test("key:ada", "endpoint:fraud", "--role", "admin") == (False, ["fraud is closed"])
    assert test("key:ada", "endpoint:fraud", "--role", "admin", "--tenant", "risk") == (True, [])
    assert test("key:ada", "model:*", "--tenant", "acme", action="view-models") == (False, ["fraud is closed"])
    wrong = policies("test", "--policies", file, "--principal", "key:a", "--action", "call", "--resource", "model:fraud")
    assert wrong.returncode != 0 and "of the kind endpoint" in wrong.stderr
    shown = policies("test", "--policies", file, "--principal", "key:shop", "--action", "call", "--resource", "endpoint:digits")
    assert shown.stdout == "allow: a policy permits it\n  policy shop calls digits\n"


def test_the_schema_is_printed():
    shown = policies("schema").stdout
    assert 'action "call" appliesTo { principal: Principal, resource: Endpoint };' in shown


def test_the_guide_shows_what_the_commands_print(tmp_path):
    page = ROOT / "docs/guides/security.md"
    (tmp_path / "policies.cedar").write_text(blocks(page, "cedar")[0])
    typed = [pair for block in blocks(page, "console") for pair in commands(block) if pair[0].startswith("tidegate policies ")]
    assert len(typed) == 3
    for command, shown in typed:
        arguments = shlex.split(command)[1:]
        ended = subprocess.run([BINARY, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S)
        assert ended.stdout.strip() == shown, ended.stderr
