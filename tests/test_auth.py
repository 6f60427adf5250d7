"""Who may do what: API keys, roles and resources, over REST and gRPC."""

import re
import subprocess

import grpc
import pytest
import requests
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

from conftest import BINARY, MODELS, PATIENCE_S, ROOT

ROLES = ("viewer", "caller", "deployer", "operator", "admin")
DIGITS = {"inputs": [{"name": "image", "shape": [1, 64], "datatype": "FP32", "data": [0.0] * 64}]}


def table(page, heading):
    """The rows of the first table after a heading."""
    rows = []
    for line in page.split(heading, 1)[1].splitlines():
        if line.startswith("|"):
            rows.append([cell.strip().strip("`") for cell in line.strip("|").split("|")])
        elif rows:
            break
    return rows[2:]


PAGE = (ROOT / "docs/reference/routes.md").read_text()
PERMISSIONS = {row[0]: row[2].split(", ") for row in table(PAGE, "# Routes")}
ROUTES = table(PAGE, "## REST")
METHODS = table(PAGE, "## gRPC")


class Keys:
    """`tidegate api-keys` on the data folder of a server."""

    def __init__(self, data):
        self.data = data

    def run(self, *arguments):
        command = [BINARY, "api-keys", *arguments, "--data", str(self.data)]
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)

    def create(self, name, role, *flags):
        ended = self.run("create", name, "--role", role, *flags)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.strip()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("auth")


@pytest.fixture(scope="module")
def keys(folder):
    return Keys(folder / "data")


@pytest.fixture(scope="module")
def by_role(keys):
    return {role: keys.create(f"a-{role}", role) for role in ROLES}


@pytest.fixture(scope="module")
def protected(folder, by_role):
    from conftest import Server

    server = Server(folder / "data", MODELS, environment={"TIDEGATE_AUTH__ENABLED": "true"})
    wait_until_known(server, by_role["admin"])
    yield server
    server.stop()


def bearer(key):
    return {"Authorization": f"Bearer {key}"} if key else {}


def wait_until_known(server, key):
    """A key is known shortly after it was created."""
    wait_for(lambda: requests.get(server.url("/metrics"), headers=bearer(key), timeout=PATIENCE_S).status_code != 401)


def wait_for(condition):
    import time

    for _ in range(PATIENCE_S * 20):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("the condition never held")


def filled(path):
    values = {"model": "digits", "version": "1", "name": "none", "id": "none", "trigger": "none", "region": "none", "experiment": "none", "*path": "none"}
    return re.sub(r"{([^}]*)}", lambda found: values[found[1]], path)


@pytest.mark.parametrize("role", [None, *ROLES])
def test_every_route_is_open_to_the_roles_that_have_its_permission(protected, by_role, role):
    assert len(ROUTES) > 40
    key = by_role.get(role)
    for method, path, permission in ROUTES:
        if path == "/v2/repository/models/{model}/unload":
            continue
        target = filled(path) + (":predict" if (method, path) == ("POST", "/v1/models/{model}") else "")
        answer = requests.request(
            method, protected.url(target), headers=bearer(key), json={}, timeout=PATIENCE_S, allow_redirects=False, stream=True
        )
        answer.close()
        allowed = permission == "public" or role in PERMISSIONS[permission]
        refused = 401 if role is None else 403
        if allowed:
            assert answer.status_code not in (401, 403), (role, method, path)
        else:
            assert answer.status_code == refused, (role, method, path)
            assert ("WWW-Authenticate" in answer.headers) == (refused == 401)


@pytest.mark.parametrize("role", [None, *ROLES])
def test_every_grpc_method_is_open_to_the_roles_that_have_its_permission(protected, by_role, role):
    assert len(METHODS) > 15
    key = by_role.get(role)
    metadata = [("authorization", f"Bearer {key}")] if key else []
    with grpc.insecure_channel(protected.grpc) as channel:
        for method, permission, _ in METHODS:
            if method.endswith("RepositoryModelUnload"):
                continue
            call = channel.stream_stream(method)
            try:
                answers = call(iter([b""]), metadata=metadata, timeout=5)
                next(answers, None)
                code = None
            except grpc.RpcError as error:
                code = error.code()
            finally:
                answers.cancel()
            allowed = permission == "public" or role in PERMISSIONS[permission]
            refused = grpc.StatusCode.UNAUTHENTICATED if role is None else grpc.StatusCode.PERMISSION_DENIED
            if allowed:
                assert code not in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED), (role, method)
            else:
                assert code == refused, (role, method)


