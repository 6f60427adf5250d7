"""Looked-up features: the embedded store, Redis as a real Feast writes it, and Feast's own feature server."""

import json
import os
import random
import socket
import struct
import subprocess
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import requests

from conftest import BINARY, PATIENCE_S, ROOT
from parts import Network, Redis, free_port, until
from test_auth import Keys, bearer, wait_until_known
from test_pipelines import ask, refused

PYTHON = os.environ.get("TIDEGATE_FEAST", str(Path.home() / ".cache/tidegate/venv/feast/bin/python"))
# `matmul` takes rows of four numbers.
PIPELINE = """
[pipeline]
fields = [{{ name = "driver_id", type = "integer" }}]
inputs = [{{ name = "x", columns = ["rate", "rate", "rate", "rate"] }}]
after = [{{ step = "pick", input = "y", index = 0, output = "first" }}]
response = [{response}]
[[pipeline.lookups]]
name = "driver"
store = "{store}"
view = "{view}"
entity = [{{ key = "driver_id" }}]
features = [{features}]
{more}
"""
EMBEDDED = '{ name = "rate" }, { name = "city", type = "string", default = "nowhere" }'
# Every type that Feast has and a column can have.
FEAST = """
    { name = "rate", feature = "conv_rate" }, { name = "acc_rate" }, { name = "trips", type = "integer" },
    { name = "city", type = "string" }, { name = "is_new", type = "boolean" }, { name = "since", type = "time" },
"""
FEAST_COLUMNS = ["rate", "acc_rate", "trips", "city", "is_new", "since"]
FEAST_NAMES = ["conv_rate", *FEAST_COLUMNS[1:]]


def pipeline(store="embedded", view="driver", features=EMBEDDED, response=("rate", "city", "first"), more=""):
    response = ", ".join(f'{{ name = "{name}" }}' for name in response)
    return PIPELINE.format(store=store, view=view, features=features, response=response, more=more)


def rows(*drivers):
    return {"instances": [{"driver_id": driver} for driver in drivers]}


def answers(server, *drivers, **options):
    answer = ask(server, rows(*drivers), **options)
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"]


def put(server, *rows, status=200, **options):
    answer = requests.put(server.url("/api/features"), json={"rows": rows}, timeout=PATIENCE_S, **options)
    assert answer.status_code == status, answer.text
    return answer.json()


def row(driver, rate, **more):
    return {"view": "driver", "entity": {"driver_id": driver}, "features": {"rate": rate, **more.pop("features", {})}, **more}


def command(*words, status=0):
    ended = subprocess.run([BINARY, "features", *map(str, words)], capture_output=True, text=True, timeout=PATIENCE_S)
    assert ended.returncode == status, ended.stdout + ended.stderr
    return ended.stdout if status == 0 else ended.stderr


def ago(**time):
    return (datetime.now(timezone.utc) - timedelta(**time)).isoformat()


# --- the embedded store ---


def test_each_row_gets_the_features_of_its_entity_in_one_round_trip(start, graph):
    server = start(graph("matmul", manifest=pipeline()))
    put(server, *(row(driver, driver / 4) for driver in range(300)))
    drivers = random.Random(0).choices(range(300), k=1000)
    assert [answer["rate"] for answer in answers(server, *drivers)] == [driver / 4 for driver in drivers]
    assert server.metric("tidegate_feature_lookups_total", store="embedded", outcome="answered") == 1
    values = {"store": "embedded", "view": "driver"}
    assert server.metric("tidegate_feature_values_total", outcome="found", **values) == 1000
    assert server.metric("tidegate_feature_values_total", outcome="default", **values) == 1000
    assert server.metric("tidegate_feature_age_seconds_count", **values) == len(set(drivers))


