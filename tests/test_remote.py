"""A Tidegate in front of other inference servers: it answers as they do, and bears what befalls them."""

import concurrent.futures
import socket
import subprocess
import time

import numpy as np
import pytest
import requests
import tritonclient.grpc as grpcclient
from tritonclient.utils import InferenceServerException

from conftest import BINARY, MODELS, PATIENCE_S
from upstream import GrpcUpstream, RestUpstream

BODY = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [0.1, -3.0]}]}
# No request of these tests is slow, so that the machine's load opens no breaker.
NO_BREAKER = "[remote.breaker]\nfailure_percent = 0"
DECLARED = "".join(
    f'[[signature.{side}]]\nname = "{name}"\ndatatype = "FP32"\nshape = [-1, 2]\n'
    for side, name in [("inputs", "x"), ("outputs", "y")]
)


def until(condition):
    """Waits for a condition; gives its value."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError("it never happened")


@pytest.fixture
def upstream():
    """Starts servers that live for one test."""
    servers = []

    def upstream(kind=RestUpstream, **options):
        servers.append(kind(**options))
        return servers[-1]

    yield upstream
    for server in servers:
        server.stop()


@pytest.fixture
def gateway(start, tmp_path):
    """A gateway for the model `m` of some servers."""

    def gateway(*servers, settings="", breaker=NO_BREAKER, flags=(), top=""):
        bundle = tmp_path / "m"
        bundle.mkdir()
        urls = ", ".join(f'"{getattr(server, "url", server)}"' for server in servers)
        (bundle / "model.toml").write_text(
            f'engine = "remote"\n{top}\n[remote]\nendpoints = [{urls}]\nhealth_interval_ms = 50\n{settings}\n{breaker}\n'
        )
        return start(bundle, flags=flags)

    return gateway


def outcome(response):
    return response.status_code, response.json().get("code")


def events(server, prefix):
    """The names of the events of remote versions that begin so, the oldest first."""
    found = requests.get(server.url("/api/events"), params={"name": "remote"}, timeout=PATIENCE_S).json()
    return [event["name"] for event in reversed(found) if event["name"].startswith(prefix)]


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_answers_are_those_of_the_server_behind(server, start, tmp_path, heldout, protocol):
    address = {"http": server.http, "grpc": server.grpc}[protocol]
    bundle = tmp_path / heldout.name
    bundle.mkdir()
    settings = f'engine = "remote"\n[remote]\nendpoints = ["{protocol}://{address}"]\n'
    (bundle / "model.toml").write_text(settings)
    gateway = start(bundle)
    described = [requests.get(one.url(f"/v2/models/{heldout.name}"), timeout=PATIENCE_S).json() for one in (server, gateway)]
    assert described[0]["inputs"] == described[1]["inputs"]
    assert described[0]["outputs"] == described[1]["outputs"]
    for rows in (slice(0, 1), slice(0, 40)):
        body = {"inputs": [heldout.tensor(rows)]}
        own, passed_on = (one.infer(heldout.name, body) for one in (server, gateway))
        assert own.status_code == passed_on.status_code == 200, passed_on.text
        assert own.json()["outputs"] == passed_on.json()["outputs"]


def test_a_model_of_another_server_needs_no_bundle(server, start, heldout):
    gateway = start(flags=["--remote", f"http://{server.http}/{heldout.name}"])
    body = {"inputs": [heldout.tensor(slice(0, 3))]}
    assert gateway.infer(heldout.name, body).json()["outputs"] == server.infer(heldout.name, body).json()["outputs"]


def test_inputs_are_checked_here_and_outputs_can_be_chosen(upstream, gateway):
    behind = upstream()
    server = gateway(behind)
    wrong = {"inputs": [{**BODY["inputs"][0], "shape": [2, 1]}]}
    assert outcome(server.infer("m", wrong)) == (400, "wrong_dimension")
    assert not behind.asked
    answer = server.infer("m", {**BODY, "outputs": [{"name": "y"}]}).json()
    assert answer["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [0.2, -6.0]}]
    assert "input" in requests.get(server.url("/v2/models/m/config"), timeout=PATIENCE_S).text
    assert server.metric("tidegate_remote_attempts_total", outcome="answered") == 1


# behaviour: (HTTP status, code, attempts of one request)
FAULTS = {
    "hang": (504, "deadline_exceeded", 1),
    "reset": (503, "upstream_unavailable", 3),
    "reset_within_answer": (503, "upstream_unavailable", 1),
    "no_http": (502, "upstream_invalid", 1),
    "no_json": (502, "upstream_invalid", 1),
    "no_outputs": (502, "upstream_invalid", 1),
    "other_shape": (502, "upstream_invalid", 1),
    "other_type": (502, "upstream_invalid", 1),
    "other_name": (502, "upstream_invalid", 1),
    "too_few": (502, "upstream_invalid", 1),
    "redirect": (502, "upstream_invalid", 1),
    "fail": (502, "upstream_failed", 1),
    "deny": (502, "upstream_failed", 1),
    "unready": (503, "upstream_unavailable", 3),
    "reject": (400, "upstream_rejected", 1),
    "crowded": (429, "queue_full", 1),
}


def test_each_fault_of_a_server_has_its_error_and_no_answer(upstream, gateway):
    behind = upstream()
    top = "[batching]\nmax_batch_size = 8"
    server = gateway(behind, settings="request_timeout_ms = 1000\nretry_backoff_ms = 1\nretry_budget_percent = 100", top=top)
    for behaviour, (status, code, attempts) in FAULTS.items():
        behind.behaviour = behaviour
        behind.asked.clear()
        refused = server.infer("m", BODY)
        assert outcome(refused) == (status, code), f"{behaviour}: {refused.text}"
        assert len(behind.asked) == attempts, behaviour
        message = refused.json()["error"]
        assert message.isprintable() and len(message) < 600, message
        assert ("Retry-After" in refused.headers) == (status in (429, 503))
        if behaviour == "reject":
            assert "x is wrong" in message
        behind.behaviour = "answer"
        assert server.infer("m", BODY).status_code == 200, behaviour


GRPC_FAULTS = {
    "hang": (504, "deadline_exceeded"),
    "other_type": (502, "upstream_invalid"),
    "too_few": (502, "upstream_invalid"),
    "UNAVAILABLE": (503, "upstream_unavailable"),
    "INTERNAL": (502, "upstream_failed"),
    "INVALID_ARGUMENT": (400, "upstream_rejected"),
    "RESOURCE_EXHAUSTED": (429, "queue_full"),
    "UNAUTHENTICATED": (502, "upstream_failed"),
    "UNIMPLEMENTED": (502, "upstream_invalid"),
}


def test_each_fault_over_grpc_has_its_error_and_no_answer(upstream, gateway):
    behind = upstream(GrpcUpstream)
    server = gateway(behind, settings="request_timeout_ms = 1000\nretry_backoff_ms = 1")
    for behaviour, expected in GRPC_FAULTS.items():
        behind.behaviour = behaviour
        refused = server.infer("m", BODY)
        assert outcome(refused) == expected, f"{behaviour}: {refused.text}"
        message = refused.json()["error"]
        assert message.isprintable() and len(message) < 600, message
        for good in ("answer", "typed"):
            behind.behaviour = good
            assert server.infer("m", BODY).json()["outputs"][0]["data"] == [0.2, -6.0]


def test_a_server_that_does_not_speak_grpc_is_no_answer(upstream, gateway):
    rest = upstream()
    address = rest.url.replace("http:", "grpc:")
    server = gateway(address, settings="load_timeout_ms = 1\nretry_backoff_ms = 1", breaker=NO_BREAKER + "\n" + DECLARED)
    status, code = outcome(server.infer("m", BODY))
    assert (status, code) in {(502, "upstream_invalid"), (503, "upstream_unavailable")}


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_servers_that_cannot_be_reached_are_unavailable_and_found_when_they_come(upstream, gateway, scheme):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    addresses = [f"{scheme}://127.0.0.1:{port}", f"{scheme}://no-such-host.invalid:1"]
    server = gateway(*addresses, settings="load_timeout_ms = 1\nretry_backoff_ms = 1", breaker=NO_BREAKER + "\n" + DECLARED)
    refused = server.infer("m", BODY)
    assert outcome(refused) == (503, "upstream_unavailable"), refused.text
    assert refused.headers["Retry-After"]
    if scheme == "http":
        upstream(port=port)
        until(lambda: server.infer("m", BODY).status_code == 200)


def test_a_load_without_a_signature_says_which_server_has_none(start, tmp_path):
    (tmp_path / "m").mkdir()
    settings = 'engine = "remote"\n[remote]\nendpoints = ["http://127.0.0.1:9"]\nload_timeout_ms = 1\n'
    (tmp_path / "m/model.toml").write_text(settings)
    # The log has the address, what was printed has not.
    with pytest.raises(RuntimeError, match="upstream 1 of 1 (cannot be reached|did not answer in time)") as refused:
        start(tmp_path / "m")
    assert "address=http://127.0.0.1:9" in str(refused.value).replace('"', "")


def test_callers_get_the_number_of_a_server_and_operators_its_address(gateway):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    addresses = [f"http://127.0.0.1:{port}", f"grpc://127.0.0.1:{port}"]
    server = gateway(*addresses, settings="load_timeout_ms = 1\nretry_backoff_ms = 1", breaker=NO_BREAKER + "\n" + DECLARED)
    told = set()
    for _ in range(8):
        refused = server.infer("m", BODY)
        assert outcome(refused) == (503, "upstream_unavailable"), refused.text
        assert str(port) not in refused.text and "127.0.0.1" not in refused.text
        told.add(refused.json()["error"])
    assert all("of 2 cannot be reached: the connection is refused" in text for text in told), told

    def degraded():
        ready = requests.get(server.url("/v2/health/ready"), timeout=PATIENCE_S)
        return ready.json() if ready.json().get("status") == "degraded" else None

    [problem] = until(degraded)["problems"]
    assert problem.startswith("m:1 gets no answers") and all(address in problem for address in addresses), problem
    doctor = [BINARY, "doctor", "--url", server.http, "--watch", "1"]
    assert addresses[0] in subprocess.run(doctor, capture_output=True, text=True, timeout=PATIENCE_S).stdout
    assert f"127.0.0.1:{port}" in server.log.read_text()


def test_a_version_whose_server_comes_back_is_no_problem_any_more(upstream, gateway):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = "load_timeout_ms = 1\nretry_backoff_ms = 1"
    server = gateway(f"http://127.0.0.1:{port}", settings=settings, breaker=NO_BREAKER + "\n" + DECLARED)

    def status():
        return requests.get(server.url("/v2/health/ready"), timeout=PATIENCE_S).json().get("status")

    until(lambda: status() == "degraded")
    upstream(port=port)
    until(lambda: status() == "ready")


@pytest.mark.parametrize("scheme", ["https", "grpcs"])
def test_servers_with_an_authority_of_their_own_need_its_file(start, tmp_path, scheme):
    folder = tmp_path / "certificates"
    subprocess.run([BINARY, "certs", "dev", "--out", folder], check=True, capture_output=True, timeout=PATIENCE_S)
    tls = {"TIDEGATE_TLS__CERT_FILE": str(folder / "server.pem"), "TIDEGATE_TLS__KEY_FILE": str(folder / "server-key.pem")}
    behind = start(MODELS / "digits", environment=tls)
    addresses = {"https": behind.http, "grpcs": behind.grpc.removeprefix("grpcs://")}
    bundle = tmp_path / "digits"
    bundle.mkdir()
    settings = f'engine = "remote"\n[remote]\nendpoints = ["{scheme}://{addresses[scheme].removeprefix("https://")}"]\n'
    (bundle / "model.toml").write_text(settings + "load_timeout_ms = 500\n")
    with pytest.raises(RuntimeError, match="its certificate is of an authority that is not known"):
        start(bundle)
    (bundle / "model.toml").write_text(settings + 'ca_file = "ca.pem"\n')
    server = start(bundle, environment={"TIDEGATE_ENGINES__REMOTE_CREDENTIALS": str(folder)})
    tensor = {"name": "image", "datatype": "FP32", "shape": [1, 64], "data": [0.0] * 64}
    assert server.infer("digits", {"inputs": [tensor]}).status_code == 200


def test_a_model_that_is_being_loaded_is_not_ready_and_not_unknown(tmp_path):
    """The first model waits for its server, and keeps the second from being found."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        bundle = tmp_path / "m"
        bundle.mkdir()
        port = silent.getsockname()[1]
        settings = f'engine = "remote"\n[remote]\nendpoints = ["http://127.0.0.1:{port}"]\nload_timeout_ms = 600000\n'
        (bundle / "model.toml").write_text(settings)
        command = [BINARY, "serve", bundle, "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--data", tmp_path / "data"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            lines = [process.stdout.readline().split() for _ in range(2)]
            addresses = {word: rest.removeprefix("http://") for word, rest in lines}
            for path, body in [
                ("/v2/models/m/infer", BODY),
                ("/v2/models/other/infer", BODY),
                ("/v1/models/m:predict", {"instances": [[1.0, 2.0]]}),
            ]:
                refused = requests.post(f"http://{addresses['REST']}{path}", json=body, timeout=PATIENCE_S)
                assert outcome(refused) == (503, "not_ready") and "is still loading" in refused.text, refused.text
            with grpcclient.InferenceServerClient(addresses["gRPC"]) as client:
                tensor = grpcclient.InferInput("x", [1, 2], "FP32")
                tensor.set_data_from_numpy(np.zeros((1, 2), np.float32))
                with pytest.raises(InferenceServerException, match="is still loading") as refused:
                    client.infer("m", [tensor])
                assert refused.value.status() == "StatusCode.UNAVAILABLE"
            process.terminate()


def test_the_breaker_opens_asks_nobody_and_closes_when_the_server_works_again(upstream, gateway):
    behind = upstream()
    server = gateway(behind, breaker="[remote.breaker]\nmin_requests = 4\nopen_ms = 300")
    behind.behaviour = "fail"
    for _ in range(4):
        assert outcome(server.infer("m", BODY)) == (502, "upstream_failed")
    assert outcome(server.infer("m", BODY)) == (503, "upstream_unavailable")
    assert len(behind.asked) == 4
    assert server.metric("tidegate_remote_breaker_state", model="m") == 2
    # One request tries while the server still fails, and finds that out.
    until(lambda: server.infer("m", BODY).status_code == 502)
    behind.behaviour = "answer"
    until(lambda: server.infer("m", BODY).status_code == 200)
    assert server.metric("tidegate_remote_breaker_state", model="m") == 0
    names = until(lambda: (found := events(server, "remote.breaker")) and found[-1].endswith("closed") and found)
    assert names == [f"remote.breaker_{state}" for state in ("opened", "half_open", "opened", "half_open", "closed")]
    assert "circuit breaker open" in server.log.read_text()


@pytest.mark.parametrize(
    "kind, unready, failing", [(RestUpstream, "unready", "reset"), (GrpcUpstream, "UNAVAILABLE", "INTERNAL")]
)
def test_only_a_request_that_a_server_may_have_run_uses_up_a_limit(upstream, gateway, tmp_path, kind, unready, failing):
    config = tmp_path / "tidegate.toml"
    config.write_text('[[limits.rule]]\nname = "calls"\nendpoint = "m"\nrequests_per_day = 2\n')
    behind = upstream(kind)
    server = gateway(behind, settings="max_retries = 0", flags=("--config", str(config)))
    behind.behaviour = unready
    for _ in range(3):
        assert outcome(server.infer("m", BODY)) == (503, "upstream_unavailable")
    behind.behaviour = failing
    assert server.infer("m", BODY).status_code in (502, 503)
    behind.behaviour = "answer"
    assert [server.infer("m", BODY).status_code for _ in range(2)] == [200, 429]


def test_one_of_two_servers_dies_and_no_request_fails(upstream, gateway):
    dying, other = upstream(), upstream()
    settings = "ejection_failures = 2\nejection_ms = 100\nejection_max_ms = 200\nretry_backoff_ms = 1"
    server = gateway(dying, other, settings=settings)
    until(lambda: server.infer("m", BODY).status_code == 200 and dying.asked and other.asked)
    dying.stop()
    for _ in range(60):
        assert server.infer("m", BODY).status_code == 200
    sent = server.metric("tidegate_remote_attempts_total", model="m")
    retries = server.metric("tidegate_remote_retries_total", model="m") or 0
    assert retries <= 3 + 0.2 * sent
    until(lambda: server.metric("tidegate_remote_address_up", address=dying.url) == 0)
    again = upstream(port=dying.port)
    until(lambda: server.infer("m", BODY).status_code == 200 and again.asked)
    until(lambda: server.metric("tidegate_remote_address_up", address=dying.url) == 1)


def test_a_server_that_fails_is_ejected_and_readmitted_after_a_request_that_succeeds(upstream, gateway):
    failing, other = upstream(), upstream()
    server = gateway(failing, other, settings="ejection_failures = 2\nejection_ms = 200")
    failing.behaviour = "fail"
    until(lambda: server.infer("m", BODY) and "remote.address_ejected" in events(server, "remote.address"))
    assert server.metric("tidegate_remote_ejections_total", address=failing.url) >= 1
    failing.behaviour = "answer"
    until(lambda: server.infer("m", BODY) and "remote.address_readmitted" in events(server, "remote.address"))


def test_a_burst_of_failures_has_a_fifth_as_many_retries(upstream, gateway):
    behind = upstream()
    server = gateway(behind, settings="retry_backoff_ms = 50")
    behind.behaviour = "unready"
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(lambda _: outcome(server.infer("m", BODY)), range(100)))
    assert set(outcomes) == {(503, "upstream_unavailable")}
    assert len(behind.asked) <= 120
    assert server.metric("tidegate_remote_retries_refused_total", kind="retry") > 0


