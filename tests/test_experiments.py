"""Experiments: users keep their arm, feedback decides which version is better, and what does harm is stopped."""

import collections
import json
import random
import signal
import subprocess

import numpy as np
import pytest
import requests

from conftest import BINARY, PATIENCE_S
from onnx_file import identity, table_lookup
from parts import Postgres, until
from test_auth import Keys, bearer, wait_until_known
from test_fallbacks import model, rows
from test_rollouts import start_rollout
from test_traffic import call as traffic
from test_traffic import refused

CAPTURE = """
[capture]
flush_s = 1

[[capture.endpoint]]
name = "m"
rate = 1.0

[[capture.endpoint]]
name = "n"
rate = 1.0
"""
# Version 4 only knows numbers below 4.
GOOD, BAD = 1.0, 9.0
HALVES = [{"version": 1, "weight": "50%"}, {"version": 3, "weight": "50%"}]


@pytest.fixture
def models(tmp_path):
    folder = tmp_path / "models"
    model(folder, "m", {"1": table_lookup(1.0), "3": table_lookup(2.0), "4": table_lookup(1.0, 4)})
    plain = identity("x", "y", dimensions=("N",))
    model(folder, "n", {"1": plain, "2": plain})
    model(folder, "other", {"1": table_lookup(1.0)})
    return folder


@pytest.fixture
def serve(start, tmp_path, models):
    def serve(more="", **options):
        config = tmp_path / "tidegate.toml"
        config.write_text(CAPTURE + more)
        return start(models, flags=["--config", str(config)], **options)

    return serve


@pytest.fixture
def server(serve):
    server = serve()
    assert traffic(server, "PUT", policy={"versions": [{"version": 1}]}).status_code == 200
    return server


def call(server, method, path="", endpoint="m", **body):
    url = server.url(f"/api/experiments/{endpoint}{path}")
    options = {} if method == "GET" else {"json": body}
    return requests.request(method, url, timeout=PATIENCE_S, **options)


def definition(**more):
    return {
        "unit": "header:x-user",
        "arms": HALVES,
        "metrics": [{"name": "conversion"}],
        "expected_users": 1000,
        **more,
    }


def begin(server, name="e", endpoint="m", **more):
    answer = call(server, "POST", f"/{name}", endpoint, **definition(**more))
    assert answer.status_code == 201, answer.text
    until(lambda: call(server, "GET", f"/{name}", endpoint).json()["is_assigned"])
    until(lambda: traffic(server, "GET", f"/{endpoint}").json()["in_force"])
    return answer.json()


def shown(server, name="e", endpoint="m"):
    answer = call(server, "GET", f"/{name}", endpoint)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ask(server, user, value=GOOD, session=requests):
    """The version that answered, and the id of the prediction."""
    headers = {} if user is None else {"x-user": str(user)}
    answer = session.post(server.url("/v2/models/m/infer"), json=rows(value), headers=headers, timeout=PATIENCE_S)
    return answer.json().get("model_version"), answer.headers.get("tidegate-prediction-id"), answer.status_code


def label(server, labels, endpoint="m"):
    feedback = [{"prediction_id": id, "label": value} for id, value in labels]
    for first in range(0, len(feedback), 5000):
        body = {"feedback": feedback[first : first + 5000]}
        answer = requests.post(server.url(f"/v1/endpoints/{endpoint}/feedback"), json=body, timeout=PATIENCE_S)
        assert answer.status_code == 200 and answer.json()["not_captured"] == 0, answer.text


def ask_users(servers, users, convert, requests_each=1, value=GOOD):
    """Asks for users and labels what they get: the labels of each user, by version."""
    seen = collections.defaultdict(lambda: collections.defaultdict(list))
    labels = collections.defaultdict(list)
    with requests.Session() as session:
        for turn in range(requests_each):
            for user in users:
                server = servers[(user + turn) % len(servers)]
                version, id, _ = ask(server, user, value, session)
                truth = convert(version)
                labels[server].append((id, truth))
                seen[version][user].append(truth)
    for server, given in labels.items():
        label(server, given)
    return seen