def test_a_missing_entity_takes_the_default_or_fails_its_row(start, graph):
    server = start(graph("matmul", manifest=pipeline()))
    put(server, row(1, 0.5), row(2, 0.25, features={"city": "Rome"}))
    assert [answer["city"] for answer in answers(server, 1, 2)] == ["nowhere", "Rome"]
    assert "row 1: field \"rate\" of lookup \"driver\" has no value for driver_id 3" in refused(server, rows(1, 3))
    partial = requests.post(server.url("/v1/endpoints/m/predict?partial=true"), json=rows(1, 3, 2), timeout=PATIENCE_S).json()
    assert [answer and answer["rate"] for answer in partial["predictions"]] == [0.5, None, 0.25]
    assert partial["errors"][0]["row"] == 1
    # KServe v1 goes the same way.
    v1 = requests.post(server.url("/v1/models/m:predict"), json=rows(2), timeout=PATIENCE_S).json()
    assert v1["predictions"][0]["city"] == "Rome"


def test_no_client_says_what_the_store_has_to_say(start, graph):
    server = start(graph("matmul", manifest=pipeline()))
    put(server, row(1, 0.5))
    assert "field \"rate\" is unknown" in refused(server, {"instances": [{"driver_id": 1, "rate": 1.0}]})


def test_a_value_older_than_max_age_is_refused(start, graph):
    server = start(graph("matmul", manifest=pipeline(more="max_age_s = 3600")))
    put(server, row(1, 0.5, event_time=ago(hours=2)), row(2, 0.5, event_time=ago(minutes=50)))
    assert answers(server, 2)[0]["rate"] == 0.5
    problem = refused(server, rows(2, 1), "features_stale", 503)
    assert "row 1" in problem and "lookup \"driver\"" in problem and "max_age_s is 3600" in problem
    assert server.metric("tidegate_feature_values_total", outcome="stale") == 1
    old = requests.get(server.url("/metrics"), timeout=PATIENCE_S).text
    assert 'tidegate_feature_age_seconds_bucket{store="embedded",view="driver",le="3600"} 2' in old
    assert 'tidegate_feature_age_seconds_bucket{store="embedded",view="driver",le="10800"} 3' in old
    put(server, row(1, 0.75))
    assert answers(server, 1)[0]["rate"] == 0.75
    # Whoever comes late with an older value changes nothing.
    assert put(server, row(1, 0.1, event_time=ago(hours=1))) == {"written": 0, "older": 1}
    assert answers(server, 1)[0]["rate"] == 0.75


def test_an_objective_of_freshness_counts_features_that_were_too_old(start, graph, tmp_path):
    config = tmp_path / "slo.toml"
    config.write_text('[[slo]]\nname = "fresh"\nendpoint = "m"\nsli = "freshness"\ntarget = 0.5\n')
    server = start(graph("matmul", manifest=pipeline(more="max_age_s = 60")), flags=("--config", str(config)))
    put(server, row(1, 0.5, event_time=ago(hours=2)), row(2, 0.5))
    answers(server, 2)
    refused(server, rows(1), "features_stale", 503)
    # No fault of the store: it counts against nothing.
    refused(server, rows(3))

    def objective():
        return requests.get(server.url("/api/slos"), timeout=PATIENCE_S).json()[0]

    until(lambda: objective()["total"] == 2)
    assert (objective()["sli"], objective()["good"]) == ("freshness", 1)


def test_a_kept_answer_is_never_that_of_older_features(start, graph, tmp_path):
    config = tmp_path / "cache.toml"
    config.write_text('[[cache.endpoint]]\nname = "m"\n')
    server = start(graph("matmul", manifest=pipeline()), flags=("--config", str(config)))
    put(server, row(1, 0.5))
    first = answers(server, 1)
    assert answers(server, 1) == first
    assert server.metric("tidegate_cache_requests_total", outcome="hit") == 1
    put(server, row(1, 0.75))
    second = answers(server, 1)
    assert second[0]["rate"] == 0.75 and second[0]["first"] != first[0]["first"]
    put(server, row(1, 0.75, features={"city": "Rome"}))
    # The model gets the same numbers, and the steps after it other texts.
    assert answers(server, 1) == [{**second[0], "city": "Rome"}]


