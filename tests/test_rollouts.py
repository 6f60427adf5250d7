"""Rollouts: a new version gets more and more requests, and none as soon as it is worse; nobody has to look."""

import collections
import contextlib
import os
import random
import subprocess
import threading
import time

import pytest
import requests

from conftest import BINARY, PATIENCE_S
from onnx_file import identity, table_lookup
from parts import Postgres, until
from test_auth import Keys, bearer, wait_until_known
from test_fallbacks import model, rows
from test_fleet import added, adder, ask, follow, stages  # noqa: F401
from test_traffic import call as traffic
from test_traffic import refused, version

# Version 4 only knows numbers below 4.
GOOD, BAD = 1.0, 9.0
# Larger for the figures in docs/benchmarks.md.
KILLS = int(os.environ.get("TIDEGATE_ROLLOUT_KILLS", "4"))
# Long enough that the last kill meets it under way.
SLOW_STEPS = {"seconds": max(1, KILLS // 2)}


def steps(*weights, seconds=1, requests=20):
    return [{"weight": weight, "min_duration_s": seconds, "min_requests": requests} for weight in weights]


@pytest.fixture
def models(tmp_path):
    folder = tmp_path / "models"
    contents = {
        "1": table_lookup(1.0),
        # The same answers from another file.
        "2": table_lookup(1.0, 4095),
        "3": table_lookup(2.0),
        "4": table_lookup(1.0, 4),
        # The same, but for the name of its input.
        "5": identity("z", "y", dimensions=("N", 4)),
    }
    model(folder, "m", contents)
    return folder


@pytest.fixture
def server(start, models):
    server = start(models)
    policy = {"versions": [{"version": 1}]}
    assert traffic(server, "PUT", policy=policy).status_code == 200
    return server


def call(server, method, path="/m", key=None, **body):
    url = server.url(f"/api/rollouts{path}")
    options = {} if method == "GET" else {"json": body}
    return requests.request(method, url, headers=bearer(key), timeout=PATIENCE_S, **options)


def start_rollout(server, to, *weights, path="/m", seconds=1, **body):
    planned = steps(*(weights or ("20%", "50%", "100%")), seconds=seconds)
    answer = call(server, "POST", path, to=to, steps=planned, **body)
    assert answer.status_code == 201, answer.text
    return answer.json()


def rollout(server, path="/m"):
    answer = call(server, "GET", path)
    assert answer.status_code == 200, answer.text
    return answer.json()


def phase(server, path="/m"):
    return rollout(server, path)["phase"]


def ended(server, expected, path="/m"):
    until(lambda: phase(server, path) in ("promoted", "aborted"))
    shown = rollout(server, path)
    assert shown["phase"] == expected, (shown["reason"], [event["what"] for event in shown["events"]])
    return shown


@contextlib.contextmanager
def load(*servers, value=lambda: GOOD, ask=None, threads=2):
    """Requests until the end of the block: what came of them, by version and status."""
    seen, stop = collections.Counter(), threading.Event()

    def send(number):
        with requests.Session() as session:
            while not stop.is_set():
                server = servers[number % len(servers)]
                try:
                    answer = ask(server, session) if ask else session.post(server.url("/v2/models/m/infer"), json=rows(value()), timeout=PATIENCE_S)
                except requests.ConnectionError:
                    # Killed: the next one may be back.
                    time.sleep(0.02)
                    continue
                seen[(answer.json().get("model_version"), answer.status_code)] += 1
                time.sleep(0.002)

    running = [threading.Thread(target=send, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    try:
        yield seen
    finally:
        stop.set()
        for thread in running:
            thread.join()


def cli(server, *arguments, check=True):
    command = [BINARY, "rollout", *arguments, "--url", server.url("")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert not check or done.returncode == 0, done.stderr
    return done.stdout if check else done.stderr


def happened(shown):
    return [event["what"] for event in shown["events"]]


def test_a_good_version_gets_everything_step_by_step(server):
    with load(server) as seen:
        begun = start_rollout(server, 2)
        assert (begun["phase"], begun["from"], begun["to"], begun["steps"]) == ("waiting", "1", "2", 3)
        shown = ended(server, "promoted")
    assert happened(shown)[0] == "first step begun"
    assert [what.split(" after")[0] for what in happened(shown)[1:]] == ["step 1 done", "step 2 done", "all steps done"]
    assert {status for _, status in seen} == {200}, seen
    assert {check["check"] for check in shown["checks"]} == {"errors", "rejected", "invalid_outputs", "p99", "output:y", "class:y"}
    assert all(check["outcome"] != "failed" for check in shown["checks"]), shown["checks"]
    until(lambda: version(server) == "2")
    # The policy is people's again, with what else was in it.
    until(lambda: traffic(server, "GET", "/m/history").json()[0]["action"] == "rolled_out")
    assert traffic(server, "GET").json()["policy"]["versions"] == [{"version": "2", "weight": "100%"}]
    assert traffic(server, "POST", "/m/undo").status_code == 200
    assert version(server) == "1", "one undo takes the whole rollout back"


def test_a_version_that_fails_is_taken_back_by_itself(server):
    with load(server, value=lambda: random.choice((GOOD, GOOD, GOOD, BAD))) as seen:
        start_rollout(server, 4, "10%", "100%")
        shown = ended(server, "aborted")
        back = collections.Counter(seen)
        until(lambda: version(server, value=BAD) == "1")
        until(lambda: sum(seen.values()) > sum(back.values()) + 200)
    assert "check errors failed" in shown["reason"]
    failed = next(check for check in shown["checks"] if check["check"] == "errors")
    assert failed["outcome"] == "failed" and failed["p_value"] <= failed["alpha"]
    errors = sum(count for (_, status), count in seen.items() if status != 200)
    assert 0 < errors < 0.15 * sum(seen.values()), "only requests of the new version's own share failed"
    # Whoever wants to try again has to insist.
    answer = call(server, "POST", to=4, steps=steps("100%"))
    until(lambda: "was found bad" in call(server, "POST", to=4, steps=steps("100%")).text)
    assert answer.status_code == 409
    until(lambda: server.metric("tidegate_rollout_rolled_back", endpoint="m", version="4") == 1)
    events = requests.get(server.url("/api/events?name=rollout.alert"), timeout=PATIENCE_S).json()
    assert "check errors failed" in events[0]["fields"]["what"]
    until(lambda: any(one["name"] == "TidegateRolledBack" for one in requests.get(server.url("/api/alerts"), timeout=PATIENCE_S).json()))
    assert call(server, "POST", "/m/retry").status_code == 201, "a person may"


def test_a_version_with_other_answers_is_taken_back_by_itself(server):
    with load(server):
        start_rollout(server, 3, "20%", "100%")
        shown = ended(server, "aborted")
    assert "check output:y failed" in shown["reason"]


def test_a_version_that_refuses_what_the_old_one_takes_is_taken_back(server):
    with load(server):
        start_rollout(server, 5, "20%", "100%")
        shown = ended(server, "aborted")
    assert "check rejected failed" in shown["reason"], shown["reason"]


def test_whoever_a_rule_sends_to_the_new_version_is_no_evidence(server):
    beta = [{"name": "beta", "when": [{"attribute": "header:x-beta", "equals": "1"}], "versions": [{"version": 3}]}]
    assert traffic(server, "PUT", policy={"versions": [{"version": 1}], "rules": beta}).status_code == 200
    start_rollout(server, 3, "10%", "100%")
    until(lambda: phase(server) == "running")
    for _ in range(200):
        assert version(server, **{"x-beta": "1"}) == "3"

    def compared():
        # What comes later is in the figures: so is what came before.
        assert version(server) in ("1", "3")
        errors = next(check for check in rollout(server)["checks"] if check["check"] == "errors")
        return errors["compared"]["control"]

    until(lambda: compared() > 10)
    shown = rollout(server)
    assert shown["phase"] == "running" and shown["step_requests"] < 100, shown["step_requests"]
    assert call(server, "POST", "/m/abort").status_code == 200
    until(lambda: len(traffic(server, "GET").json()["policy"]["versions"]) == 1)
    assert traffic(server, "GET").json()["policy"]["rules"][0]["name"] == "beta", "as it was before"


def test_of_sticky_users_only_the_first_request_is_evidence(server):
    assert traffic(server, "PUT", policy={"sticky": "header:x-user", "versions": [{"version": 1}]}).status_code == 200
    send = {"ask": lambda server, session: session.post(server.url("/v2/models/m/infer"), json=rows(GOOD), headers={"x-user": str(random.randrange(20))}, timeout=PATIENCE_S)}
    with load(server, **send):
        start_rollout(server, 3, "50%", "100%")
        until(lambda: rollout(server)["step_requests"] >= 20 or phase(server) != "running")
        shown = rollout(server)
    errors = next(check for check in shown["checks"] if check["check"] == "errors")
    assert errors["compared"]["candidate"] + errors["compared"]["control"] <= 20, errors


def test_an_abort_starts_no_other_rollout(server):
    start_rollout(server, 2, "10%", "100%")
    assert start_rollout(server, 3)["phase"] == "queued"
    assert call(server, "POST", "/m/abort").status_code == 200
    until(lambda: call(server, "GET", "").json() == [])
    assert rollout(server)["to"] == "2"


def test_it_begins_from_what_answers(server):
    assert "version 1 answers" in refused(call(server, "POST", to=2, **{"from": 3}, steps=steps("100%")), 409, "conflict")
    halves = {"versions": [{"version": 1, "weight": "50%"}, {"version": 3, "weight": "50%"}]}
    traffic(server, "PUT", policy=halves)
    assert "several versions answer" in refused(call(server, "POST", to=2, steps=steps("100%")), 409, "conflict")
    # Aborted from 1, retried after 3 was put in charge: it begins from 3.
    traffic(server, "PUT", policy={"versions": [{"version": 1}]})
    start_rollout(server, 2, "10%", "100%")
    call(server, "POST", "/m/abort")
    until(lambda: call(server, "GET", "").json() == [])
    traffic(server, "PUT", policy={"versions": [{"version": 3}]})
    assert call(server, "POST", "/m/retry").json()["from"] == "3"
    assert version(server) == "3"


def test_the_command_waits_and_says_how_it_ended(server):
    fast = ("--steps", "50%,100%", "--min-duration", "1s", "--min-requests", "10", "--wait")
    with load(server):
        out = cli(server, "start", "m", "--to", "2", *fast)
        assert "m: 1 -> 2, promoted" in out
    until(lambda: call(server, "GET", "").json() == [])
    with load(server):
        command = [BINARY, "rollout", "start", "m", "--to", "3", *fast, "--url", server.url("")]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert ended.returncode == 1 and "aborted: check output:y failed" in ended.stdout


def test_copies_come_first_where_that_is_asked_for(server):
    limit = {"name": "agreement", "metric": "disagreement", "kind": "limit", "limit": 0.1}
    with load(server) as seen:
        start_rollout(server, 3, "50%", "100%", strategy="shadow-then-canary", shadow=steps("100%")[0], checks=[limit])
        shown = ended(server, "aborted")
        assert "check agreement failed" in shown["reason"]
        assert {one for one, _ in seen} == {"1"}, "clients saw nothing of it"
        start_rollout(server, 2, "50%", "100%", strategy="shadow-then-canary", shadow=steps("100%")[0], checks=[limit])
        until(lambda: rollout(server)["copies"] == "100%")
        ended(server, "promoted")


def test_people_pause_resume_promote_and_abort(server):
    # Nobody sends anything: the rollout waits for requests.
    out = cli(server, "start", "m", "--to", "2", "--steps", "10%,100%", "--min-duration", "1s", "--min-requests", "1000")
    assert "m: 1 -> 2, waiting" in out
    until(lambda: phase(server) == "running")
    assert "paused: paused by anonymous" in cli(server, "pause", "m")
    assert "running" in cli(server, "resume", "m")
    assert "Resume by anonymous came too late" in cli(server, "resume", "m", check=False)
    assert "10% of the requests" in cli(server, "status")
    problem = refused(traffic(server, "PUT", policy={"versions": [{"version": 2}]}), 409, "conflict")
    assert "a rollout of \"m\" is under way" in problem
    assert "aborted by anonymous" in cli(server, "abort", "m")
    until(lambda: "no rollout is under way" in cli(server, "status"))
    assert "aborted" in cli(server, "history", "m")
    assert version(server) == "1"
    # A person's decision says nothing about the version: it may be tried again at once.
    assert "waiting" in cli(server, "retry", "m")
    until(lambda: phase(server) == "running")
    queued = call(server, "POST", to=3, steps=steps("100%")).json()
    assert queued["phase"] == "queued"
    assert call(server, "POST", to=3, steps=steps("100%")).json()["id"] == queued["id"], "asked for twice, it is one"
    assert "promoted" in cli(server, "promote", "m")
    assert version(server) == "2"
    until(lambda: rollout(server)["to"] == "3" and phase(server) == "running")
    assert rollout(server)["from"] == "2", "it begins from what was promoted meanwhile"
    cli(server, "abort", "m")


def test_what_cannot_be_done_is_refused(server):
    wrong = [
        ({"to": 9, "steps": steps("100%")}, 400, "invalid_parameter", "version 9"),
        ({"to": "champion", "steps": steps("100%")}, 400, "invalid_parameter", "name the version by its number"),
        ({"to": 1, "steps": steps("100%")}, 409, "conflict", "version 1 answers the requests of \"m\" already"),
        ({"to": 2, "steps": steps("50%", "20%", "100%")}, 400, "invalid_parameter", "rising weights"),
        ({"to": 2, "steps": steps("50%")}, 400, "invalid_parameter", "the last is 100%"),
        ({"to": 2, "steps": []}, 400, "invalid_parameter", "1 to 50 steps"),
        ({"to": 2, "steps": steps("100%"), "checks": [{"name": "a", "metric": "luck", "kind": "share"}]}, 400, "invalid_parameter", "luck"),
        ({"to": 2, "steps": steps("100%"), "alpha": 7}, 400, "invalid_parameter", "alpha is 7"),
    ]
    for body, status, code, message in wrong:
        assert message in refused(call(server, "POST", **body), status, code)
    refused(call(server, "POST", "/missing", to=2, steps=steps("100%")), 404, "unknown_model")
    refused(call(server, "POST", "/m/abort"), 404, "not_found")
    refused(call(server, "GET"), 404, "not_found")
    assert "the last of --steps must be 100%" in cli(server, "start", "m", "--to", "2", "--steps", "5%", check=False)
    assert call(server, "GET", "").json() == []


def test_a_killed_server_goes_on_where_it_was(start, models, tmp_path):
    server = start(models)
    traffic(server, "PUT", policy={"versions": [{"version": 1}]})
    start_rollout(server, 2, "10%", "20%", "50%", "100%", **SLOW_STEPS)
    data = tmp_path / "data-0"
    for _ in range(KILLS):
        with load(server):
            time.sleep(random.uniform(0.2, 2.5))
            server.process.kill()
            server.process.wait()
            server = start(models, data=data)
    with load(server):
        shown = ended(server, "promoted")
    done = [what for what in happened(shown) if what.startswith("step")]
    assert [what.split(" after")[0] for what in done] == ["step 1 done", "step 2 done", "step 3 done"], "none skipped, none twice"


def test_only_those_with_the_permission_roll_out(start, tmp_path, models):
    keys = Keys(tmp_path / "data-0")
    deployer, viewer, caller = (keys.create(role, role) for role in ("deployer", "viewer", "caller"))
    of_other = keys.create("of-other", "deployer", "--on", "other")
    server = start(models, environment={"TIDEGATE_AUTH__ENABLED": "true"})
    wait_until_known(server, of_other)
    assert traffic(server, "PUT", key=deployer, policy={"versions": [{"version": 1}]}).status_code == 200
    for key in (viewer, caller, of_other):
        refused(call(server, "POST", key=key, to=2, steps=steps("100%")), 403, "forbidden")
    assert call(server, "POST", key=deployer, to=2, steps=steps("100%", requests=1000)).status_code == 201
    assert call(server, "GET", key=viewer).json()["to"] == "2"
    refused(call(server, "POST", "/m/promote", key=viewer), 403, "forbidden")
    until(lambda: call(server, "GET", key=viewer).json()["phase"] == "running")
    assert call(server, "POST", "/m/abort", key=deployer).json()["reason"] == "aborted by key:deployer"
    listed = subprocess.run(
        [BINARY, "audit", "list", "--data", tmp_path / "data-0", "--action", "rollout", "--json"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    ).stdout
    assert '"rollout.start"' in listed and '"rollout.step"' in listed and '"rollout.aborted"' in listed, listed


def test_the_champion_moves_with_a_rollout_of_the_registry(registry, adder, follow):  # noqa: F811
    registry.out("push", adder(1), "--alias", "champion")
    registry.out("push", adder(1.0000001))
    registry.out("push", adder(5))
    server = follow()
    until(lambda: stages(server) == {"adder:1": "ready"})
    send = {"ask": lambda server, session: ask(server, session=session)}
    with load(server, **send) as seen:
        start_rollout(server, 2, path="/adder")
        ended(server, "promoted", "/adder")
        # The alias decides again, without a policy.
        until(lambda: traffic(server, "GET", "/adder").status_code == 404)
        until(lambda: stages(server) == {"adder:2": "ready"})
        assert ask(server).json()["model_version"] == "2"
        # One with other answers: back to the last good one, wherever the alias points meanwhile.
        start_rollout(server, 3, path="/adder")
        ended(server, "aborted", "/adder")
        until(lambda: traffic(server, "GET", "/adder").status_code == 404)
        assert added(ask(server)) == pytest.approx(1)
    assert {status for _, status in seen} == {200}, seen


def test_a_version_that_does_not_load_is_taken_back(registry, adder, follow):  # noqa: F811
    registry.out("push", adder(1), "--alias", "champion")
    folder = adder(2, manifest='golden = [{ file = "golden.json" }]\n')
    sample = (
        '{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [0, 0, 0, 0]}],'
        ' "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 4], "data": [7, 7, 7, 7]}]}'
    )
    (folder / "golden.json").write_text(sample)
    registry.out("push", folder, "--no-check")
    server = follow()
    until(lambda: stages(server) == {"adder:1": "ready"})
    start_rollout(server, 2, path="/adder")
    shown = ended(server, "aborted", "/adder")
    assert "version does not load" in shown["reason"] and "golden.json" in shown["reason"], shown["reason"]
    assert added(ask(server)) == 1


def test_traffic_moves_in_deploy_windows_only(start, models, tmp_path):
    config = tmp_path / "tidegate.toml"
    # A minute that is hours away.
    hour = (time.gmtime().tm_hour + 6) % 24
    window = f'days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]\nfrom = "{hour:02}:00"\nto = "{hour:02}:01"\n'
    config.write_text(f"[[rollouts.deploy_window]]\n{window}")
    server = start(models, flags=("--config", str(config)))
    traffic(server, "PUT", policy={"versions": [{"version": 1}]})
    start_rollout(server, 2)
    with load(server) as seen:
        until(lambda: sum(seen.values()) > 500)
        assert phase(server) == "waiting" and {one for one, _ in seen} == {"1"}
    # A person who promotes takes the responsibility.
    assert call(server, "POST", "/m/promote").json()["phase"] == "promoted"


@pytest.fixture
def database(tmp_path):
    postgres = Postgres(tmp_path / "postgres")
    yield postgres
    postgres.stop()


def test_another_replica_goes_on_when_the_leader_is_killed(start, database, models):
    url = f"postgres://tidegate@127.0.0.1:{database.port}/registry"
    environment = {"TIDEGATE_REGISTRY__DATABASE": url}
    replicas = [start(models, environment=environment) for _ in range(3)]
    traffic(replicas[0], "PUT", policy={"versions": [{"version": 1}]})
    until(lambda: all(traffic(one, "GET").status_code == 200 for one in replicas))
    start_rollout(replicas[0], 2, "10%", "20%", "50%", "100%", **SLOW_STEPS)
    for _ in range(KILLS):
        with load(*replicas):
            time.sleep(random.uniform(0.2, 2.5))
            victim = random.choice(replicas)
            victim.process.kill()
            victim.process.wait()
            replicas.remove(victim)
            replicas.append(start(models, environment=environment))
    with load(*replicas):
        shown = ended(replicas[0], "promoted")
    done = [what for what in happened(shown) if what.startswith("step")]
    assert [what.split(" after")[0] for what in done] == ["step 1 done", "step 2 done", "step 3 done"]
    until(lambda: all(version(one) == "2" for one in replicas))


def test_traffic_stays_while_the_database_is_away(start, database, models):
    url = f"postgres://tidegate@127.0.0.1:{database.port}/registry"
    server = start(models, environment={"TIDEGATE_REGISTRY__DATABASE": url})
    traffic(server, "PUT", policy={"versions": [{"version": 1}]})
    start_rollout(server, 2, "30%", "100%")
    until(lambda: version(server) == "2")
    database.stop()
    with load(server) as seen:
        until(lambda: sum(seen.values()) > 1500)
    assert {status for _, status in seen} == {200}
    share = sum(count for (one, _), count in seen.items() if one == "2") / sum(seen.values())
    assert 0.2 < share < 0.4, "the weights are those of before"
