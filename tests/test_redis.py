"""Several servers share rates and answers through a real Redis, which is away, slow, killed and back."""

import itertools
import json
import socket
import struct
import subprocess
import threading

import pytest
import requests

from conftest import BINARY, GRAPHS, MODELS, PATIENCE_S
from parts import Redis, until
from test_auth import DIGITS, Keys, bearer

# No token comes during a test.
NEVER = "requests_per_second = 0.000001"
SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def redis(tmp_path):
    server = Redis(tmp_path / "redis")
    yield server
    server.stop()


@pytest.fixture
def replica(start, tmp_path, redis):
    """Starts servers that use the Redis of the test, with further settings."""
    numbers = itertools.count()

    def replica(more="", models=(MODELS / "digits",), timeout_ms=5000, url=None, wait=True, **options):
        number = next(numbers)
        config = tmp_path / f"replica-{number}.toml"
        config.write_text(f'[redis]\nurl = "{url or redis.url}"\ncommand_timeout_ms = {timeout_ms}\n{more}')
        server = start(*models, data=tmp_path / f"replica-{number}", flags=("--config", str(config)), **options)
        if wait:
            until(connected, server)
        return server

    return replica


def connected(server):
    return server.metric("tidegate_redis_connected") == 1


def away(server):
    return server.metric("tidegate_redis_connected") == 0


def health(server):
    return requests.get(server.url("/v2/health/ready"), timeout=PATIENCE_S)


def events(server):
    listed = requests.get(server.url("/api/events?limit=1000"), timeout=PATIENCE_S).json()
    return [event["name"] for event in listed]


def codes(server, count):
    return [server.infer("digits", DIGITS).status_code for _ in range(count)]


def rule(burst, rate=NEVER, name="all"):
    return f'[[limits.rule]]\nname = "{name}"\n{rate}\nburst_requests = {burst}\n'


def test_two_servers_share_a_rate(replica):
    servers = [replica(rule(10)), replica(rule(10))]
    passed = [code for _ in range(10) for server in servers for code in codes(server, 1)]
    assert passed.count(200) == 10 and passed.count(429) == 10
    refused = servers[0].infer("digits", DIGITS)
    assert refused.json()["code"] == "rate_limited"
    assert refused.headers["RateLimit"].startswith('"all-requests";r=0;t=')


def test_a_redis_that_is_away_at_the_start_is_told_and_found(replica, redis):
    redis.stop()
    server = replica(rule(4), wait=False)
    until(lambda: "redis.lost" in events(server))
    degraded = health(server)
    assert degraded.status_code == 200 and degraded.json()["status"] == "degraded"
    assert any("Redis" in problem for problem in degraded.json()["problems"])
    assert codes(server, 6) == [200] * 4 + [429] * 2
    redis.start()
    until(connected, server)
    until(lambda: "redis.found" in events(server))
    assert health(server).json()["status"] == "ready"
    assert codes(server, 6) == [200] * 4 + [429] * 2


def test_servers_that_know_of_each_other_share_the_rate_while_redis_is_away(replica, redis):
    servers = [replica(rule(10)), replica(rule(10))]
    for server in servers:
        until(lambda server=server: server.metric("tidegate_redis_servers") == 2)
    redis.stop()
    for server in servers:
        until(away, server)
        assert codes(server, 10).count(200) == 5
        assert health(server).json()["status"] == "degraded"


def test_no_request_fails_while_redis_is_killed_under_load_and_comes_back(replica, redis):
    server = replica(rule(1_000_000, "requests_per_second = 1000000"))
    seen, stop = [], threading.Event()

    def load():
        session = requests.Session()
        while not stop.is_set():
            answer = session.post(server.url("/v2/models/digits/infer"), json=DIGITS, timeout=PATIENCE_S)
            seen.append(answer.status_code)

    clients = [threading.Thread(target=load) for _ in range(4)]
    for client in clients:
        client.start()
    try:
        for _ in range(2):
            redis.kill()
            until(away, server)
            answered = len(seen)
            until(lambda: len(seen) > answered + 50)
            redis.start()
            until(connected, server)
            answered = len(seen)
            until(lambda: len(seen) > answered + 50)
    finally:
        stop.set()
        for client in clients:
            client.join()
    assert set(seen) == {200}
    assert events(server).count("redis.lost") == 2