def test_deadline_and_trace_are_passed_on_and_credentials_are_this_servers_own(upstream, gateway, tmp_path, monkeypatch):
    (tmp_path / "tokens").mkdir()
    (tmp_path / "tokens/fake").write_text("own-token\n")
    monkeypatch.setenv("TIDEGATE_ENGINES__REMOTE_CREDENTIALS", str(tmp_path / "tokens"))
    rest, grpc = upstream(), upstream(GrpcUpstream)
    server = gateway(rest, grpc, settings='bearer_token_file = "fake"')
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {
        "Authorization": "Bearer secret-of-the-caller",
        "X-API-Key": "secret-of-the-caller",
        "Cookie": "session=secret-of-the-caller",
        "Request-Timeout": "20",
        "traceparent": f"00-{trace}-00f067aa0ba902b7-01",
        "tracestate": "vendor=1",
    }
    until(lambda: server.infer("m", BODY, headers=headers).status_code == 200 and rest.asked and grpc.asked)
    for sent in (rest.asked[0], grpc.asked[0]):
        assert "secret-of-the-caller" not in str(sent)
        assert sent["authorization"] == "Bearer own-token"
        assert sent["tracestate"] == "vendor=1"
        _, trace_id, span_id, _ = sent["traceparent"].split("-")
        assert trace_id == trace and span_id != "00f067aa0ba902b7"
    assert 0 < float(rest.asked[0]["request-timeout"]) < 20
    # What cannot be in time is not sent.
    asked = len(rest.asked) + len(grpc.asked)
    late = server.infer("m", BODY, headers={"Request-Timeout": "0"})
    assert late.status_code == 504, late.text
    assert len(rest.asked) + len(grpc.asked) == asked