def test_the_command_writes_and_reads_features_of_a_server_and_of_a_folder(start, graph, tmp_path):
    server = start(graph("matmul", manifest=pipeline()), data=tmp_path / "data")
    url = ("--url", server.url(""))
    assert command("put", "driver", "--entity", "driver_id=7", "rate=0.5", "city=Rome", *url) == "2 values written\n"
    assert answers(server, 7)[0]["city"] == "Rome"
    shown = command("get", "driver", "--entity", "driver_id=7", *url)
    assert "city" in shown and "Rome" in shown and "0.5" in shown
    lines = tmp_path / "rows.jsonl"
    lines.write_text("".join(json.dumps(row(driver, driver / 2)) + "\n" for driver in range(2500)))
    assert command("import", lines, *url) == "2500 values written\n"
    table = tmp_path / "rows.csv"
    table.write_text("driver_id,at,city\n8,2020-01-01,Paris\n9,2020-01-01,007\n")
    # A folder, while its server runs.
    data = ("--data", tmp_path / "data")
    by = ("--view", "driver", "--key", "driver_id", "--time", "at")
    assert command("import", table, *by, *data) == "2 values written\n"
    assert [answer["city"] for answer in answers(server, 8, 9)] == ["Paris", "007"]
    stored = json.loads(command("get", "driver", "--entity", "driver_id=9", "--json", *data))
    assert {one["feature"]: one["value"] for one in stored} == {"city": "007", "rate": 4.5}
    assert "2 values removed" in command("delete", "driver", "--entity", "driver_id=9", *url)
    assert "has no value" in refused(server, rows(9))
    assert "--all" in command("delete", "driver", *url, status=1)
    lines.write_text(json.dumps(row(1, 1.0)) + '\n{"view": "driver"}\n')
    assert "line 2" in command("import", lines, *url, status=1)
    lines.write_text(json.dumps(row(1, [1])))
    assert "row 0: \"rate\" is a list" in command("import", lines, *url, status=1)


def test_features_outlive_a_killed_server(start, graph, tmp_path):
    bundle = graph("matmul", manifest=pipeline())
    server = start(bundle, data=tmp_path / "data")
    put(server, row(1, 0.5))
    server.process.kill()
    server.wait()
    assert answers(start(bundle, data=tmp_path / "data"), 1)[0]["rate"] == 0.5


def test_only_who_may_reads_and_writes_features_and_it_is_audited(start, graph, tmp_path):
    keys = Keys(tmp_path / "data")
    tokens = {role: keys.create(role, role) for role in ("viewer", "deployer")}
    server = start(graph("matmul", manifest=pipeline()), data=keys.data, environment={"TIDEGATE_AUTH__ENABLED": "true"})
    wait_until_known(server, tokens["deployer"])
    put(server, row(1, 0.5), status=401)
    put(server, row(1, 0.5), status=403, headers=bearer(tokens["viewer"]))
    put(server, row(1, 0.5), headers=bearer(tokens["deployer"]))
    entity = {"view": "driver", "entity": {"driver_id": 1}}
    got = requests.post(server.url("/api/features/get"), json=entity, headers=bearer(tokens["deployer"]), timeout=PATIENCE_S)
    assert [one["value"] for one in got.json()["features"]] == [0.5]
    log = subprocess.run([BINARY, "audit", "list", "--json", "--data", keys.data], capture_output=True, text=True, timeout=PATIENCE_S).stdout
    assert "features.put" in log and "features.get" in log and "0.5" not in log