def arm(report, version):
    return next(arm for arm in report["arms"] if arm["version"] == version)


def metric(report, version, name="conversion"):
    return next(metric for metric in arm(report, version)["metrics"] if metric["name"] == name)


def test_users_keep_their_arm_and_others_go_by_the_weights(server):
    begin(server, users="50%")
    first = {user: ask(server, user)[0] for user in range(400)}
    again = {user: ask(server, user)[0] for user in range(400)}
    assert first == again
    # A quarter of all users gets the second arm: 100 of them, with a standard deviation below 9.
    assert 60 < sum(version == "3" for version in first.values()) < 140
    assert {ask(server, None)[0] for _ in range(20)} == {"1"}
    report = until(lambda: (report := shown(server)["report"]) and report["arms"][0]["users"] and report)
    assert arm(report, "3")["users"] == sum(version == "3" for version in first.values())
    assert 60 < arm(report, "1")["users"] < 140
    assert arm(report, "3")["predictions"] == 2 * arm(report, "3")["users"]


def test_the_better_version_is_found_by_the_labels_of_its_users(server):
    chance = random.Random(5)
    begin(server, covariate=None)
    rates = {"1": 0.2, "3": 0.6}
    seen = ask_users([server], range(800), lambda version: chance.random() < rates[version], 2)
    report = shown(server)["report"]
    for version in ["1", "3"]:
        means = [np.mean(labels) for labels in seen[version].values()]
        found = metric(report, version)
        assert found["users"] == len(means) == arm(report, version)["users"]
        assert found["mean"] == pytest.approx(np.mean(means), abs=1e-12)
    difference = metric(report, "3")["difference"]
    assert difference["estimate"] == pytest.approx(metric(report, "3")["mean"] - metric(report, "1")["mean"])
    assert difference["low"] < 0.4 < difference["high"] and difference["verdict"] == "better"
    # 400 users without a failed request are no proof that at most one of a hundred fails.
    assert arm(report, "3")["state"] == "undecided" and metric(report, "3", "errors")["difference"]["verdict"] == "undecided"
    assert report["conclusion"] == 'version 3 is better in "conversion": go on until its guardrails are known to hold'


def test_equal_versions_are_not_told_apart(server):
    chance = random.Random(6)
    begin(server)
    ask_users([server], range(600), lambda _: chance.random() < 0.3)
    report = shown(server)["report"]
    assert metric(report, "3")["difference"]["verdict"] == "undecided"
    assert report["conclusion"] == "undecided: go on"


def test_what_was_known_before_makes_the_difference_clearer(server):
    chance = random.Random(7)
    arms = [{"version": 1, "weight": "50%"}, {"version": 2, "weight": "50%"}]
    begin(server, endpoint="n", arms=arms, covariate="input.x", metrics=[{"name": "amount"}])
    labels, seen = [], collections.defaultdict(list)
    for user in range(600):
        before = float(chance.randrange(100))
        body = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [before]}]}
        answer = requests.post(server.url("/v2/models/n/infer"), json=body, headers={"x-user": str(user)}, timeout=PATIENCE_S)
        version = answer.json()["model_version"]
        amount = before + chance.random() + (version == "2")
        labels.append((answer.headers["tidegate-prediction-id"], amount))
        seen[version].append((before, amount))
    label(server, labels, "n")
    difference = metric(shown(server, endpoint="n")["report"], "2", "amount")["difference"]
    known, amounts = np.array(seen["1"] + seen["2"]).T
    theta = np.cov(known, amounts)[0, 1] / np.var(known, ddof=1)
    means = {version: np.mean([amount - theta * before for before, amount in pairs]) for version, pairs in seen.items()}
    assert difference["estimate"] == pytest.approx(means["2"] - means["1"], rel=1e-9)
    assert difference["kept_variance"] < 0.01 and difference["verdict"] == "better"


