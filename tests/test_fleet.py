"""A server that follows the registry: versions come, take over, fail, make room and go, and no request notices."""

import os
import random
import struct
import threading

import pytest
import requests
import tritonclient.http

from conftest import GRAPHS, PATIENCE_S
from parts import Network, ObjectStore, Postgres, until

# Larger for the figures in docs/benchmarks.md.
SWAPS = int(os.environ.get("TIDEGATE_SWAPS", "20"))
CYCLES = int(os.environ.get("TIDEGATE_CYCLES", "60"))
CLIENTS = 16
# What a version is reckoned to take does not depend on the machine then.
ONE_INSTANCE = "[engine_options]\ninstances = 1\n"


@pytest.fixture
def adder(tmp_path):
    """Bundles of a model that adds a number, each content of its own size and digest."""

    def adder(added, name="adder", manifest=""):
        graph = (GRAPHS / "add_constant.onnx").read_bytes()
        bias = struct.pack("<4f", 1.0, -1.0, 0.5, 2.0)
        assert graph.count(bias) == 1
        folder = tmp_path / f"{name}-{added}"
        folder.mkdir()
        (folder / "model.onnx").write_bytes(graph.replace(bias, struct.pack("<4f", *[added] * 4)))
        (folder / "model.toml").write_text(f'name = "{name}"\n{manifest}')
        return folder

    return adder


@pytest.fixture
def follow(registry, start, tmp_path):
    """A server that follows the test's registry, with a `[fleet]` section."""

    def follow(fleet="", paths=(), follow_too=False, **options):
        config = tmp_path / "tidegate.toml"
        config.write_text(f"[fleet]\npoll_interval_ms = 50\n{fleet}")
        flags = ("--config", str(config), *(("--registry",) if follow_too else ()))
        return start(*paths, data=registry.data, flags=flags, **options)

    return follow


def ask(server, model="adder", version=None, session=requests):
    """Adds to zero: the answer is the number that the version adds."""
    path = f"/v2/models/{model}" + (f"/versions/{version}" if version else "") + "/infer"
    body = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [0, 0, 0, 0]}]}
    return session.post(server.url(path), json=body, timeout=PATIENCE_S)


def added(response):
    assert response.status_code == 200, response.text
    numbers = set(response.json()["outputs"][0]["data"])
    assert len(numbers) == 1
    return numbers.pop()


def index(server):
    entries = requests.post(server.url("/v2/repository/index"), timeout=PATIENCE_S).json()
    return {(entry["name"], entry.get("version", "")): entry for entry in entries}


def stages(server):
    return {f"{name}:{version}": entry["stage"] for (name, version), entry in index(server).items()}


def health(server):
    return requests.get(server.url("/v2/health/ready"), timeout=PATIENCE_S)


def test_what_is_pushed_answers_and_what_is_rolled_back_returns(registry, adder, follow):
    server = follow()
    assert "the registry is empty" in server.lines[-1] and health(server).status_code == 200
    assert ask(server).status_code == 404
    registry.out("push", adder(1), "--alias", "champion")
    until(lambda: ask(server).status_code == 200)
    assert added(ask(server)) == 1 and ask(server).json()["model_version"] == "1"
    registry.out("push", adder(2), "--alias", "challenger")
    until(lambda: stages(server).get("adder:2") == "ready")
    assert added(ask(server)) == 1, "the champion answers"
    assert added(ask(server, version="challenger")) == 2 and added(ask(server, version="2")) == 2
    registry.out("registry", "alias", "set", "champion", "adder:2")
    until(lambda: added(ask(server)) == 2)
    until(lambda: stages(server) == {"adder:2": "ready"})
    gone = ask(server, version="1")
    assert gone.status_code == 404 and gone.json()["code"] == "unknown_version"
    assert registry.out("rollback", "adder") == "adder@champion -> adder:1 (was adder:2)"
    until(lambda: added(ask(server)) == 1)
    listed = index(server)["adder", "1"]
    assert listed["default"] and listed["aliases"] == ["champion"] and listed["memory_bytes"] > 0


def test_what_a_server_uses_is_not_deleted_until_it_stops(registry, adder, follow):
    registry.out("push", adder(1))
    server = follow()
    until(lambda: "serves it [in_use]" in registry.run("registry", "delete", "adder:1", check=False).stderr)
    server.stop()
    registry.out("registry", "delete", "adder:1")