def test_samples_and_predict_take_the_features_from_the_records(graph, tmp_path):
    bundle = graph("matmul", manifest=pipeline() + '\n[[golden]]\nfile = "golden.json"\n')
    sample = {"request": {"instances": [{"driver_id": 1, "rate": 0.5}]}, "predictions": [{"rate": 0.5, "city": "nowhere"}]}
    (bundle / "golden.json").write_text(json.dumps(sample))
    checked = subprocess.run([BINARY, "check", bundle], capture_output=True, text=True, timeout=PATIENCE_S)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    table = tmp_path / "records.csv"
    table.write_text("driver_id,rate,city\n1,0.25,Rome\n")
    predicted = subprocess.run([BINARY, "predict", bundle, "--input", table], capture_output=True, text=True, timeout=PATIENCE_S)
    assert json.loads(predicted.stdout)["city"] == "Rome", predicted.stderr
    table.write_text("driver_id\n1\n")
    predicted = subprocess.run([BINARY, "predict", bundle, "--input", table], capture_output=True, text=True, timeout=PATIENCE_S)
    assert predicted.returncode != 0 and "no store is asked here" in predicted.stderr
    shown = subprocess.run([BINARY, "inspect", bundle], capture_output=True, text=True, timeout=PATIENCE_S).stdout
    assert "driver: rate, city by driver_id from driver of embedded" in shown


def test_hostile_rows_and_too_many_entities_are_refused(start, graph, tmp_path):
    config = tmp_path / "features.toml"
    config.write_text("[features]\nmax_entities = 100\n")
    server = start(graph("matmul", manifest=pipeline()), flags=("--config", str(config)))
    put(server, row(1, 0.5))
    assert len(answers(server, *[1] * 500)) == 500
    assert "features.max_entities" in refused(server, rows(*range(101)), "shape_overflow")
    assert "1 to 256" in put(server, {**row(1, 0.5), "view": "v" * 300}, status=400)["error"]
    assert "keys" in put(server, {**row(1, 0.5), "entity": {str(key): 1 for key in range(9)}}, status=400)["error"]
    assert put(server, {**row(1, 0.5), "more": 1}, status=400)["code"] == "malformed_request"
    put(server, row(2, "text"))
    problem = refused(server, rows(1, 2), "features_invalid", 502)
    assert "row 1" in problem and "is of type string in the store, its type is number" in problem
    unknown = start(graph("matmul", model="n", manifest=pipeline(store="feast")))
    answer = ask(unknown, rows(1), name="n")
    assert (answer.status_code, answer.json()["code"]) == (503, "features_unavailable")
    assert "no store \"feast\" is configured" in answer.json()["error"]


# --- Redis and the feature server of a real Feast ---


class Feast:
    """A Feast with views in Redis and a feature server; see tests/feast/store.py."""

    def __init__(self, folder):
        self.redis = Redis(folder / "redis")
        self.port = free_port()
        self.http = f"http://127.0.0.1:{self.port}"
        program = [PYTHON, str(ROOT / "tests/feast/store.py"), str(folder / "feast"), str(self.redis.port), str(self.port)]
        self.log = folder / "feast.log"
        environment = {**os.environ, "FEAST_USAGE": "False"}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
        self.answer()
        until(self.serves)

    def serves(self):
        try:
            return requests.get(self.http + "/health", timeout=1).ok
        except requests.RequestException:
            return False

    def answer(self):
        # Progress bars share the standard output.
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise RuntimeError(self.log.read_text())

    def do(self, what, **arguments):
        self.process.stdin.write(json.dumps({"do": what, **arguments}) + "\n")
        self.process.stdin.flush()
        return self.answer()["answer"]

    def read(self, drivers):
        features = [f"driver_stats:{name}" for name in FEAST_NAMES]
        return self.do("read", features=features, entities={"driver_id": drivers})

    def stop(self):
        self.process.kill()
        self.process.wait(PATIENCE_S)
        self.redis.stop()


@pytest.fixture(scope="module")
def feast(tmp_path_factory):
    feast = Feast(tmp_path_factory.mktemp("feast"))
    yield feast
    feast.stop()


def redis_store(url, project="shop", more=""):
    return f'[[features.store]]\nname = "feast"\nkind = "redis"\nurl = "{url}"\nproject = "{project}"\n{more}'


def http_store(url):
    return f'[[features.store]]\nname = "feast"\nkind = "feast_http"\nurl = "{url}"\n'