def test_a_version_that_fails_is_taken_from_its_users(server):
    begin(server, arms=[{"version": 1, "weight": "50%"}, {"version": 4, "weight": "50%"}])
    answers = collections.Counter(ask(server, user, BAD)[2] for user in range(600))
    assert answers[200] > 200 and sum(answers.values()) - answers[200] > 200, answers
    until(lambda: shown(server)["state"] == "stopped")
    stopped = shown(server)
    assert stopped["ended_by"] == "experiments" and "version 4 does harm" in stopped["reason"]
    assert arm(stopped["report"], "4")["state"] == "harms"
    assert metric(stopped["report"], "4", "errors")["mean"] == 1.0
    assert {ask(server, user, BAD)[2] for user in range(40)} == {200}
    events = requests.get(server.url("/api/events"), timeout=PATIENCE_S).json()
    ended = [event for event in events if event["name"] == "experiment.ended"]
    assert len(ended) == 1 and "does harm" in ended[0]["fields"]["reason"], ended


def test_experiments_of_a_group_share_no_user(server):
    begin(server, "a", users="30%", group="checkout")
    begin(server, "b", users="40%", group="checkout", arms=[{"version": 1, "weight": "10%"}, {"version": 3, "weight": "90%"}])
    refusal = refused(call(server, "POST", "/c", **definition(users="31%", group="checkout")), 409, "conflict")
    assert "30%" in refusal
    for user in range(300):
        ask(server, user)
    users = {name: sum(one["users"] for one in shown(server, name)["report"]["arms"]) for name in "ab"}
    assert 60 < users["a"] < 120 and 85 < users["b"] < 155 and sum(users.values()) < 300
    # What the first one leaves is free again.
    assert call(server, "POST", "/a/stop").status_code == 200
    begin(server, "d", users="30%", group="checkout")


def test_what_is_wrong_is_said(server):
    def refusal(status, code, path="/e", **more):
        url = server.url(f"/api/experiments/m{path}")
        answer = requests.post(url, json=definition(**more), timeout=PATIENCE_S)
        return refused(answer, status, code)

    assert "version 9" in refusal(400, "invalid_parameter", arms=[HALVES[0], {"version": 9, "weight": "50%"}])
    assert "alias" in refusal(400, "invalid_parameter", arms=[HALVES[0], {"version": "champion", "weight": "50%"}])
    assert "captured" in refused(call(server, "POST", "/e", "other", **definition()), 404, "not_found")
    assert "not on" in refusal(400, "invalid_parameter", endpoint="other")
    assert "before the inputs are read" in refusal(400, "invalid_parameter", unit="field:x")
    assert "letters" in refusal(400, "invalid_parameter", path="/a%20b")
    assert "the weights are 90% together" in refusal(
        400, "invalid_parameter", arms=[{"version": 1, "weight": "50%"}, {"version": 3, "weight": "40%"}]
    )
    assert "unknown field" in refusal(400, "malformed_request", speed=1)
    assert "had no experiment" in refused(call(server, "GET", "/nothing"), 404, "not_found")
    begin(server)
    assert "needs a new one" in refusal(409, "conflict")
    assert call(server, "POST", "/e/stop", reason="enough").status_code == 200
    assert "does not run" in refused(call(server, "POST", "/e/stop"), 409, "conflict")
    assert "needs a new one" in refusal(409, "conflict")
    assert shown(server)["reason"] == "enough"


def test_a_stopped_experiment_does_not_come_back(server):
    begin(server)
    assert call(server, "POST", "/e/stop").status_code == 200
    with_experiment = traffic(server, "GET", "/m/history").json()
    assert any("experiment" in change["action"] for change in with_experiment), with_experiment
    undone = traffic(server, "POST", "/m/undo")
    assert undone.status_code == 200, undone.text
    assert "experiments" not in traffic(server, "GET").json()["policy"]
    arms = [{"name": "e", "unit": "tenant", "arms": HALVES}]
    answer = traffic(server, "PUT", policy={"versions": [{"version": 1}], "experiments": arms})
    assert "tidegate experiment" in refused(answer, 400, "invalid_parameter")


def test_experiments_on_one_endpoint_share_its_users(server):
    begin(server, "a", users="50%")
    assert "same group" in refused(call(server, "POST", "/b", **definition(users="50%")), 409, "conflict")