def test_a_slow_redis_holds_up_a_few_requests_and_then_none(replica, redis):
    server = replica(rule(200), timeout_ms=100)
    redis.command("CLIENT", "PAUSE", "600000", "WRITE")
    assert codes(server, 50) == [200] * 50
    assert away(server)
    timed_out = server.metric("tidegate_redis_commands_total", command="lease", outcome="timed_out")
    assert timed_out <= 3
    assert server.metric("tidegate_redis_commands_total", command="lease", outcome="not_sent") >= 40
    redis.command("CLIENT", "UNPAUSE")
    until(connected, server)
    assert codes(server, 1) == [200]


def test_a_wrong_password_is_told_without_showing_it(start, tmp_path):
    redis = Redis(tmp_path / "redis", "--requirepass", "correct-horse")
    try:
        config = tmp_path / "redis.toml"
        config.write_text(f'[redis]\nurl = "redis://:hunter2@127.0.0.1:{redis.port}"\n' + rule(3))
        server = start(MODELS / "digits", data=tmp_path / "data", flags=("--config", str(config)))
        problems = until(lambda: [p for p in health(server).json()["problems"] if "refuses the credential" in p])
        assert codes(server, 4) == [200] * 3 + [429]
        shown = json.dumps(problems) + server.log.read_text() + "".join(server.lines)
        assert "hunter2" not in shown
        for path in ("/metrics", "/api/events", "/v2/health/ready"):
            assert "hunter2" not in requests.get(server.url(path), timeout=PATIENCE_S).text
    finally:
        redis.stop()


def test_redis_over_tls_with_a_password_file(start, tmp_path):
    certificates = tmp_path / "certificates"
    subprocess.run([BINARY, "certs", "dev", "--out", str(certificates)], check=True, capture_output=True)
    redis = Redis(tmp_path / "redis", "--requirepass", "correct-horse", certificates=certificates)
    try:
        password = tmp_path / "password"
        password.write_text("correct-horse\n")
        config = tmp_path / "redis.toml"
        config.write_text(
            f'[redis]\nurl = "rediss://127.0.0.1:{redis.port}"\nca_file = "{certificates}/ca.pem"\n'
            f'password_file = "{password}"\n' + rule(3)
        )
        server = start(MODELS / "digits", data=tmp_path / "data", flags=("--config", str(config)))
        until(connected, server)
        assert codes(server, 4) == [200] * 3 + [429]
        # Without the authority, its certificate is not trusted.
        config.write_text(f'[redis]\nurl = "rediss://:correct-horse@127.0.0.1:{redis.port}"\n' + rule(3))
        untrusting = start(MODELS / "digits", data=tmp_path / "other", flags=("--config", str(config)))
        until(lambda: "redis.lost" in events(untrusting))
        assert away(untrusting)
    finally:
        redis.stop()


def test_what_cannot_be_meant_is_refused(refusal):
    assert "redis.url" in refusal('[redis]\nurl = "http://u:hunter2@host"\n')
    assert "hunter2" not in refusal('[redis]\nurl = "http://u:hunter2@host"\n')
    assert "command_timeout_ms" in refusal('[redis]\nurl = "redis://localhost"\ncommand_timeout_ms = 0\n')
    cached = '[cache]\nredis = true\nredis_secret = "{secret}"\n[[cache.endpoint]]\nname = "*"\n'
    assert "redis.url" in refusal(cached.format(secret=SECRET))
    with_redis = cached + '[redis]\nurl = "redis://localhost"\n'
    assert "32" in refusal(with_redis.format(secret="short"))
    assert "redis_secret" in refusal(with_redis.format(secret=""))


# The second level of the response cache.


@pytest.fixture
def follower(registry, replica):
    """Starts servers that follow the registry of the test and share answers."""

    def follower(secret=SECRET, **options):
        folder = registry.data
        registered = f'[registry]\ndatabase = "{folder}/registry.db"\nstorage = "{folder}/objects"\nkeys = "{folder}/keys"\n'
        shared = f'[cache]\nredis = true\nredis_secret = "{secret}"\n[[cache.endpoint]]\nname = "*"\nttl_ms = 3600000\n'
        more = registered + "[fleet]\npoll_interval_ms = 50\n" + shared
        return replica(more, models=("--registry",), **options)

    return follower


@pytest.fixture
def adder(tmp_path):
    def adder(added):
        graph = (GRAPHS / "add_constant.onnx").read_bytes()
        bias = struct.pack("<4f", 1.0, -1.0, 0.5, 2.0)
        folder = tmp_path / f"adder-{added}"
        folder.mkdir()
        (folder / "model.onnx").write_bytes(graph.replace(bias, struct.pack("<4f", *[added] * 4)))
        (folder / "model.toml").write_text('name = "adder"\n')
        return folder

    return adder