@pytest.fixture
def looking_up(start, graph, tmp_path):
    """Starts servers that look features of Feast up in a store."""

    def looking_up(store, wait=True, view="driver_stats", features=FEAST, response=FEAST_COLUMNS, **options):
        config = tmp_path / "stores.toml"
        config.write_text(store)
        bundle = graph("matmul", manifest=pipeline("feast", view, features, response, **options))
        server = start(bundle, flags=("--config", str(config)))
        if wait:
            until(is_up, server)
        return server

    return looking_up


def is_up(server):
    return server.metric("tidegate_feature_store_up", store="feast") == 1


def is_away(server):
    return server.metric("tidegate_feature_store_up", store="feast") == 0


def columns(found):
    """Answers as Feast gives them: a list for each feature."""
    table = {name: [one[column] for one in found] for name, column in zip(FEAST_NAMES, FEAST_COLUMNS)}
    return {**table, "since": [one / 1e6 for one in table["since"]]}


@pytest.mark.parametrize("kind", ["redis", "http"])
def test_materialized_features_are_those_that_feast_reads(looking_up, feast, kind):
    server = looking_up(redis_store(feast.redis.url) if kind == "redis" else http_store(feast.http), more="timeout_ms = 10000")
    # In any order, some twice, more than one message has room for.
    drivers = random.Random(1).choices(range(200), k=600)
    expected = feast.read(drivers)
    expected.pop("driver_id")
    found = columns(answers(server, *drivers))
    acc_rates = found.pop("acc_rate"), expected.pop("acc_rate")
    assert acc_rates[0] == pytest.approx(acc_rates[1], rel=1e-6)
    assert found == expected
    assert server.metric("tidegate_feature_lookups_total", store="feast", outcome="answered") == 1


@pytest.mark.parametrize("kind", ["redis", "http"])
def test_a_key_of_text_and_a_number_of_32_bits(start, graph, tmp_path, feast, kind):
    config = tmp_path / "stores.toml"
    config.write_text(redis_store(feast.redis.url) if kind == "redis" else http_store(feast.http))
    manifest = pipeline("feast", "baskets", '{ name = "rate", feature = "amount" }', ["rate"], "timeout_ms = 10000")
    manifest = manifest.replace('{ name = "driver_id", type = "integer" }', '{ name = "who", type = "string" }, { name = "shop", type = "integer" }')
    manifest = manifest.replace('{ key = "driver_id" }', '{ key = "shop", type = "int32" }, { key = "customer", field = "who" }')
    server = start(graph("matmul", manifest=manifest), flags=("--config", str(config)))
    until(is_up, server)
    found = ask(server, {"instances": [{"who": f"c{number}", "shop": number % 3} for number in (19, 0, 7)]}).json()
    assert [one["rate"] for one in found["predictions"]] == [4.75, 0.0, 1.75]
    assert "has no value" in refused(server, {"instances": [{"who": "c1", "shop": 2}]})


def test_pushed_features_are_seen_by_the_next_request(looking_up, feast):
    server = looking_up(redis_store(feast.redis.url))
    assert answers(server, 150)[0]["rate"] == pytest.approx(0.15)
    feast.do("push", numbers=[150], rate=0.5)
    assert answers(server, 150)[0]["rate"] == 75.0


@pytest.mark.parametrize("kind", ["redis", "http"])
def test_what_feast_calls_present_beyond_its_ttl_is_refused_here(looking_up, feast, kind):
    store = redis_store(feast.redis.url) if kind == "redis" else http_store(feast.http)
    server = looking_up(store, more="max_age_s = 7200\ntimeout_ms = 10000")
    assert answers(server, 1)[0]["city"] == "Zürich 1"
    problem = refused(server, rows(1, 999), "features_stale", 503)
    assert "row 1" in problem and "driver_id 999" in problem