def test_an_experiment_can_be_stopped_during_a_rollout(server):
    begin(server, users="50%")
    start_rollout(server, 3, "20%", "100%", seconds=60)
    until(lambda: len(traffic(server, "GET").json()["policy"]["versions"]) == 2)
    assert call(server, "POST", "/e/stop").status_code == 200
    assert "experiments" not in traffic(server, "GET").json()["policy"]
    assert requests.post(server.url("/api/rollouts/m/abort"), json={}, timeout=PATIENCE_S).status_code == 200
    until(lambda: [one["version"] for one in traffic(server, "GET").json()["policy"]["versions"]] == ["1"])
    assert "experiments" not in traffic(server, "GET").json()["policy"]


def test_all_predictions_must_be_captured(serve, tmp_path):
    server = serve('\n[[capture.endpoint]]\nname = "other"\nrate = 0.5\n')
    assert "rate = 1.0" in refused(call(server, "POST", "/e", "other", **definition()), 409, "conflict")


def test_an_experiment_waits_for_no_rollout(server):
    start_rollout(server, 3, "20%", "100%", seconds=60)
    refusal = refused(call(server, "POST", "/e", **definition()), 409, "conflict")
    assert "rollout" in refusal


def test_users_and_labels_survive_a_kill(serve, tmp_path):
    flags = {"data": tmp_path / "data"}
    server = serve(**flags)
    begin(server)
    before = {user: ask(server, user) for user in range(100)}
    label(server, [(id, True) for _, id, _ in before.values()])
    assert sum(one["users"] for one in shown(server)["report"]["arms"]) == 100
    # What was counted is in the database, and must not be counted again.
    listed = server.url("/api/experiments")
    until(lambda: requests.get(listed, timeout=PATIENCE_S).json()[0]["conclusion"])
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    server = serve(**flags)
    until(lambda: traffic(server, "GET").status_code == 200 and traffic(server, "GET").json()["in_force"])
    assert {user: ask(server, user)[0] for user in range(100)} == {user: one[0] for user, one in before.items()}
    report = shown(server)["report"]
    assert [one["predictions"] for one in report["arms"]] == [2 * one["users"] for one in report["arms"]]
    assert {metric(report, version)["mean"] for version in ["1", "3"]} == {1.0}


def test_the_policy_is_as_before_when_the_last_experiment_stops(serve):
    server = serve()
    assert traffic(server, "GET").status_code == 404
    default, _, _ = ask(server, None)
    begin(server, "a", users="30%", group="g")
    begin(server, "b", users="40%", group="g")
    assert len(traffic(server, "GET").json()["policy"]["experiments"]) == 2
    assert {ask(server, None)[0] for _ in range(20)} == {default}
    for name in "ab":
        assert call(server, "POST", f"/{name}/stop").status_code == 200
    assert traffic(server, "GET").status_code == 404
    assert {ask(server, user)[0] for user in range(40)} == {default}


def test_a_policy_that_somebody_set_ends_the_assignment_and_says_so(server):
    begin(server)
    assert traffic(server, "PUT", policy={"versions": [{"version": 1}]}).status_code == 200
    until(lambda: not shown(server)["is_assigned"])
    assert shown(server)["state"] == "running"
    assert {ask(server, user)[0] for user in range(40)} == {"1"}
    assert call(server, "POST", "/e/stop").status_code == 200


def test_servers_that_share_a_database_count_each_user_once(start, tmp_path, models):
    postgres = Postgres(tmp_path / "postgres")
    try:
        url = f"postgres://tidegate@127.0.0.1:{postgres.port}/registry"
        config = tmp_path / "tidegate.toml"
        config.write_text(CAPTURE)
        servers = [start(models, flags=["--config", str(config)], environment={"TIDEGATE_REGISTRY__DATABASE": url}) for _ in range(3)]
        begin(servers[0])
        until(lambda: all(traffic(one, "GET").status_code == 200 for one in servers))
        until(lambda: all(traffic(one, "GET").json()["in_force"] for one in servers))
        seen = ask_users(servers, range(300), lambda version: version == "3", 3)

        def counted(server):
            report = shown(server)["report"]
            return [(one["users"], one["predictions"]) for one in report["arms"]]

        expected = [(len(seen[version]), 3 * len(seen[version])) for version in ["1", "3"]]
        until(lambda: all(counted(one) == expected for one in servers), patience_s=120)
        for one in servers:
            report = shown(one)["report"]
            assert not report["has_mismatch"] and report["users_in_several_arms"] == 0
            assert (metric(report, "1")["mean"], metric(report, "3")["mean"]) == (0.0, 1.0)
    finally:
        postgres.stop()