def clients(server, stop, failures, seen):
    """Threads that ask until they are told to stop, and hold each answer against the version that gave it."""

    def run():
        with requests.Session() as session:
            while not stop.is_set():
                try:
                    response = ask(server, session=session)
                except requests.RequestException as error:
                    failures.append(repr(error))
                    continue
                if response.status_code != 200:
                    failures.append(response.text)
                    continue
                version = int(response.json()["model_version"])
                seen.append(version)
                if added(response) != version:
                    failures.append(f"version {version} added {added(response)}")

    threads = [threading.Thread(target=run) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    return threads


def test_swaps_under_load_fail_no_request(registry, adder, follow):
    registry.out("push", adder(1), "--alias", "champion")
    registry.out("push", adder(2))
    server = follow()
    stop, failures, seen = threading.Event(), [], []
    threads = clients(server, stop, failures, seen)
    try:
        for swap in range(SWAPS):
            version = 2 - swap % 2
            registry.out("registry", "alias", "set", "champion", f"adder:{version}")
            until(lambda version=version: ask(server).json()["model_version"] == str(version))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failures, failures[:3]
    assert set(seen) == {1, 2} and len(seen) > SWAPS


def corrupt(registry, digest_of):
    """Moves the stored content of a file out of the way; gives what puts it back."""
    size = digest_of.stat().st_size
    objects = [path for path in (registry.data / "objects").rglob("*") if path.is_file() and path.stat().st_size == size]
    kept = {path: path.read_bytes() for path in objects if path.read_bytes() == digest_of.read_bytes()}
    assert len(kept) == 1
    for path in kept:
        path.write_bytes(bytes(size))
    return lambda: [path.write_bytes(content) for path, content in kept.items()]


def test_a_version_that_cannot_be_loaded_leaves_the_old_one_and_is_tried_again(registry, adder, follow):
    registry.out("push", adder(1), "--alias", "champion")
    server = follow()
    second = adder(2)
    registry.out("push", second)
    restore = corrupt(registry, second / "model.onnx")
    registry.out("registry", "alias", "set", "champion", "adder:2")
    failed = until(lambda: index(server).get(("adder", "2")) if stages(server).get("adder:2") == "failed" else None)
    assert "object_corrupt" in failed["reason"]
    assert added(ask(server)) == 1
    answer = health(server)
    assert answer.status_code == 200 and answer.json()["status"] == "degraded"
    assert "adder:2 is not served" in answer.json()["problems"][0]
    assert server.metric("tidegate_model_loads_total", model="adder", outcome="failed") >= 1
    until(lambda: "version.load_failed adder:2" in registry.out("registry", "events"))
    restore()
    until(lambda: added(ask(server)) == 2)
    until(lambda: health(server).json() == {"ready": True, "status": "ready", "problems": []})


def test_a_version_that_breaks_its_contract_on_this_engine_is_not_served(registry, adder, follow):
    manifest = 'golden = [{ file = "golden.json" }]\n'
    folder = adder(1, manifest=manifest)
    sample = (
        '{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [0, 0, 0, 0]}],'
        ' "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 4], "data": [%s]}]}'
    )
    (folder / "golden.json").write_text(sample % "1, 1, 1, 1")
    registry.out("push", folder)
    (folder / "golden.json").write_text(sample % "1, 1, 1, 7")
    assert "a check failed" in registry.error("push", folder), "refused here ..."
    registry.out("push", folder, "--no-check")
    server = follow()
    failed = until(lambda: index(server).get(("adder", "2")))
    assert failed["stage"] == "failed" and "golden sample golden.json" in failed["reason"], "... and there"
    assert ask(server).status_code == 503 and ask(server).json()["code"] == "not_ready"


def test_a_restart_without_the_registry_serves_from_the_cache(registry, adder, follow):
    registry.out("push", adder(1), "--alias", "champion")
    server = follow()
    assert added(ask(server)) == 1
    server.stop()
    gone = {"TIDEGATE_REGISTRY__DATABASE": "postgres://nobody@127.0.0.1:1/none"}
    server = follow(environment=gone)
    assert added(ask(server)) == 1
    answer = health(server).json()
    assert answer["status"] == "degraded" and "the registry cannot be read" in answer["problems"][0]
    assert server.metric("tidegate_registry_reachable") == 0


@pytest.fixture
def shared(registry, tmp_path):
    """The registry in PostgreSQL and an S3-compatible store, each behind a network that can be cut; gives the networks
    and what a server needs to be told."""
    parts = [Postgres(tmp_path / "postgres"), ObjectStore()]
    database, storage = networks = [Network(part.port) for part in parts]
    environment = {
        "TIDEGATE_REGISTRY__DATABASE": f"postgres://tidegate@127.0.0.1:{database.port}/registry",
        "TIDEGATE_REGISTRY__STORAGE": "s3://models/production",
        "AWS_ENDPOINT": f"http://127.0.0.1:{storage.port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
    }
    registry.environment = environment
    yield database, storage, environment
    for part in [*networks, *parts]:
        part.stop()


def test_a_database_that_goes_away_disturbs_nothing(registry, adder, follow, shared):
    database, _, environment = shared
    registry.out("push", adder(1), "--alias", "champion")
    server = follow(environment=environment)
    assert added(ask(server)) == 1
    database.cut()
    until(lambda: health(server).json()["status"] == "degraded")
    assert added(ask(server)) == 1
    assert server.metric("tidegate_registry_reachable") == 0
    assert "[database_unavailable]" in registry.error("push", adder(2), "--alias", "champion")
    database.mend()
    registry.out("push", adder(3), "--alias", "champion")
    until(lambda: added(ask(server)) == 3)
    until(lambda: health(server).json()["status"] == "ready")


def test_an_object_store_that_goes_away_or_is_slow_disturbs_nothing(registry, adder, follow, shared):
    _, storage, environment = shared
    registry.out("push", adder(1), "--alias", "champion")
    registry.out("push", adder(2))
    server = follow(environment=environment)
    storage.cut()
    registry.out("registry", "alias", "set", "champion", "adder:2")
    failed = until(lambda: index(server).get(("adder", "2")) if stages(server).get("adder:2") == "failed" else None)
    assert "storage_unavailable" in failed["reason"], failed
    assert added(ask(server)) == 1
    storage.delay_s = 0.1
    storage.mend()
    until(lambda: added(ask(server)) == 2)


def test_requests_for_a_lazy_version_wait_for_one_load(registry, adder, follow):
    registry.out("push", adder(1), "--alias", "champion")
    server = follow("lazy = true\n")
    assert stages(server) == {"adder:1": "absent"}
    assert requests.get(server.url("/v2/models/adder/ready"), timeout=PATIENCE_S).status_code == 200
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(ask(server))) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == CLIENTS and {added(answer) for answer in answers} == {1}
    cold = [answer for answer in answers if answer.json().get("parameters", {}).get("cold_start")]
    assert cold and server.metric("tidegate_cold_start_requests_total", model="adder") == len(cold)
    assert server.metric("tidegate_model_loads_total", model="adder", outcome="ok") == 1
    assert "parameters" not in ask(server).json()