@pytest.mark.parametrize("kind", ["redis", "http"])
def test_an_entity_that_feast_does_not_have(looking_up, feast, kind):
    features = '{ name = "rate", feature = "conv_rate", default = -1 }'
    store = redis_store(feast.redis.url) if kind == "redis" else http_store(feast.http)
    server = looking_up(store, features=features, response=["rate"], more="timeout_ms = 10000")
    found = [one["rate"] for one in answers(server, 12345, 2, 54321)]
    assert found == [-1.0, pytest.approx(0.002), -1.0]


def test_another_project_has_other_features(looking_up, feast):
    server = looking_up(redis_store(feast.redis.url, project="other"))
    assert "has no value" in refused(server, rows(1))


def test_the_feature_server_says_what_it_does_not_have(looking_up, feast):
    server = looking_up(http_store(feast.http), features='{ name = "rate", feature = "no" }', response=["rate"], more="timeout_ms = 10000")
    problem = refused(server, rows(1), "features_unavailable", 503)
    assert "lookup \"driver\"" in problem
    assert is_up(server), "it works, but not for this query"


@pytest.fixture
def own_redis(tmp_path):
    """A Redis that a test may kill, with one entity in it."""
    server = Redis(tmp_path / "own")
    fill(server)
    yield server
    server.stop()


def fill(redis):
    write(redis, 1, {"conv_rate": struct.pack("<Bd", 0x29, 0.5), "_ts": timestamp(int(time.time()))})


RATE = '{ name = "rate", feature = "conv_rate" }'
DEFAULT = '{ name = "rate", feature = "conv_rate", default = -1 }'


def timestamp(seconds):
    digits, field = seconds, bytearray([0x08])
    while digits > 127:
        field.append(digits & 127 | 128)
        digits >>= 7
    return bytes([*field, digits])


def key(driver):
    """The key of a driver, as Feast writes it in version 3."""
    name = b"driver_id"
    return struct.pack("<III", 1, 2, len(name)) + name + struct.pack("<IIq", 4, 8, driver) + b"shop"


# `murmur3_32` of `driver_stats:conv_rate`, little-endian, as Feast has computed it.
FIELD = next(
    bytes.fromhex(field["hex"])
    for field in json.loads((ROOT / "crates/features/tests/feast_vectors.json").read_text())["fields"]
    if field["name"] == "driver_stats:conv_rate"
)


def write(redis, driver, fields):
    named = {b"_ts:driver_stats" if name == "_ts" else FIELD: value for name, value in fields.items()}
    send(redis, b"HSET", key(driver), *(part for pair in named.items() for part in pair))