def test_a_key_for_some_models_opens_no_others(protected, keys):
    key = keys.create("only-digits", "caller", "--on", "digits*")
    wait_until_known(protected, key)
    assert protected.infer("digits", DIGITS, headers=bearer(key)).status_code == 200
    assert protected.infer("digits", DIGITS, headers={"X-Api-Key": key}).status_code == 200
    other = protected.infer("fraud", DIGITS, headers=bearer(key))
    assert (other.status_code, other.json()["code"]) == (403, "forbidden")
    # What is about all models together is more than the models of the key.
    assert requests.post(protected.url("/v2/repository/index"), headers=bearer(key), timeout=PATIENCE_S).status_code == 403
    assert requests.get(protected.url("/v2/models/digits"), headers=bearer(key), timeout=PATIENCE_S).status_code == 200
    client = triton_grpc.InferenceServerClient(protected.grpc)
    metadata = {"authorization": f"Bearer {key}"}
    assert client.get_model_metadata("digits", headers=metadata).name == "digits"
    with pytest.raises(InferenceServerException, match="PERMISSION_DENIED"):
        client.get_model_metadata("fraud", headers=metadata)
    with pytest.raises(InferenceServerException, match="PERMISSION_DENIED"):
        client.unload_model("digits", headers=metadata)


def grpc_rows(model, name, columns, rows=1):
    """A gRPC message with rows of zeros."""
    from tritonclient.grpc import service_pb2

    message = service_pb2.ModelInferRequest(model_name=model)
    tensor = message.inputs.add(name=name, datatype="FP32", shape=[rows, columns])
    tensor.contents.fp32_contents.extend([0.0] * rows * columns)
    return message


def grpc_stub(channel):
    from tritonclient.grpc import service_pb2_grpc

    return service_pb2_grpc.GRPCInferenceServiceStub(channel)


@pytest.mark.parametrize("header", ["authorization", "x-api-key"])
def test_a_key_for_some_models_asks_no_others_over_grpc(protected, keys, header):
    key = keys.create(f"grpc-digits-{header}", "caller", "--on", "digits*")
    wait_until_known(protected, key)
    metadata = [(header, f"Bearer {key}" if header == "authorization" else key)]
    own, other = grpc_rows("digits", "image", 64), grpc_rows("fraud", "transaction", 30)
    with grpc.insecure_channel(protected.grpc) as channel:
        stub = grpc_stub(channel)
        assert stub.ModelInfer(own, metadata=metadata, timeout=PATIENCE_S).model_name == "digits"
        with pytest.raises(grpc.RpcError) as refused:
            stub.ModelInfer(other, metadata=metadata, timeout=PATIENCE_S)
        assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED
        answers = stub.ModelStreamInfer(iter([own, other, own]), metadata=metadata, timeout=PATIENCE_S)
        errors = [answer.error_message for answer in answers]
    assert errors[0] == errors[2] == ""
    assert 'no permission "call"' in errors[1]


def test_a_refused_grpc_call_is_counted_as_a_refused_request_is(protected, by_role):
    def refused(code):
        page = requests.get(protected.url("/metrics"), headers=bearer(by_role["viewer"]), timeout=PATIENCE_S).text
        lines = [line for line in page.splitlines() if line.startswith("tidegate_requests_refused_total")]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if f'code="{code}"' in line)

    credentials = [None, "tdg_wrong", by_role["viewer"]]
    before = refused("unauthenticated"), refused("forbidden")
    with grpc.insecure_channel(protected.grpc) as channel:
        for key in credentials:
            metadata = [("authorization", f"Bearer {key}")] if key else []
            with pytest.raises(grpc.RpcError):
                grpc_stub(channel).ModelInfer(grpc_rows("digits", "image", 64), metadata=metadata, timeout=PATIENCE_S)
            assert protected.infer("digits", DIGITS, headers=bearer(key)).status_code in (401, 403)
    wait_for(lambda: (refused("unauthenticated"), refused("forbidden")) == (before[0] + 4, before[1] + 2))