def test_a_lazy_model_is_swapped_without_a_cold_start(registry, adder, follow):
    registry.out("push", adder(1), "--alias", "champion")
    server = follow("lazy = true\n")
    assert added(ask(server)) == 1
    registry.out("push", adder(2), "--alias", "champion")
    until(lambda: stages(server) == {"adder:2": "ready"})
    answer = ask(server)
    assert added(answer) == 2 and "parameters" not in answer.json()


def test_the_memory_budget_holds_and_everything_is_answered(registry, adder, follow):
    models = 12
    for model in range(models):
        registry.out("push", adder(model, name=f"m{model}", manifest=ONE_INSTANCE))
    # Reckoned to take 2 MiB, and half a MiB at least once loaded: nine at most fit beside one that is being loaded.
    budget = 13 << 19
    server = follow(f'memory_budget_bytes = {budget}\npinned = ["m0"]\n')
    assert len([stage for stage in stages(server).values() if stage == "ready"]) < models
    chooser = random.Random(7)
    weights = [1 / (model + 1) for model in range(models)]
    for model in chooser.choices(range(models), weights, k=120):
        assert added(ask(server, f"m{model}")) == model
        assert server.metric("tidegate_memory_charged_bytes") <= budget
    assert server.metric("tidegate_evictions_total") > 0
    assert stages(server)["m0:1"] == "ready", "pinned"
    assert not server.metric("tidegate_evictions_total", model="m0")