def test_a_server_whose_signature_changes_gets_no_request(upstream, gateway):
    behind = upstream()
    server = gateway(behind)
    assert server.infer("m", BODY).status_code == 200
    behind.output["datatype"] = "FP64"
    until(lambda: "remote.signature_differs" in events(server, "remote"))
    asked = len(behind.asked)
    refused = server.infer("m", BODY)
    assert outcome(refused) == (502, "upstream_invalid")
    assert 'output "y" is FP64 instead of FP32' in refused.json()["error"]
    assert len(behind.asked) == asked
    behind.output["datatype"] = "FP32"
    until(lambda: server.infer("m", BODY).status_code == 200)


def test_a_declared_signature_must_be_that_of_the_server(upstream, start, tmp_path):
    declared = DECLARED.replace('"y"\ndatatype = "FP32"', '"y"\ndatatype = "FP64"')
    (tmp_path / "m").mkdir()
    settings = f'engine = "remote"\n[remote]\nendpoints = ["{upstream().url}"]\n{declared}'
    (tmp_path / "m/model.toml").write_text(settings)
    with pytest.raises(RuntimeError, match="is declared as FP64, the model has FP32"):
        start(tmp_path / "m")


def test_an_unhealthy_server_gets_no_request_while_another_is_healthy(upstream, gateway):
    draining, other = upstream(), upstream()
    server = gateway(draining, other)
    draining.ready = False
    until(lambda: "remote.address_unhealthy" in events(server, "remote"))
    asked = len(draining.asked)
    for _ in range(20):
        assert server.infer("m", BODY).status_code == 200
    assert len(draining.asked) == asked
    draining.ready = True
    until(lambda: server.infer("m", BODY) and len(draining.asked) > asked)