def send(redis, *words):
    """A command with any bytes."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(redis.socket))
        connection.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
        answer = connection.recv(100)
        assert not answer.startswith(b"-"), answer


def test_a_redis_that_is_killed_fails_fast_and_comes_back(looking_up, own_redis):
    server = looking_up(redis_store(own_redis.url), features=RATE, response=["rate"], more="timeout_ms = 10000")
    assert answers(server, 1)[0]["rate"] == 0.5
    own_redis.kill()
    until(is_away, server)
    answer = ask(server, rows(1))
    assert (answer.status_code, answer.json()["code"]) == (503, "features_unavailable")
    assert "lookup \"driver\": the feature store \"feast\" cannot be reached" in answer.json()["error"]
    assert answer.headers["Retry-After"] == "1"
    assert server.metric("tidegate_feature_lookups_total", store="feast", outcome="not_sent") >= 1
    health = requests.get(server.url("/v2/health/ready"), timeout=PATIENCE_S)
    assert health.json()["status"] == "degraded" and "feast" in health.json()["problems"][0]
    own_redis.start()
    fill(own_redis)
    until(is_up, server)
    assert answers(server, 1)[0]["rate"] == 0.5


def test_defaults_stand_in_for_a_redis_that_is_away_if_the_lookup_says_so(looking_up, own_redis):
    more = 'on_unavailable = "default"\ntimeout_ms = 10000'
    server = looking_up(redis_store(own_redis.url), features=DEFAULT, response=["rate"], more=more)
    assert answers(server, 1)[0]["rate"] == 0.5
    own_redis.kill()
    until(is_away, server)
    assert answers(server, 1)[0]["rate"] == -1
    assert server.metric("tidegate_feature_values_total", outcome="default", store="feast") == 1


def test_a_slow_redis_costs_the_timeout_a_few_times_and_then_nothing(looking_up, own_redis):
    network = Network(own_redis.port)
    try:
        store = redis_store(f"redis://127.0.0.1:{network.port}")
        server = looking_up(store, features=RATE, response=["rate"], more="timeout_ms = 50")
        until(lambda: ask(server, rows(1)).status_code == 200)
        network.hang()
        until(lambda: "did not answer in 50 ms" in refused(server, rows(1), "features_unavailable", 503))
        # After a few of them nothing waits any longer.
        until(lambda: "cannot be reached" in refused(server, rows(1), "features_unavailable", 503))
        assert is_away(server)
        network.mend()
        until(is_up, server)
        until(lambda: ask(server, rows(1)).status_code == 200)
    finally:
        network.stop()


def test_the_deadline_of_a_request_holds_while_it_waits_for_a_store(looking_up, own_redis):
    server = looking_up(redis_store(own_redis.url), features=RATE, response=["rate"], more="timeout_ms = 60000")
    own_redis.command("CLIENT", "PAUSE", "600000", "ALL")
    answer = ask(server, rows(1), headers={"Request-Timeout": "0.05"})
    assert (answer.status_code, answer.json()["code"]) == (504, "deadline_exceeded"), answer.text


def test_a_wrong_password_is_told_and_a_right_one_is_read_without_a_restart(looking_up, tmp_path):
    redis = Redis(tmp_path / "closed", "--requirepass", "right")
    try:
        secret = tmp_path / "password"
        secret.write_text("wrong")
        store = redis_store(redis.url, more=f'password_file = "{secret}"\n')
        server = looking_up(store, wait=False, features=DEFAULT, response=["rate"])
        until(lambda: "refuses the credential" in refused(server, rows(1), "features_unavailable", 503))
        assert "wrong" not in server.log.read_text()
        secret.write_text("right")
        until(is_up, server)
        assert answers(server, 1)[0]["rate"] == -1
    finally:
        redis.stop()


def test_hostile_values_fail_their_row_with_the_reason(looking_up, own_redis):
    server = looking_up(redis_store(own_redis.url), features=DEFAULT, response=["rate"])
    hostile = {
        2: (b"\x29\x00\x00", "cannot be decoded"),
        3: (b"\x12\x05hello", "is of type string in the store"),
        4: (b"\x0a" + b"\xff\xff\x7f" + b"x" * (2**21 - 1), "features.max_value_bytes"),
        5: (struct.pack("<Bd", 0x29, float("inf")), "beyond the range"),
        6: (b"\x7a\x0a\x0a\x08" + b"\x00" * 8, "is a list"),
    }
    for driver, (value, _) in hostile.items():
        write(own_redis, driver, {"conv_rate": value, "_ts": timestamp(int(time.time()))})
    send(own_redis, b"SET", key(7), b"no hash")
    hostile[7] = (None, "is no hash")
    for driver, (_, problem) in hostile.items():
        found = refused(server, rows(1, driver), "features_invalid", 502)
        assert "row 1" in found and problem in found, found
    url = server.url("/v1/endpoints/m/predict?partial=true")
    partial = requests.post(url, json=rows(1, *hostile, 1), timeout=PATIENCE_S).json()
    assert [one and one["rate"] for one in partial["predictions"]] == [0.5, *[None] * len(hostile), 0.5]
    assert {error["reason"] for error in partial["errors"]} == {"unreadable"}
    # NaN is how Python writes what is missing; without a time nothing is known to be fresh.
    write(own_redis, 8, {"conv_rate": struct.pack("<Bd", 0x29, float("nan"))})
    assert answers(server, 8)[0]["rate"] == -1
    assert is_up(server)
