"""Traffic policies: which version answers, over every protocol, changed while the server runs."""

import collections
import subprocess
import threading

import numpy as np
import pytest
import requests
import tritonclient.grpc as triton
from scipy import stats

from conftest import BINARY, BUSY, PATIENCE_S
from onnx_file import table_lookup
from parts import Postgres, until
from test_auth import Keys, bearer, wait_until_known
from test_fallbacks import marks, model, rows
from test_fleet import added, adder, ask, follow, stages  # noqa: F401
from test_lifecycle import busy
from test_pipelines import PIPELINE

HALVES = {"versions": [{"version": 1, "weight": "50%"}, {"version": 2, "weight": "50%"}]}
STICKY = {"sticky": "header:x-user", **HALVES}
BETA = {
    "versions": [{"version": 1}],
    "rules": [
        {"name": "beta", "when": [{"attribute": "header:x-beta", "equals": "1"}], "versions": [{"version": 2}]},
    ],
}
# Only numbers below 4 are known to version 3.
GOOD, BAD = 1.0, 9.0


@pytest.fixture
def models(tmp_path):
    folder = tmp_path / "models"
    model(folder, "m", {"1": table_lookup(1.0), "2": table_lookup(2.0), "3": table_lookup(2.0, 4)})
    model(folder, "other", {"1": table_lookup(7.0)})
    return folder


@pytest.fixture
def configured(start, tmp_path, models):
    def configured(settings="", *paths, **options):
        config = tmp_path / "tidegate.toml"
        config.write_text(settings)
        return start(*(paths or (models,)), flags=("--config", str(config)), **options)

    return configured


def call(server, method, path="/m", key=None, headers=None, **body):
    url = server.url(f"/api/traffic{path}")
    options = {} if method == "GET" else {"json": body}
    return requests.request(method, url, headers={**bearer(key), **(headers or {})}, timeout=PATIENCE_S, **options)


def put(server, policy, **more):
    answer = call(server, "PUT", policy=policy, **more)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(answer, status, code):
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    return answer.json()["error"]


def version(server, session=requests, value=GOOD, **headers):
    answer = session.post(server.url("/v2/models/m/infer"), json=rows(value), headers=headers, timeout=PATIENCE_S)
    assert answer.status_code == 200, answer.text
    return answer.json()["model_version"]


def counted(server, count, **headers):
    with requests.Session() as session:
        return collections.Counter(version(server, session, **headers) for _ in range(count))


def users(server, count):
    with requests.Session() as session:
        return {str(user): version(server, session, **{"x-user": str(user)}) for user in range(count)}