def test_tritons_clients_work_with_a_key(protected, by_role):
    from conftest import Heldout

    held = Heldout("digits")
    headers = {"authorization": f"Bearer {by_role['caller']}"}
    for module, url in ((triton_http, protected.http), (triton_grpc, protected.grpc)):
        client = module.InferenceServerClient(url)
        tensor = module.InferInput("image", [1, 64], "FP32")
        tensor.set_data_from_numpy(held.inputs[:1].astype("float32").reshape(1, 64))
        assert client.infer("digits", [tensor], headers=dict(headers)).as_numpy("label").size == 1
        with pytest.raises(InferenceServerException):
            client.infer("digits", [tensor])


def test_wrong_credentials_are_refused_and_not_repeated(protected, by_role):
    key = by_role["admin"]
    for sent in (f"Bearer {key[:-1]}x", f"Basic {key}", "Bearer nonsense", f"bearer{key}"):
        answer = protected.infer("digits", DIGITS, headers={"Authorization": sent})
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated"), sent
        assert key[:12] not in answer.text
    both = {**bearer(key), "X-Api-Key": key}
    assert protected.infer("digits", DIGITS, headers=both).status_code == 401
    # What is public stays open: probes have no use for credentials.
    assert requests.get(protected.url("/v2/health/ready"), headers=bearer("gone"), timeout=PATIENCE_S).status_code == 200
    assert key[8:20] not in protected.log.read_text()


def test_a_revoked_key_is_refused_within_a_moment(protected, keys):
    key = keys.create("short-lived", "caller")
    wait_until_known(protected, key)
    assert protected.infer("digits", DIGITS, headers=bearer(key)).status_code == 200
    assert keys.run("revoke", "short-lived").returncode == 0
    wait_for(lambda: protected.infer("digits", DIGITS, headers=bearer(key)).status_code == 401)


def test_an_open_stream_ends_when_its_key_is_revoked(protected, keys):
    from queue import Queue

    from conftest import Heldout

    key = keys.create("streaming", "caller")
    wait_until_known(protected, key)
    answers = Queue()
    client = triton_grpc.InferenceServerClient(protected.grpc)
    client.start_stream(lambda result, error: answers.put((result, error)), headers={"authorization": f"Bearer {key}"})
    tensor = triton_grpc.InferInput("image", [1, 64], "FP32")
    tensor.set_data_from_numpy(Heldout("digits").inputs[:1].astype("float32").reshape(1, 64))
    client.async_stream_infer("digits", [tensor])
    assert answers.get(timeout=PATIENCE_S)[1] is None
    assert keys.run("revoke", "streaming").returncode == 0

    def is_refused():
        client.async_stream_infer("digits", [tensor])
        error = answers.get(timeout=PATIENCE_S)[1]
        return error is not None and "UNAUTHENTICATED" in str(error.status())

    wait_for(is_refused)
    client.stop_stream()


def test_a_rotated_key_and_its_successor_both_work(protected, keys):
    old = keys.create("rotating", "caller", "--tenant", "acme", "--expires", "90d")
    new = keys.run("rotate", "rotating", "--overlap", "1h").stdout.strip()
    wait_until_known(protected, new)
    for key in (old, new):
        assert protected.infer("digits", DIGITS, headers=bearer(key)).status_code == 200
    listed = keys.run("list").stdout
    assert listed.count("rotating") == 2 and "acme" in listed and old not in listed


def test_commands_send_the_token_of_the_environment(protected, by_role):
    def models(**environment):
        import os

        command = [BINARY, "alerts", "--url", f"http://{protected.http}"]
        env = {**os.environ, **environment}
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, env=env)

    refused = models()
    assert refused.returncode != 0 and "credentials" in refused.stderr
    assert models(TIDEGATE_TOKEN=by_role["viewer"]).returncode == 0