def test_a_bandit_moves_users_to_the_better_arm(server):
    chance = random.Random(9)
    begin(server, bandit_floor="5%")
    ask_users([server], range(400), lambda version: chance.random() < (0.2 if version == "1" else 0.7))

    def weights():
        [experiment] = traffic(server, "GET").json()["policy"]["experiments"]
        return [one["weight"] for one in experiment["arms"]]

    until(lambda: weights() == ["5%", "95%"], patience_s=90)
    report = shown(server)["report"]
    assert arm(report, "3")["best_probability"] > 0.99 and arm(report, "3")["share"] == "95%"
    versions = collections.Counter(ask(server, user)[0] for user in range(1000, 1200))
    assert versions["3"] > 170


def tidegate(server, *arguments):
    command = [BINARY, "experiment", *arguments, "--url", f"http://{server.http}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)


def test_the_command_line(server, tmp_path):
    started = tidegate(
        server, "start", "m", "ranker", "--arms", "1=50%,3=50%", "--unit", "header:x-user",
        "--goal", "conversion", "--equals", "yes", "--missing-after", "1s",
    )
    assert started.returncode == 0 and "experiment ranker of m is running" in started.stdout, started.stderr
    until(lambda: shown(server, "ranker")["is_assigned"])
    seen = ask_users([server], range(250), lambda version: "yes" if version == "3" else "no")
    until(lambda: metric(shown(server, "ranker")["report"], "3")["users"] == len(seen["3"]))
    text = tidegate(server, "show", "m", "ranker").stdout
    assert "version 3 is better" in text and "errors (guardrail)" in text, text
    assert "ranker" in tidegate(server, "list").stdout
    stopped = tidegate(server, "stop", "m", "ranker", "--reason", "version 3 has won")
    assert stopped.returncode == 0 and "version 3 has won" in stopped.stdout, stopped.stderr
    wrong = tidegate(server, "start", "m", "ranker", "--arms", "1=50%", "--unit", "tenant")
    assert wrong.returncode == 1 and "arms" in wrong.stderr
    assert json.loads(tidegate(server, "show", "m", "ranker", "--json").stdout)["state"] == "stopped"


def test_the_console_shows_experiments(server):
    begin(server, metrics=[{"name": "conversion", "equals": True}])
    ask_users([server], range(250), lambda version: version == "3")

    def page():
        return requests.get(server.url("/console/experiments"), timeout=PATIENCE_S).text

    assert "Experiments" in page()
    until(lambda: "version 3 is better" in page())
    assert "conversion" in page() and "guardrail" in page() and "running" in page()


def test_an_experiment_is_for_those_who_may_change_the_traffic_of_its_endpoint(start, tmp_path, models):
    config = tmp_path / "tidegate.toml"
    config.write_text(CAPTURE + "[auth]\nenabled = true\n")
    keys = Keys(tmp_path / "data")
    deployer = keys.create("deployer", "deployer", "--on", "other")
    caller = keys.create("caller", "caller")
    server = start(models, flags=["--config", str(config)], data=tmp_path / "data")
    wait_until_known(server, deployer)
    for key, endpoint in [(deployer, "m"), (caller, "m"), (caller, "other")]:
        url = server.url(f"/api/experiments/{endpoint}/e")
        answer = requests.post(url, json=definition(), headers=bearer(key), timeout=PATIENCE_S)
        assert answer.status_code == 403, (endpoint, answer.text)
    # The endpoint of the path decides, whatever the body says.
    url = server.url("/api/experiments/other/e")
    answer = requests.post(url, json=definition(endpoint="m"), headers=bearer(deployer), timeout=PATIENCE_S)
    assert answer.status_code == 400 and "not on" in answer.text