def cli(server, *arguments, check=True):
    command = [BINARY, "traffic", *arguments, "--url", server.url("")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert not check or ended.returncode == 0, ended.stderr
    return ended if not check else ended.stdout


def test_requests_are_split_by_weight_and_the_version_is_in_the_answer(configured):
    server = configured()
    assert counted(server, 5) == {"3": 5}, "the newest version answers without a policy"
    put(server, {"versions": [{"version": 1, "weight": "70%"}, {"version": 2, "weight": "29.5%"}, {"version": 3, "weight": "0.5%"}]})
    seen = counted(server, 3000)
    _, p = stats.chisquare([seen["1"], seen["2"], seen["3"]], [2100, 885, 15])
    assert p > 1e-6, seen
    # Keys are hashed: their versions are as random as can be.
    put(server, {"sticky": "header:x-user", "versions": [{"version": 1, "weight": "70%"}, {"version": 2, "weight": "30%"}]})
    seen = collections.Counter(users(server, 3000).values())
    _, p = stats.chisquare([seen["1"], seen["2"]], [2100, 900])
    assert p > 1e-6, seen


def test_sticky_keys_stay_and_only_the_moved_share_moves(configured):
    server = configured()
    put(server, STICKY)
    before = users(server, 1000)
    assert users(server, 1000) == before, "equal keys get the same version"
    put(server, {"sticky": "header:x-user", "versions": [{"version": 1, "weight": "40%"}, {"version": 2, "weight": "60%"}]})
    after = users(server, 1000)
    moved = [user for user in before if before[user] != after[user]]
    assert all((before[user], after[user]) == ("1", "2") for user in moved)
    assert 50 < len(moved) < 150, len(moved)


def test_rules_go_before_weights_and_a_named_version_before_both(configured):
    server = configured()
    put(server, BETA)
    assert version(server) == "1"
    assert version(server, **{"X-Beta": "1"}) == "2"
    named = requests.post(server.url("/v2/models/m/versions/3/infer"), json=rows(GOOD), headers={"X-Beta": "1"}, timeout=PATIENCE_S)
    assert named.json()["model_version"] == "3"
    assert server.infer("other", rows(GOOD)).json()["model_version"] == "1"


def test_every_protocol_goes_by_the_policy(configured):
    server = configured()
    put(server, BETA)
    beta = {"x-beta": "1"}
    v1 = requests.post(server.url("/v1/models/m:predict"), json={"instances": [[GOOD] * 4]}, headers=beta, timeout=PATIENCE_S)
    assert v1.json()["predictions"] == [[2.0] * 4], v1.text
    with triton.InferenceServerClient(server.grpc) as client:
        tensor = triton.InferInput("x", [1, 4], "FP32")
        tensor.set_data_from_numpy(np.ones((1, 4), np.float32))
        assert client.infer("m", [tensor], headers=beta).get_response().model_version == "2"
        assert client.infer("m", [tensor]).get_response().model_version == "1"
        answers = []
        arrived = threading.Event()

        def receive(result, error):
            answers.append(result.get_response().model_version if error is None else error)
            arrived.set()

        client.start_stream(receive, headers=beta)
        client.async_stream_infer("m", [tensor])
        assert arrived.wait(PATIENCE_S)
        client.stop_stream()
        assert answers == ["2"]


def test_records_go_by_the_policy(registry, graph, follow):  # noqa: F811
    bundle = graph("matmul", manifest=PIPELINE.format(unknown="reject", violation="reject"))
    registry.out("push", bundle)
    manifest = PIPELINE.format(unknown="reject", violation="clip")
    (bundle / "model.toml").write_text(f'name = "m"\n{manifest}')
    registry.out("push", bundle)
    server = follow('versions = "all"\n')
    until(lambda: stages(server) == {"m:1": "ready", "m:2": "ready"})
    put(server, BETA)
    for headers in ({}, {"x-beta": "1"}):
        url = server.url("/v1/endpoints/m/predict")
        answer = requests.post(url, json={"instances": [{"age": 0}]}, headers=headers, timeout=PATIENCE_S)
        assert answer.status_code == 200, answer.text
    for expected in ("1", "2"):
        assert server.metric("nv_inference_request_success", model="m", version=expected) == 1


def test_changes_have_a_history_and_can_be_undone(configured):
    server = configured()
    assert refused(call(server, "GET"), 404, "not_found") == '"m" has no traffic policy: its default version answers'
    first = put(server, HALVES, comment="canary of 2")
    assert (first["revision"], first["in_force"]) == (1, True)
    assert put(server, HALVES) == {"revision": 1, "changes": [], "in_force": True}, "the same is no change"
    put(server, BETA, revision=1)
    assert "revision 2, not 1" in refused(call(server, "PUT", policy=HALVES, revision=1), 409, "conflict")
    assert "revision 2, not 7" in refused(call(server, "PUT", policy=HALVES, headers={"If-Match": '"7"'}), 409, "conflict")
    shown = call(server, "GET")
    assert shown.headers["ETag"] == "\"2\"" and shown.json()["policy"]["rules"][0]["name"] == "beta"
    history = call(server, "GET", "/m/history").json()
    assert [(one["revision"], one["action"], one["actor"]) for one in history] == [(2, "set", "anonymous"), (1, "set", "anonymous")]
    assert history[1]["comment"] == "canary of 2" and history[1]["before"] is None
    assert history[0]["before"] == history[1]["after"]
    undone = call(server, "POST", "/m/undo").json()
    assert undone["revision"] == 3 and call(server, "GET").json()["policy"] == history[1]["after"]
    call(server, "POST", "/m/undo", to=0)
    assert counted(server, 3) == {"3": 3}, "before the first change there was none"
    assert refused(call(server, "POST", "/m/undo", to=9), 404, "not_found")
    assert refused(call(server, "POST", "/other/undo"), 404, "not_found")
    assert refused(call(server, "DELETE"), 404, "not_found")
    events = requests.get(server.url("/api/events?name=traffic.changed"), timeout=PATIENCE_S).json()
    assert [event["fields"]["revision"] for event in events] == [4, 3, 2, 1]
    assert events[-1]["model"] == "m" and "version 2: added with 50%" in events[-1]["fields"]["changes"]


def test_policies_and_history_outlive_a_kill(configured, start, tmp_path, models):
    server = configured()
    put(server, STICKY)
    before = users(server, 50)
    server.process.kill()
    server.process.wait()
    again = start(models, data=tmp_path / "data-0")
    assert users(again, 50) == before
    assert len(call(again, "GET", "/m/history").json()) == 1
    # A key of before keeps its version when the weights change after the restart.
    put(again, {"sticky": "header:x-user", "versions": [{"version": 1, "weight": "40%"}, {"version": 2, "weight": "60%"}]})
    assert all(new in (old, "2") for old, new in zip(before.values(), users(again, 50).values(), strict=True))


def test_bad_policies_are_refused(configured):
    server = configured()
    wrong = [
        ({"versions": [{"version": 9}]}, "invalid_parameter", "version 9"),
        ({"sticky": "field:amount", "versions": [{"version": 1}]}, "invalid_parameter", "field:amount cannot be used"),
        ({"sticky": "claim:plan", "versions": [{"version": 1}]}, "invalid_parameter", "auth.issuer.kept_claims"),
        ({"versions": [{"version": 1}], "fallbacks": [{"version": 2}]}, "invalid_parameter", "[[endpoints.fallback]]"),
        ({"versions": [{"version": 1, "weight": "90%"}, {"version": 2, "weight": "5%"}]}, "malformed_request", "95% together"),
        ({"versions": [{"version": 1}], "shadows": [{"version": 8, "share": "1%"}]}, "invalid_parameter", "version 8"),
    ]
    for policy, code, message in wrong:
        assert message in refused(call(server, "PUT", policy=policy), 400, code)
        assert message in refused(call(server, "POST", "/m/check", policy=policy), 400, code)
    refused(call(server, "PUT", "/missing", policy=HALVES), 404, "unknown_model")
    assert call(server, "GET", "").json() == [], "nothing was changed"


def test_the_configuration_decides_until_the_api_does(configured):
    server = configured('[[endpoints]]\nname = "m"\n[endpoints.traffic]\nversions = [{ version = 1 }]\n')
    assert version(server) == "1"
    shown = call(server, "GET").json()
    assert (shown["source"], shown["revision"]) == ("configuration", 0)
    put(server, {"versions": [{"version": 2}]})
    assert version(server) == "2"
    assert call(server, "GET").json()["source"] == "api"
    assert call(server, "DELETE").status_code == 200
    assert version(server) == "1"


def test_a_configured_policy_that_cannot_be_followed_stops_the_start(refusal):
    problem = refusal('[[endpoints]]\nname = "digits"\n[endpoints.traffic]\nsticky = "field:x"\nversions = [{ version = 1 }]\n')
    assert 'endpoints "digits": traffic: field:x cannot be used' in problem


def test_a_chosen_version_that_fails_falls_back_and_says_so(configured):
    server = configured('[[endpoints]]\nname = "m"\n[[endpoints.fallback]]\nversion = "1"\n')
    put(server, {"versions": [{"version": 3}]})
    answer = server.infer("m", rows(BAD))
    assert answer.json()["model_version"] == "1"
    assert marks(answer) == ("version:1", "execution_failed")
    put(server, {"versions": [{"version": 2}]})
    assert marks(server.infer("m", rows(BAD))) == (None, None)


def test_only_those_with_the_permission_change_traffic(start, tmp_path, models):
    keys = Keys(tmp_path / "data-0")
    deployer, viewer, caller = (keys.create(role, role) for role in ("deployer", "viewer", "caller"))
    of_other = keys.create("of-other", "deployer", "--on", "other")
    server = start(models, environment={"TIDEGATE_AUTH__ENABLED": "true"})
    wait_until_known(server, of_other)
    for key in (viewer, caller, of_other):
        refused(call(server, "PUT", key=key, policy=HALVES), 403, "forbidden")
    assert call(server, "PUT", key=deployer, policy={"sticky": "principal", **HALVES}).status_code == 200
    assert call(server, "GET", key=viewer).json()["changed_by"] == "key:deployer"
    headers = bearer(caller)
    assert len(counted(server, 20, **headers)) == 1, "the principal is the sticky key"
    rows_of_log = subprocess.run(
        [BINARY, "audit", "list", "--data", tmp_path / "data-0", "--action", "traffic", "--json"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    ).stdout
    assert '"traffic.set"' in rows_of_log and "principal" in rows_of_log, rows_of_log


def test_the_command_line_shows_and_changes_traffic(configured, tmp_path):
    server = configured()
    assert "no endpoint has a traffic policy" in cli(server, "show")
    plan = cli(server, "set", "m", "--weights", "1=95%,2=5%", "--sticky", "header:x-user", "--dry-run")
    assert "version 2: added with 5%" in plan and "no endpoint" in cli(server, "show")
    done = cli(server, "set", "m", "--weights", "1=95%,2=5%", "--sticky", "header:x-user", "--comment", "canary")
    assert "m is at revision 1, in force" in done
    assert cli(server, "diff", "m", "--weights", "1=90%,2=10%").splitlines() == [
        "version 1: 95% -> 90%",
        "version 2: 5% -> 10%",
        "5% of the requests move",
    ]
    cli(server, "set", "m", "--weights", "1=90%,2=10%", "--shadow", "3=10%")
    shown = cli(server, "show", "m")
    assert "sticky key: header:x-user" in shown and "copies for a shadow  3" in shown
    assert "set" in cli(server, "history", "m") and "canary" in cli(server, "history", "m")
    assert "revision 3, in force" in cli(server, "undo", "m")
    assert "nothing changes" in cli(server, "set", "m", "--weights", "1=95%,2=5%")
    file = tmp_path / "policy.toml"
    file.write_text('versions = [{ version = 2 }]\n')
    cli(server, "set", "m", "--file", str(file))
    assert version(server) == "2"
    assert "revision 4, not 1" in cli(server, "set", "m", "--weights", "1", "--revision", "1", check=False).stderr
    assert "no version" in cli(server, "set", "m", "--weights", "9", check=False).stderr
    cli(server, "remove", "m")
    assert "no endpoint" in cli(server, "show")


def shadows(server):
    return {one["version"]: one for one in call(server, "GET", "/m/shadows").json()}


def test_shadows_are_compared_and_change_nothing_for_clients(configured):
    server = configured()
    policy = {"versions": [{"version": 2}], "shadows": [{"version": 1, "share": "100%"}, {"version": 3, "share": "100%"}]}
    put(server, policy)
    assert counted(server, 20) == {"2": 20}
    until(lambda: sum(shadows(server)[one]["compared"] for one in ("1", "3")) == 40)
    assert (shadows(server)["3"]["agreed"], shadows(server)["1"]["agreed"]) == (20, 0)
    worst = shadows(server)["1"]["worst"][0]
    assert (worst["output"], worst["distance"], worst["primary"], worst["shadow"]) == ("y", 1.0, [2.0] * 4, [1.0] * 4)
    # Version 3 fails for these; clients see nothing of it.
    for _ in range(5):
        assert version(server, value=BAD) == "2"
    until(lambda: shadows(server)["3"]["failed"] == 5)
    assert shadows(server)["3"]["last_error"] == "execution_failed"
    assert server.metric("tidegate_shadow_requests_total", endpoint="m", version="3", result="failed") == 5
    assert server.metric("nv_inference_request_success", model="m", version="2") == 25
    assert not server.metric("nv_inference_request_success", model="m", version="1")
    assert not server.metric("nv_inference_request_failure", model="m", version="3")
    put(server, {"versions": [{"version": 2}]})
    assert shadows(server) == {}


def test_a_shadow_that_is_slow_delays_nobody(start, tmp_path):
    models = tmp_path / "models"
    for number in ("1", "2"):
        folder = models / "busy" / number
        folder.mkdir(parents=True)
        (folder / "model.onnx").write_bytes((BUSY / "model.onnx").read_bytes())
    config = 'name: "busy"\nplatform: "onnxruntime_onnx"\nversion_policy { all { } }\ninstance_group { count: 1 }\n'
    (models / "busy/config.pbtxt").write_text(config)
    server = start(models)
    call(server, "PUT", "/busy", policy={"versions": [{"version": 1}], "shadows": [{"version": 2, "share": "100%"}]})
    # Many more than the shadow can run; those that find no room are dropped.
    for _ in range(30):
        answer = server.infer("busy", busy(3000))
        assert (answer.status_code, answer.json()["model_version"]) == (200, "1")
    report = call(server, "GET", "/busy/shadows").json()[0]
    assert report["failed"] == 0
    until(lambda: (lambda now: now["compared"] + now["dropped"])(call(server, "GET", "/busy/shadows").json()[0]) == 30)


def test_versions_of_the_registry_are_loaded_before_they_answer_and_stay(registry, adder, follow):  # noqa: F811
    for number in (1, 2, 3):
        registry.out("push", adder(number))
    registry.out("registry", "alias", "set", "adder:3", "champion")
    server = follow()
    until(lambda: stages(server) == {"adder:3": "ready"})
    policy = {"versions": [{"version": 1, "weight": "50%"}, {"version": "champion", "weight": "50%"}]}
    answer = call(server, "PUT", "/adder", policy=policy)
    assert answer.status_code == 200, answer.text
    until(lambda: call(server, "GET", "/adder").json()["in_force"])
    assert {added(ask(server)) for _ in range(8)} == {1, 3}
    assert stages(server) == {"adder:1": "ready", "adder:3": "ready"}
    # The alias moves, and its share of the traffic with it.
    registry.out("registry", "alias", "set", "adder:2", "champion")
    until(lambda: {added(ask(server)) for _ in range(8)} == {1, 2})
    assert "no version" in refused(call(server, "PUT", "/adder", policy={"versions": [{"version": 9}]}), 400, "invalid_parameter")
    # Pushed a moment ago: the server looks once more.
    registry.out("push", adder(4))
    assert call(server, "PUT", "/adder", policy={"versions": [{"version": 4}]}).status_code == 200
    until(lambda: added(ask(server)) == 4)
    # What no policy names any more is unloaded.
    until(lambda: "adder:1" not in stages(server))
    assert call(server, "DELETE", "/adder").status_code == 200
    until(lambda: added(ask(server)) == 2 and "adder:4" not in stages(server))


@pytest.fixture
def database(tmp_path):
    postgres = Postgres(tmp_path / "postgres")
    yield f"postgres://tidegate@127.0.0.1:{postgres.port}/registry"
    postgres.stop()


def test_replicas_follow_a_change_of_another(start, database, models):
    one, two = (start(models, environment={"TIDEGATE_REGISTRY__DATABASE": database}) for _ in range(2))
    put(one, STICKY)
    until(lambda: call(two, "GET").status_code == 200 and call(two, "GET").json()["in_force"])
    assert users(one, 100) == users(two, 100), "a key has the same version on every replica"
    put(two, BETA, revision=1)
    until(lambda: call(one, "GET").json()["revision"] == 2)
    assert version(one, **{"x-beta": "1"}) == "2"
    assert refused(call(one, "PUT", policy=HALVES, revision=1), 409, "conflict")
