"""The queries of the guides and runbooks, asked of a real Prometheus beside a server under load."""

import re
import subprocess

import pytest
import requests

from conftest import BINARY, BUSY, PATIENCE_S, ROOT, Server
from parts import until
from test_objectives import Prometheus

PAGES = sorted([*(ROOT / "docs/guides").glob("*.md"), *(ROOT / "docs/runbooks").glob("*.md")])


def queries(page):
    """The queries of a page, each with the comment above it."""
    found, comment = [], ""
    for block in re.findall(r"```promql\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        for line in block.splitlines():
            if line.startswith("#"):
                comment = line.lstrip("# ")
            elif line:
                found.append((comment, line))
                comment = ""
    return found


ALL = {query for page in PAGES for _, query in queries(page)}


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """A server whose model is kept busy, and a Prometheus that scrapes it."""
    folder = tmp_path_factory.mktemp("promql")
    server = Server(folder / "data", BUSY)
    prometheus = Prometheus(folder / "prometheus", server, None, interval="200ms")
    rows = folder / "rows.json"
    rows.write_text('[{"rounds": 300}]')
    options = ["--input", str(rows), "--concurrency", "8", "--duration", "60s", "--quiet"]
    load = subprocess.Popen(
        [BINARY, "load", "busy", "--url", f"http://{server.http}", *options],
        stdout=subprocess.DEVNULL,
    )
    try:
        until(lambda: prometheus.value('up{job="tidegate"}') == 1)
        yield server, prometheus
    finally:
        load.kill()
        load.wait(PATIENCE_S)
        prometheus.stop()
        server.stop()


def test_every_query_of_the_docs_can_be_asked_and_names_metrics_that_exist(watched):
    _, prometheus = watched
    reference = (ROOT / "docs/reference/metrics.md").read_text(encoding="utf-8")
    assert len(ALL) > 25
    for query in ALL:
        answer = requests.get(f"{prometheus.url}/api/v1/query", params={"query": query}, timeout=PATIENCE_S)
        assert answer.status_code == 200, f"{query}: {answer.text}"
        for metric in re.findall(r"\b(?:tidegate|nv|process)_\w+", query):
            name = re.sub(r"_(bucket|count|sum)$", "", metric)
            assert f"`{metric}`" in reference or f"`{name}`" in reference or "slo" in metric, f"{query}: {metric}"


def test_the_query_for_busy_instances_never_exceeds_the_number_of_instances(watched):
    server, prometheus = watched
    pages = ["docs/guides/operate.md", "docs/runbooks/overload.md"]
    asked = [query for page in pages for _, query in queries(ROOT / page) if "busy" in query]
    assert asked == ["sum by (model) (rate(tidegate_instance_busy_seconds_total[5m]))"] * 2
    config = requests.get(server.url("/v2/models/busy/config"), timeout=PATIENCE_S).json()
    instances = sum(group["count"] for group in config["instance_group"])
    # The window of the page, shortened to what this test has seen.
    busy = asked[0].replace("[5m]", "[2s]")
    in_flight = 8
    value = until(lambda: (found := prometheus.value(busy)) and found > 0.5 * instances and found)
    assert value <= 1.1 * instances < in_flight


def test_the_query_for_rows_in_a_batch_is_between_one_and_what_is_in_flight(watched):
    _, prometheus = watched
    asked = queries(ROOT / "docs/guides/operate.md")
    (query,) = [query for comment, query in asked if comment.startswith("rows that ran together")]
    value = until(lambda: prometheus.value(query.replace("[5m]", "[2s]")))
    assert 1 <= value <= 8
