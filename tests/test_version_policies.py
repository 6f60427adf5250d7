"""What operators are told of a server that does not serve what its registry's aliases mean, or what its configuration
names."""

import json
import subprocess

import requests

from conftest import BINARY, PATIENCE_S
from parts import until


def follow(start, registry, settings):
    config = registry.data.with_name("tidegate.toml")
    config.write_text(settings)
    return start(data=registry.data, flags=("--config", str(config), "--registry"))


def health(server):
    return requests.get(server.url("/v2/health/ready"), timeout=PATIENCE_S)


def doctor(server):
    command = [BINARY, "doctor", "--url", server.http, "--watch", "1", "--json"]
    return json.loads(subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S).stdout)["findings"]


def answering(server, model="m"):
    """The version that the server answers with by default."""
    index = requests.post(server.url("/v2/repository/index"), timeout=PATIENCE_S).json()
    return [entry["version"] for entry in index if entry["name"] == model and entry.get("default")]


def test_a_deprecated_champion_goes_on_answering_where_all_versions_are_served(registry, graph, start):
    registry.run("push", graph("identity_fp32"))
    registry.run("push", graph("gemm_relu_gemm"), "--alias", "champion")
    server = follow(start, registry, '[fleet]\nversions = "all"\n')
    until(lambda: answering(server) == ["2"])
    registry.run("registry", "deprecate", "m:2", "--reason", "replaced next month")
    # A version that is deprecated later shows that the first change has been read.
    registry.run("registry", "deprecate", "m:1", "--reason", "old")
    until(lambda: requests.get(server.url("/v2/models/m/versions/1"), timeout=PATIENCE_S).status_code == 404)
    assert answering(server) == ["2"]
    assert requests.get(server.url("/v2/models/m/versions/champion"), timeout=PATIENCE_S).ok


def test_a_rollback_that_no_server_follows_is_told(registry, graph, start):
    registry.run("push", graph("identity_fp32"), "--alias", "champion")
    registry.run("push", graph("gemm_relu_gemm"), "--alias", "champion")
    server = follow(start, registry, '[fleet]\nversions = "latest"\n')
    until(lambda: answering(server) == ["2"])
    until(lambda: health(server).json().get("problems") == [])

    rolled_back = registry.run("rollback", "m")
    assert rolled_back.stdout == "m@champion -> m:1 (was m:2)\n"
    assert "1 of 1 server did not switch to m:1" in rolled_back.stderr

    until(lambda: health(server).json()["problems"])
    told = health(server).json()
    assert told["status"] == "degraded"
    (problem,) = told["problems"]
    assert 'm@champion is m:1, but fleet.versions = "latest" leaves it out' in problem, problem
    assert any(finding["severity"] == "warning" and problem in finding["what"] for finding in doctor(server))


def test_a_rollback_that_servers_follow_is_silent(registry, graph, start):
    registry.run("push", graph("identity_fp32"), "--alias", "champion")
    registry.run("push", graph("gemm_relu_gemm"), "--alias", "champion")
    server = follow(start, registry, "")
    until(lambda: answering(server) == ["2"])
    assert registry.run("rollback", "m").stderr == ""
    until(lambda: answering(server) == ["1"])


def test_names_in_the_configuration_that_the_registry_does_not_have_are_told(registry, graph, start):
    registry.run("push", graph("identity_fp32"))
    server = follow(start, registry, '[fleet]\nmodels = ["chrun"]\npinned = ["frud"]\n')
    said = "\n".join(server.lines)
    assert 'fleet.models names "chrun", which is not in the registry' in said, said
    assert f"no model is served: the registry in {registry.data}/registry.db has 1 model" in said, said
    answer = health(server)
    assert answer.status_code == 503
    assert 'fleet.pinned names "frud", which is not in the registry' in answer.json()["error"]
    assert any("frud" in finding["what"] for finding in doctor(server))
    registry.run("push", graph("gemm_relu_gemm", model="frud"))
    until(lambda: health(server).status_code == 200)
    assert health(server).json()["problems"] == ['fleet.models names "chrun", which is not in the registry']


def test_an_empty_registry_is_named(registry, start):
    server = follow(start, registry, "")
    assert f"the registry is empty: add a model to {registry.data}/registry.db" in server.lines[-1]


def test_an_alias_is_set_in_either_order_and_a_new_one_is_told(registry, graph):
    registry.run("push", graph("identity_fp32"))
    registry.run("push", graph("gemm_relu_gemm"))
    assert registry.out("registry", "alias", "set", "m:1", "champion") == "m@champion -> m:1 (new alias)"
    assert registry.out("registry", "alias", "set", "champion", "m:2") == "m@champion -> m:2 (was m:1)"
    assert registry.out("registry", "alias", "set", "m:2", "champion") == "m@champion -> m:2 (as before)"
    assert registry.out("registry", "alias", "set", "m", "champoin") == "m@champoin -> m:2 (new alias)"
    assert registry.out("registry", "alias", "set", "old", "m") == "m@old -> m:2 (new alias)"


def test_deleting_what_a_rollback_goes_back_to_is_told(registry, graph):
    for name in ["identity_fp32", "gemm_relu_gemm", "add_constant"]:
        registry.run("push", graph(name), "--alias", "champion")
    assert registry.run("registry", "delete", "m:1").stderr == ""
    told = registry.run("registry", "delete", "m:2").stderr
    assert "warning: a rollback of m@champion would have returned to m:2" in told