def test_a_swap_under_a_tight_budget_leaves_the_old_one_until_the_new_one_answers(registry, adder, follow):
    registry.out("push", adder(1, manifest=ONE_INSTANCE), "--alias", "champion")
    registry.out("push", adder(7, name="other", manifest=ONE_INSTANCE))
    second = adder(2, manifest=ONE_INSTANCE)
    registry.out("push", second)
    server = follow(f"memory_budget_bytes = {13 << 19}\n")
    restore = corrupt(registry, second / "model.onnx")
    registry.out("registry", "alias", "set", "champion", "adder:2")
    until(lambda: stages(server).get("adder:2") == "failed")
    stop, failures, seen = threading.Event(), [], []
    threads = clients(server, stop, failures, seen)
    try:
        # Others come and go meanwhile, and take the place of what was not asked for longest.
        for _ in range(20):
            assert added(ask(server, "other")) == 7
        restore()
        until(lambda: stages(server).get("adder:2") == "ready")
        until(lambda: added(ask(server)) == 2)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failures, failures[:3]
    assert set(seen) == {1, 2}


def test_two_cold_starts_at_once_take_turns_with_the_memory(registry, adder, follow):
    for model in range(2):
        registry.out("push", adder(model, name=f"m{model}", manifest=ONE_INSTANCE))
    # Room for one that is being loaded.
    server = follow(f"lazy = true\nmemory_budget_bytes = {5 << 19}\n")
    answers = []
    threads = [threading.Thread(target=lambda at=at: answers.append(ask(server, f"m{at % 2}"))) for at in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8 and all(answer.status_code == 200 for answer in answers), [a.text for a in answers]


def test_a_model_of_a_folder_keeps_its_name(registry, adder, follow):
    folder = adder(1)
    registry.out("push", adder(2))
    server = follow(paths=(folder,), follow_too=True)
    assert added(ask(server)) == 1
    registry.out("push", adder(3), "--alias", "champion")
    registry.out("push", adder(4, name="other"))
    until(lambda: ask(server, "other").status_code == 200)
    assert added(ask(server)) == 1


def test_what_can_never_fit_is_refused_with_the_numbers(registry, adder, follow):
    registry.out("push", adder(1))
    server = follow("memory_budget_bytes = 1000\n")
    answer = ask(server)
    assert answer.status_code == 503 and "fleet.memory_budget_bytes is 1000" in answer.json()["error"]


def test_models_are_unloaded_and_loaded_by_hand(registry, adder, follow):
    registry.out("push", adder(1))
    server = follow()
    client = tritonclient.http.InferenceServerClient(server.http)
    client.unload_model("adder")
    assert not client.is_model_ready("adder") and ask(server).json()["code"] == "not_ready"
    until(lambda: stages(server) == {"adder:1": "unloaded"})
    client.load_model("adder")
    assert client.is_model_ready("adder") and added(ask(server)) == 1


def resident(server):
    with open(f"/proc/{server.process.pid}/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_loads_and_unloads_leave_no_memory_behind(registry, adder, follow):
    registry.out("push", adder(1), "--alias", "champion")
    registry.out("push", adder(5, name="other"))
    server = follow()
    stop, failures, seen = threading.Event(), [], []
    threads = clients(server, stop, failures, seen)
    after = []
    try:
        for _ in range(CYCLES):
            for step, stage in (("unload", "unloaded"), ("load", "ready")):
                url = server.url(f"/v2/repository/models/other/{step}")
                assert requests.post(url, timeout=PATIENCE_S).status_code == 200
                until(lambda stage=stage: stages(server)["other:1"] == stage)
            after.append(resident(server))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failures, failures[:3]
    print(f"resident after 20 cycles {after[19]}, after {CYCLES} {after[-1]}: {after[-1] / after[19]:.3f}")
    assert after[-1] <= 1.05 * after[19]


def test_one_configured_policy_for_one_model(registry, adder, follow):
    for number in (1, 2, 3):
        registry.out("push", adder(number), *(["--alias", "champion"] if number == 1 else []))
    server = follow('[fleet.model.adder]\nversions = "latest:2"\n')
    assert stages(server) == {"adder:2": "ready", "adder:3": "ready"} and added(ask(server)) == 3


def test_a_replica_with_a_cache_of_its_own_sees_the_same(registry, adder, follow, start, tmp_path):
    registry.out("push", adder(1), "--alias", "champion")
    one = follow()
    shared = {
        "TIDEGATE_REGISTRY__DATABASE": str(registry.data / "registry.db"),
        "TIDEGATE_REGISTRY__STORAGE": str(registry.data / "objects"),
    }
    two = start(data=tmp_path / "replica", environment=shared)
    assert added(ask(one)) == added(ask(two)) == 1
    registry.out("push", adder(2), "--alias", "champion")
    until(lambda: added(ask(one)) == added(ask(two)) == 2)