def test_a_request_that_takes_longer_than_most_is_sent_to_a_second_server(upstream, gateway):
    one, two = upstream(), upstream()
    server = gateway(one, two, settings="hedge = true")
    for _ in range(25):
        assert server.infer("m", BODY).status_code == 200
    one.behaviour = "hang"
    until(lambda: server.infer("m", BODY).status_code == 200 and server.metric("tidegate_remote_retries_total", kind="hedge"))
    assert server.metric("tidegate_remote_attempts_total", outcome="given_up") >= 1


def test_bundles_of_remote_versions_are_checked_inspected_and_pushed(upstream, gateway, registry, tmp_path):
    gateway(upstream())
    bundle = tmp_path / "m"
    for command, shown in [("check", "passed   load"), ("inspect", "servers     http://127.0.0.1")]:
        assert shown in subprocess.run([BINARY, command, bundle], capture_output=True, text=True, check=True).stdout
    registry.run("push", bundle)
    assert registry.versions()


def test_each_server_of_a_chain_gets_its_own_credential_and_no_other(upstream, start, tmp_path):
    first, second, third = upstream(), upstream(GrpcUpstream), upstream()
    (tmp_path / "tokens").mkdir()
    servers = {"m": (first, "first"), "backup": (second, "second"), "last": (third, None)}
    for name, (behind, token) in servers.items():
        credential = ""
        if token:
            (tmp_path / "tokens" / token).write_text(f"token-of-{token}\n")
            credential = f'bearer_token_file = "{token}"'
        folder = tmp_path / "models" / name
        folder.mkdir(parents=True)
        (folder / "model.toml").write_text(
            f'engine = "remote"\n[remote]\nmodel = "m"\nendpoints = ["{behind.url}"]\n{credential}\n'
            f"max_retries = 0\n{NO_BREAKER}\n"
        )
    config = tmp_path / "tidegate.toml"
    chain = "".join(f'[[endpoints.fallback]]\nendpoint = "{name}"\n' for name in ("backup", "last"))
    config.write_text(f'[[endpoints]]\nname = "m"\n{chain}')
    environment = {"TIDEGATE_ENGINES__REMOTE_CREDENTIALS": str(tmp_path / "tokens")}
    server = start(tmp_path / "models", flags=("--config", str(config)), environment=environment)
    first.behaviour = second.behaviour = "fail"
    answer = server.infer("m", BODY, headers={"Authorization": "Bearer secret-of-the-caller"})
    assert answer.status_code == 200 and answer.headers["Tidegate-Fallback"].startswith("endpoint:last"), answer.text
    sent = [[asked.get("authorization") for asked in behind.asked] for behind, _ in servers.values()]
    assert sent == [["Bearer token-of-first"], ["Bearer token-of-second"], [None]]
    assert "secret-of-the-caller" not in str([behind.asked for behind, _ in servers.values()])