def ask(server, number=0.0, key=None):
    """What is added to a number, and where the answer came from; None while no version answers."""
    body = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [number] * 4}]}
    answer = server.infer("adder", body, headers=bearer(key))
    if answer.status_code != 200:
        return None
    (output,) = answer.json()["outputs"]
    return output["data"][0] - number, answer.headers["Tidegate-Cache"]


def shared(server, outcome):
    return server.metric("tidegate_cache_shared_answers_total", outcome=outcome)


def test_an_answer_of_one_server_is_given_by_another(registry, adder, follower):
    registry.run("push", adder(2.0), "--alias", "champion")
    one, two = follower(), follower()
    until(ask, one, 5.0)
    until(ask, two, 5.0)
    assert ask(one) == (2.0, "miss")
    until(lambda: shared(one, "written") >= 2)
    assert ask(two) == (2.0, "shared")
    assert ask(two) == (2.0, "hit")


def test_after_a_swap_no_server_gives_an_old_answer(registry, adder, follower):
    registry.run("push", adder(2.0), "--alias", "champion")
    one, two = follower(), follower()
    until(lambda: ask(one) == (2.0, "hit"))
    until(lambda: ask(two) == (2.0, "hit"))
    registry.run("push", adder(3.0), "--alias", "champion")
    for server in (one, two):
        until(lambda server=server: ask(server)[0] == 3.0)
        for _ in range(20):
            assert ask(server)[0] == 3.0


def test_an_altered_answer_is_computed_again(registry, adder, follower, redis):
    registry.run("push", adder(2.0), "--alias", "champion")
    one, two = follower(), follower()
    until(ask, two, 5.0)
    until(ask, one)
    until(lambda: shared(one, "written") >= 1)
    for key in redis.command("KEYS", "tidegate:answer:*").split():
        redis.command("SETRANGE", key, "20", "x")
    assert ask(two) == (2.0, "miss")
    assert shared(two, "unreadable") == 1


def test_answers_are_computed_while_redis_is_away(registry, adder, follower, redis):
    registry.run("push", adder(2.0), "--alias", "champion")
    server = follower()
    until(ask, server, 5.0)
    redis.kill()
    until(away, server)
    assert ask(server) == (2.0, "miss")
    assert ask(server) == (2.0, "hit")


def test_no_answer_of_a_tenant_reaches_another_through_redis(registry, adder, follower):
    registry.run("push", adder(2.0), "--alias", "champion")
    keys = Keys(registry.data)
    acme, umbrella = (keys.create(name, "admin", "--tenant", name) for name in ("acme", "umbrella"))
    protected = {"TIDEGATE_AUTH__ENABLED": "true", "TIDEGATE_AUTH__PUBLIC_METRICS": "true"}
    one, two = follower(environment=protected), follower(environment=protected)
    for server in (one, two):
        until(ask, server, 5.0, acme)
    assert ask(one, 0.0, acme) == (2.0, "miss")
    until(lambda: shared(one, "written") >= 2)
    assert ask(two, 0.0, umbrella) == (2.0, "miss"), "neither from the memory nor from Redis"
    assert ask(one, 0.0, umbrella)[1] in ("miss", "shared"), "only what was computed for itself"
    assert ask(two, 0.0, acme) == (2.0, "shared")
    assert ask(two, 0.0, umbrella) == (2.0, "hit")


def test_a_redis_that_takes_writes_and_never_answers_holds_up_nobody_for_long(replica):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        # Connections are opened by the kernel, and what is sent stays in its buffers.
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}"
        server = replica(rule(4), timeout_ms=100, url=url, wait=False)
        assert codes(server, 6) == [200] * 4 + [429] * 2
        until(lambda: "redis.lost" in events(server))
        assert any("Redis" in problem for problem in health(server).json()["problems"])
        assert not server.metric("tidegate_redis_commands_total", command="lease", outcome="answered")


def test_a_redis_that_became_a_replica_counts_as_away_until_it_takes_writes_again(replica, redis):
    server = replica(rule(1_000_000, "requests_per_second = 1000000"))
    assert codes(server, 5) == [200] * 5
    # As after a failover: the old master is alive, and answers every write with READONLY.
    redis.command("REPLICAOF", "127.0.0.1", "1")
    until(away, server)
    problems = until(lambda: [p for p in health(server).json()["problems"] if "Redis" in p])
    assert codes(server, 20) == [200] * 20, "each server goes on by itself"
    assert "READONLY" in str(problems).upper() or "read" in str(problems), problems
    redis.command("REPLICAOF", "NO", "ONE")
    until(connected, server)
    until(lambda: "redis.found" in events(server))
    assert codes(server, 5) == [200] * 5
