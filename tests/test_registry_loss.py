"""A registry that is lost behind the back of a server that follows it: its database says nothing more, is stopped,
replaced, emptied, removed or restored. What is served goes on, and health says what is wrong."""

import os
import sqlite3
import subprocess

import pytest

from conftest import Registry
from parts import until
from test_fleet import added, adder, ask, follow, health, index, shared  # noqa: F401


def problem(server, text):
    """Waits until health is degraded for this reason."""

    def found():
        answer = health(server).json()
        return answer["status"] == "degraded" and any(text in problem for problem in answer["problems"])

    return until(found)


def is_ready(server):
    return health(server).json()["status"] == "ready"


def copy(database, to):
    """A consistent copy of an SQLite database, as a backup is made."""
    with sqlite3.connect(database) as source, sqlite3.connect(to) as target:
        source.backup(target)


def replace(database, other):
    """As registry-errors.md tells to restore a backup."""
    os.replace(other, database)
    for end in ("-wal", "-shm"):
        database.with_name(database.name + end).unlink(missing_ok=True)


@pytest.fixture
def database(registry):
    return registry.data / "registry.db"


def test_a_query_without_an_answer_ends_and_following_goes_on(registry, adder, follow, shared):
    network, _, environment = shared
    registry.out("push", adder(1), "--alias", "champion")
    server = follow(environment=environment)
    assert added(ask(server)) == 1
    network.swallow()
    problem(server, "the registry cannot be read")
    assert added(ask(server)) == 1
    registry.out("push", adder(2), "--alias", "champion")
    until(lambda: added(ask(server)) == 2)
    until(is_ready, server)
    # The report of what is used goes on too.
    until(lambda: "is in use" in registry.run("registry", "delete", "adder:2", check=False).stderr)


def test_a_database_that_is_empty_or_another_takes_nothing_out(registry, adder, follow, database, tmp_path):
    registry.out("push", adder(1), "--alias", "champion")
    server = follow()
    assert added(ask(server)) == 1
    copy(database, tmp_path / "backup.db")

    other = Registry(tmp_path / "other")
    other.out("push", adder(7), "--alias", "champion")
    copy(other.data / "registry.db", tmp_path / "other.db")
    replace(database, tmp_path / "other.db")
    problem(server, "other_registry")
    assert added(ask(server)) == 1

    # Any command makes the schema in an empty database.
    database.unlink()
    problem(server, "No such file")
    registry.out("registry", "list")
    problem(server, "has no registry")
    assert added(ask(server)) == 1

    server.stop()
    server = follow()
    assert added(ask(server)) == 1, "the snapshot in the cache is the one of the lost registry"
    problem(server, "has no registry")

    replace(database, tmp_path / "backup.db")
    until(is_ready, server)
    registry.out("push", adder(2), "--alias", "champion")
    until(lambda: added(ask(server)) == 2)


def test_a_restored_database_is_followed_and_a_number_never_answers_with_other_content(
    registry, adder, follow, database, tmp_path
):
    registry.out("push", adder(1), "--alias", "champion")
    copy(database, tmp_path / "backup.db")
    registry.out("push", adder(2), "--alias", "champion")
    server = follow()
    assert added(ask(server)) == 2
    replace(database, tmp_path / "backup.db")
    until(lambda: added(ask(server)) == 1)

    # The same number of changes as before, and the same version number.
    registry.out("push", adder(3), "--alias", "champion")
    assert registry.versions()[-1]["version"] == 2
    # Until the new content is loaded, there is no version of this number.
    until(lambda: ask(server, version="2").status_code != 404)
    assert added(ask(server, version="2")) == 3
    until(lambda: added(ask(server)) == 3)
    assert is_ready(server)


def test_a_restored_database_with_as_many_changes_is_read_again(registry, adder, follow, database, tmp_path):
    registry.out("push", adder(1), "--alias", "champion")
    copy(database, tmp_path / "backup.db")
    other = Registry(tmp_path / "other")
    other.data.mkdir(parents=True)
    replace(other.data / "registry.db", tmp_path / "backup.db")
    other.environment = {"TIDEGATE_REGISTRY__STORAGE": str(registry.data / "objects")}
    other.out("push", adder(3), "--alias", "champion")
    registry.out("push", adder(2), "--alias", "champion")
    server = follow()
    assert added(ask(server)) == 2
    # The counter of changes is the same on both.
    replace(database, other.data / "registry.db")
    until(lambda: added(ask(server)) == 3)
    assert added(ask(server, version="2")) == 3


def test_a_database_that_stops_is_noticed_with_its_reason(registry, adder, follow, shared):
    network, _, environment = shared
    registry.out("push", adder(1), "--alias", "champion")
    server = follow(environment=environment)
    network.cut()
    network.listener.close()
    problem(server, "refused")
    assert added(ask(server)) == 1


def test_storage_that_hangs_holds_up_only_what_it_must_give(registry, adder, follow, shared):
    _, storage, environment = shared
    for number, name in enumerate(("one", "two", "three")):
        registry.out("push", adder(10 * number + 1, name), "--alias", "champion")
        registry.out("push", adder(10 * number + 2, name))
    server = follow(environment=environment)
    alias = lambda version: registry.out("registry", "alias", "set", "champion", version)
    alias("three:2")
    until(lambda: added(ask(server, "three")) == 22)
    alias("three:1")
    until(lambda: added(ask(server, "three")) == 21)
    storage.hang()
    alias("one:2")
    alias("two:2")
    problem(server, "has not answered")
    # What is in the cache needs no storage.
    alias("three:2")
    until(lambda: added(ask(server, "three")) == 22)
    assert [added(ask(server, name)) for name in ("one", "two")] == [1, 11]
    storage.mend()
    until(lambda: [added(ask(server, name)) for name in ("one", "two")] == [2, 12])
    until(is_ready, server)


def test_a_restart_without_storage_serves_what_was_served_before(registry, adder, follow, shared):
    _, storage, environment = shared
    registry.out("push", adder(1), "--alias", "champion")
    server = follow(environment=environment)
    assert added(ask(server)) == 1
    server.stop()
    registry.out("push", adder(2), "--alias", "champion")
    storage.hang()
    server = follow(environment=environment)
    assert added(ask(server)) == 1
    problem(server, "has not answered")
    storage.mend()
    until(lambda: added(ask(server)) == 2)