def test_others_can_reach_a_server_only_if_it_asks_who_they_are(refusal, start, tmp_path):
    message = refusal('[server]\ngrpc = "0.0.0.0:0"\n')
    assert "server.grpc" in message and "auth.enabled" in message and "--allow-unauthenticated" in message
    start(MODELS / "digits", flags=("--allow-unauthenticated",), http="0.0.0.0:0")
    start(MODELS / "digits", environment={"TIDEGATE_AUTH__ENABLED": "true"}, http="0.0.0.0:0")


def test_anonymous_callers_may_do_what_is_configured(start, tmp_path):
    config = tmp_path / "tidegate.toml"
    config.write_text(
        "[auth]\nenabled = true\npublic_metrics = true\n"
        '[[auth.anonymous]]\nrole = "caller"\nresources = ["digits"]\n'
    )
    server = start(MODELS, flags=("--config", str(config)))
    assert server.infer("digits", DIGITS).status_code == 200
    assert server.infer("fraud", DIGITS).status_code == 401
    assert requests.get(server.url("/metrics"), timeout=PATIENCE_S).status_code == 200
    assert requests.get(server.url("/api/alerts"), timeout=PATIENCE_S).status_code == 401


def test_keys_stay_valid_while_their_database_is_away(start, tmp_path):
    data = tmp_path / "data"
    keys = Keys(data)
    key = keys.create("shop", "admin")
    server = start(MODELS / "digits", data=data, environment={"TIDEGATE_AUTH__ENABLED": "true"})
    wait_until_known(server, key)
    (data / "registry.db").rename(data / "away.db")

    def says_so():
        answer = requests.get(server.url("/v2/health/ready"), headers=bearer(key), timeout=PATIENCE_S)
        return answer.status_code == 200 and "API keys" in answer.text

    wait_for(says_so)
    anonymous = requests.get(server.url("/v2/health/ready"), timeout=PATIENCE_S)
    assert anonymous.json()["status"] == "degraded" and str(data) not in anonymous.text, anonymous.text
    assert "2 problems" in anonymous.text and "API keys" not in anonymous.text
    assert server.infer("digits", DIGITS, headers=bearer(key)).status_code == 200
    (data / "away.db").rename(data / "registry.db")
    wait_for(lambda: not says_so())


def test_why_a_model_is_not_ready_is_told_to_those_who_may_see_it(start, tmp_path):
    data = tmp_path / "data"
    key = Keys(data).create("shop", "viewer")
    broken = tmp_path / "models" / "broken"
    broken.mkdir(parents=True)
    (broken / "model.onnx").write_bytes(b"no model")
    (broken / "model.toml").write_text('schema = 1\nname = "broken"\n')
    server = start(tmp_path / "models", MODELS / "digits", data=data, environment={"TIDEGATE_AUTH__ENABLED": "true"})
    wait_until_known(server, key)
    for path in ("/v2/models/broken/ready", "/v1/models/broken"):
        stranger = requests.get(server.url(path), timeout=PATIENCE_S)
        known = requests.get(server.url(path), headers=bearer(key), timeout=PATIENCE_S)
        assert stranger.status_code == known.status_code != 200
        assert stranger.json()["code"] == known.json()["code"]
        assert "model.onnx" in known.text and "model.onnx" not in stranger.text, (known.text, stranger.text)


def keys_that_come_later(tmp_path):
    """Where a server looks for its keys, one of them, and the settings for it."""
    key = Keys(tmp_path / "keys").create("shop", "caller")
    place = tmp_path / "place"
    place.write_text("no folder yet")
    return place, key, {"TIDEGATE_AUTH__ENABLED": "true", "TIDEGATE_AUTH__DATABASE": str(place / "registry.db")}


def bring_keys(tmp_path, place):
    place.unlink()
    (tmp_path / "keys").rename(place)


