"""Tenants share a model that has more work than it can do: whoever sends most does not hold up the others."""

import re
import shutil
import threading
from pathlib import Path

import pytest

from conftest import BUSY, PATIENCE_S
from test_auth import Keys, bearer, wait_for, wait_until_known
from test_lifecycle import busy

QUEUE = 10


@pytest.fixture
def tenants(start, tmp_path):
    """A server with one slow instance, and the keys of its tenants."""
    bundle = tmp_path / "busy"
    shutil.copytree(BUSY, bundle)
    settings = f"[engine_options]\ninstances = 1\n[batching]\nmax_batch_size = 1\nmax_queue_requests = {QUEUE}\n"
    (bundle / "model.toml").write_text(f'name = "busy"\n{settings}')
    names = ("heavy", "light")
    keys = {name: Keys(tmp_path / "data").create(name, "caller", "--tenant", name) for name in names}

    def tenants(limits=""):
        config = tmp_path / "tidegate.toml"
        config.write_text(f"[auth]\nenabled = true\npublic_metrics = true\n{limits}")
        server = start(bundle, data=tmp_path / "data", flags=("--config", str(config)))
        wait_until_known(server, keys["light"])
        return server, keys

    return tenants


class Order:
    """The order in which requests were answered, by the names of their tenants."""

    def __init__(self, server, keys):
        self.server, self.keys = server, keys
        self.answered, self.refused, self.threads = [], [], []

    def ask(self, tenant, rounds=1000):
        answer = self.server.infer("busy", busy(rounds), headers=bearer(self.keys[tenant]))
        if answer.status_code == 200:
            self.answered.append(tenant)
        else:
            assert answer.json()["code"] == "queue_full", answer.text
            assert answer.headers["Retry-After"] == "1"
            self.refused.append(tenant)

    def send(self, *arguments):
        self.threads.append(threading.Thread(target=self.ask, args=arguments))
        self.threads[-1].start()

    def occupy(self, tenant):
        """Keeps the instance busy for long enough that the others have come before it is free."""
        self.send(tenant, 30_000)
        tasks = Path(f"/proc/{self.server.process.pid}/task")
        # The thread that runs what waits starts with the first request.
        wait_for(lambda: any("run busy" in task.read_text() for task in tasks.glob("*/comm")))

    def wait(self):
        for thread in self.threads:
            thread.join(PATIENCE_S)

    def waiting(self, requests):
        wait_for(lambda: self.server.metric("nv_inference_pending_request_count") == requests)


def test_a_tenant_with_many_waiting_requests_does_not_hold_up_another(tenants):
    server, keys = tenants()
    order = Order(server, keys)
    order.occupy("heavy")
    for _ in range(QUEUE - 2):
        order.send("heavy")
    order.waiting(QUEUE - 2)
    order.send("light")
    order.waiting(QUEUE - 1)
    order.wait()
    assert len(order.answered) == QUEUE and not order.refused
    # The one that was running, and the one of its turn.
    assert order.answered.index("light") <= 3, order.answered


def test_a_tenant_at_a_hundred_times_the_load_of_another_does_not_fill_the_queue(tenants):
    server, keys = tenants()
    order = Order(server, keys)
    done = threading.Event()

    def flood():
        while not done.is_set():
            order.ask("heavy")

    flood_threads = [threading.Thread(target=flood) for _ in range(2 * QUEUE)]
    for thread in flood_threads:
        thread.start()
    wait_for(lambda: order.refused)
    for _ in range(4):
        before = len(order.answered)
        order.ask("light")
        meanwhile = order.answered[before:].count("heavy")
        # As many wait for longer than that: a turn of the other tenant, and what was on its way.
        assert meanwhile <= QUEUE // 2, order.answered
    done.set()
    for thread in flood_threads:
        thread.join(PATIENCE_S)
    assert order.answered.count("light") == 4 and "light" not in order.refused


def test_tenants_get_rows_by_their_weights(tenants):
    server, keys = tenants('[[limits.tenant]]\nname = "light"\nweight = 3\n')
    order = Order(server, keys)
    order.occupy("heavy")
    for tenant in ("heavy", "light"):
        for _ in range((QUEUE - 4) // 2):
            order.send(tenant)
    order.waiting(QUEUE - 4)
    order.wait()
    # Three for one: the last one of weight 3 runs before the third one of weight 1.
    last = len(order.answered) - 1 - order.answered[::-1].index("light")
    assert order.answered[1:last].count("heavy") <= 2, order.answered


def test_a_displaced_request_uses_up_no_quota(tenants):
    server, keys = tenants('[[limits.rule]]\nname = "each"\ntenant = "*"\nrequests_per_day = 100\n')
    order = Order(server, keys)
    order.occupy("heavy")
    for _ in range(QUEUE):
        order.send("heavy")
    order.waiting(QUEUE)
    for displaced in (1, 2):
        order.send("light")
        wait_for(lambda displaced=displaced: len(order.refused) == displaced)
    order.wait()
    assert order.refused == ["heavy"] * 2 and order.answered.count("light") == 2
    for tenant in ("heavy", "light"):
        last = server.infer("busy", busy(1), headers=bearer(keys[tenant]))
        left = re.search(r'"each[^"]*";r=(\d+)', last.headers["RateLimit"])
        assert int(left[1]) == 100 - order.answered.count(tenant) - 1, last.headers["RateLimit"]


@pytest.mark.parametrize(
    ("tenant", "problem"),
    [
        ('name = "acme"\nweight = 0', 'limits.tenant "acme": weight must be from 1 to 1000'),
        ('name = "acme"\nweight = 1001', 'limits.tenant "acme": weight must be from 1 to 1000'),
        ("weight = 2", "limits.tenant needs a name"),
    ],
)
def test_a_weight_that_cannot_be_meant_is_refused_at_start(refusal, tenant, problem):
    assert problem in refusal(f"[[limits.tenant]]\n{tenant}\n")