def test_a_server_is_ready_once_it_has_read_its_keys(start, tmp_path):
    place, key, environment = keys_that_come_later(tmp_path)
    server = start(MODELS / "digits", environment=environment)
    early = requests.get(server.url("/v2/health/ready"), timeout=PATIENCE_S)
    assert (early.status_code, early.json()["ready"]) == (503, False), early.text
    assert str(place) not in early.text, "anonymous callers learn no address"
    live = triton_grpc.InferenceServerClient(server.grpc)
    assert live.is_server_live() and not live.is_server_ready()
    # It can say of no key whether it is valid. A client that gets 401 would throw a good one away.
    unknown = server.infer("digits", DIGITS, headers=bearer(key))
    assert (unknown.status_code, unknown.json()["code"]) == (503, "auth_unavailable"), unknown.text
    bring_keys(tmp_path, place)
    wait_for(lambda: requests.get(server.url("/v2/health/ready"), timeout=PATIENCE_S).status_code == 200)
    assert live.is_server_ready()
    assert server.infer("digits", DIGITS, headers=bearer(key)).status_code == 200


def test_callers_who_need_no_keys_are_served_without_them_if_that_is_configured(start, tmp_path):
    place, key, environment = keys_that_come_later(tmp_path)
    config = tmp_path / "tidegate.toml"
    config.write_text('[auth]\nkeys_required = false\n[[auth.anonymous]]\nrole = "caller"\n')
    server = start(MODELS / "digits", flags=("--config", str(config)), environment=environment)
    early = requests.get(server.url("/v2/health/ready"), timeout=PATIENCE_S)
    assert (early.status_code, early.json()["status"]) == (200, "degraded"), early.text
    assert triton_grpc.InferenceServerClient(server.grpc).is_server_ready()
    assert server.infer("digits", DIGITS).status_code == 200
    unknown = server.infer("digits", DIGITS, headers=bearer(key))
    assert (unknown.status_code, unknown.json()["code"]) == (503, "auth_unavailable"), unknown.text
    bring_keys(tmp_path, place)
    wait_for(lambda: server.infer("digits", DIGITS, headers=bearer(key)).status_code == 200)


def test_a_key_that_is_revoked_under_load_is_refused_by_every_server_and_stays_so(start, tmp_path):
    import threading

    keys = Keys(tmp_path / "data-0")
    root, key = keys.create("root", "admin"), keys.create("busy", "caller")
    database = str(tmp_path / "data-0/registry.db")
    environment = {"TIDEGATE_AUTH__ENABLED": "true", "TIDEGATE_AUTH__DATABASE": database}
    servers = [start(MODELS / "digits", data=tmp_path / f"data-{number}", environment=environment) for number in range(2)]
    for server in servers:
        wait_until_known(server, key)
    seen, stop = {server: [] for server in servers}, threading.Event()

    def load(server):
        session = requests.Session()
        url = server.url("/v2/models/digits/infer")
        while not stop.is_set():
            seen[server].append(session.post(url, json=DIGITS, headers=bearer(key), timeout=PATIENCE_S).status_code)

    clients = [threading.Thread(target=load, args=(server,)) for server in servers]
    for client in clients:
        client.start()
    try:
        for server in servers:
            wait_for(lambda server=server: len(seen[server]) > 20)
        # Over the API of one of them: the other one must find out by itself.
        revoked = requests.delete(servers[0].url("/api/keys/busy"), headers=bearer(root), timeout=PATIENCE_S)
        assert revoked.status_code == 204, revoked.text
        at_revocation = len(seen[servers[0]])
        for server in servers:
            wait_for(lambda server=server: 401 in seen[server])
            refused = len(seen[server])
            wait_for(lambda server=server, refused=refused: len(seen[server]) > refused + 50)
    finally:
        stop.set()
        for client in clients:
            client.join()
    for server in servers:
        first = seen[server].index(401)
        assert set(seen[server][:first]) == {200} and set(seen[server][first:]) == {401}, "nothing brings it back"
    # The server that was asked knows it before it answers; one request may have been on its way.
    assert seen[servers[0]].index(401) <= at_revocation + 1
