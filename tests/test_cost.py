"""What serving costs: measured on a real server, allocated to the last millionth, kept, told of, and printed."""

import csv
import io
import json
import re
import signal
import subprocess
from decimal import Decimal
from html.parser import HTMLParser

import pytest
import requests

from conftest import BINARY, MODELS, PATIENCE_S
from parts import Receiver, until

# Dear, so that seconds cost something.
PRICES = """
[cost]
currency = "EUR"
vcpu_hour = 3600
memory_gb_hour = 36
storage_gb_month = 1000
network_gb = 1000
licence_month = 100
monitoring_month = 10
vcpus = 2
memory_gb = 4
"""

PARTS = ("vcpu", "memory", "storage", "network", "idle", "fixed")


@pytest.fixture
def serve(start, tmp_path):
    """Starts a server over models with prices."""

    def serve(*sections, models=(MODELS / "digits", MODELS / "fraud"), **options):
        config = tmp_path / "tidegate.toml"
        config.write_text("\n".join(sections))
        return start(*models, flags=("--config", str(config)), **options)

    return serve


def ask(server, digits, times=1, rows=1):
    for _ in range(times):
        assert server.infer("digits", {"inputs": [digits.tensor(slice(0, rows))]}).status_code == 200


def report(server, **parameters):
    answer = requests.get(server.url("/api/cost"), params=parameters, timeout=PATIENCE_S)
    assert answer.status_code == 200, answer.text
    return answer.json()


def measured(server, predictions):
    """The report once it has so many predictions."""
    return until(lambda: (found := report(server))["predictions"] >= predictions and found)


def tidegate(server, *arguments, check=True):
    command = [BINARY, *arguments, "--url", f"http://{server.http}"]
    return subprocess.run(command, check=check, capture_output=True, text=True, timeout=60)


def metric(server, name):
    lines = requests.get(server.url("/metrics"), timeout=PATIENCE_S).text.splitlines()
    return {line.rsplit(" ", 1)[0].removeprefix(name): float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name)}


def add_up(report):
    """Holds a report against itself: every row is its parts, and the total is the rows."""
    for row in report["rows"]:
        assert sum(Decimal(row["cost"][part]) for part in PARTS) == Decimal(row["total"]), row
        assert all(re.fullmatch(r"\d+\.\d{6}", row["cost"][part]) for part in PARTS), row
    assert sum(Decimal(row["total"]) for row in report["rows"]) == Decimal(report["total"])
    assert sum(row["predictions"] for row in report["rows"]) == report["predictions"]


def test_what_is_measured_is_allocated_to_the_last_millionth(serve, digits):
    server = serve(PRICES)
    answers = [server.infer("digits", {"inputs": [digits.tensor(slice(0, 8))]}) for _ in range(50)]
    sent = sum(int(answer.headers["content-length"]) for answer in answers)
    assert sent < sum(len(answer.content) for answer in answers), "compressed bytes are what is sent"
    found = measured(server, 400)
    add_up(found)
    rows = {row["model"]: row for row in found["rows"]}
    assert set(rows) == {"digits", "fraud"} and rows["digits"]["version"] == "1"
    asked, idle = rows["digits"], rows["fraud"]
    assert (asked["predictions"], idle["predictions"]) == (400, 0), "a prediction is a row"
    assert asked["network_gb"] == pytest.approx(sent / 1e9, rel=1e-9)
    assert idle["per_1000_predictions"] is None and idle["vcpu_s"] == 0
    assert asked["per_1000_predictions"] == pytest.approx(float(asked["total"]) * 1000 / 400)
    # The bill by hand: what was there, times its price; a unit is paid for each vCPU-second.
    up_s = found["up_s"]
    assert up_s > 0 and found["capacity"] == {"vcpus": 2.0, "memory_gb": 4.0, "gpus": 0.0}
    days = {28: 0, 29: 0, 30: 0, 31: 0}
    stored = sum(row["storage_gb_s"] for row in found["rows"])
    size = (MODELS / "digits/model.onnx").stat().st_size
    assert asked["storage_gb_s"] == pytest.approx(size / 1e9 * up_s, rel=0.5)
    bills = [
        2 * up_s + 4 * up_s * 0.01 + sent / 1e9 * 1000 + (110 * up_s + 1000 * stored) / (length * 86400) for length in days
    ]
    assert min(abs(float(found["total"]) - bill) for bill in bills) < 5e-6, (found["total"], bills)
    # Only digits was busy: it bears all that nobody used and all that is fixed.
    assert Decimal(asked["cost"]["idle"]) > 0 and Decimal(asked["cost"]["fixed"]) > 0
    assert idle["cost"]["idle"] == idle["cost"]["fixed"] == idle["cost"]["vcpu"] == "0.000000"
    busy = metric(server, "tidegate_instance_busy_seconds_total")['{model="digits",version="1"}']
    assert asked["vcpu_s"] == pytest.approx(busy, rel=1e-6)
    assert float(asked["cost"]["vcpu"]) == pytest.approx(busy, abs=2e-6)


@pytest.mark.parametrize(("by", "columns"), [("day,version,tenant", 4), ("model", 1), ("tenant", 1), ("day", 1), ("", 0)])
def test_costs_are_told_apart_as_asked_and_add_up(serve, digits, by, columns):
    server = serve(PRICES)
    ask(server, digits, 5)
    measured(server, 5)
    found = report(server, by=by)
    add_up(found)
    labels = [name for name in ("day", "model", "version", "tenant") if name in found["rows"][0]]
    assert len(labels) == columns
    if "tenant" in labels:
        assert {row["tenant"] for row in found["rows"]} == {"default"}


def test_idle_cost_can_stand_apart(serve, digits):
    server = serve(PRICES + 'idle = "apart"\n')
    ask(server, digits, 5)
    found = measured(server, 5)
    add_up(found)
    rows = {row["model"]: row for row in found["rows"]}
    assert set(rows) == {"_idle", "digits", "fraud"} and found["idle"] == "apart"
    assert Decimal(rows["_idle"]["cost"]["idle"]) > Decimal(rows["digits"]["total"])
    assert rows["digits"]["cost"]["idle"] == "0.000000"


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.texts = [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        assert not {"src", "href"} & {name for name, _ in attributes}, "the page stands alone"

    def handle_data(self, data):
        self.texts.append(data.strip())


def test_a_report_comes_in_every_format(serve, digits):
    budget = '[[cost.budget]]\nname = "team"\namount = 1000000\n'
    server = serve(PRICES, budget)
    ask(server, digits, 20)
    measured(server, 20)

    found = json.loads(tidegate(server, "cost", "report", "--format", "json").stdout)
    add_up(found)
    text = tidegate(server, "cost", "report", "--format", "csv", "--by", "day,version,tenant").stdout
    lines = list(csv.DictReader(io.StringIO(text)))
    assert [line["model"] for line in lines] == ["digits", "fraud"]
    assert lines[0]["currency"] == "EUR" and lines[0]["tenant"] == "default" and lines[0]["predictions"] == "20"
    for line in lines:
        assert sum(Decimal(line[f"cost_{part}"]) for part in PARTS) == Decimal(line["total"])

    table = tidegate(server, "cost", "report").stdout.splitlines()
    assert table[0].startswith("EUR, ") and "capacity now: 2 vCPUs, 4.0 GB" in table[0]
    header = next(line.split() for line in table if line.startswith("MODEL"))
    assert header == ["MODEL", "VERSION", "PREDICTIONS", *map(str.upper, PARTS), "TOTAL", "SHARE", "PER", "1000"]
    rows = {line.split()[0]: line.split() for line in table if line.startswith(("digits", "fraud", "all"))}
    assert rows["digits"][1:3] == ["1", "20"] and rows["all"][1] == "20"
    assert Decimal(rows["digits"][9]) + Decimal(rows["fraud"][9]) == Decimal(rows["all"][8])
    assert any(line.startswith("team") and "1000000.000000" in line for line in table)
    assert any("in proportion to the vCPU time" in line for line in table), "the rule is stated"

    page = Page()
    page.feed(tidegate(server, "cost", "report", "--format", "html", "--by", "version,tenant").stdout)
    assert "script" not in page.tags and "table" in page.tags
    assert "digits" in page.texts and "Budgets" in page.texts

    wrong = tidegate(server, "cost", "report", "--by", "hour", check=False)
    assert wrong.returncode != 0 and "not by" in wrong.stderr


def test_what_was_counted_survives_a_stop_a_kill_and_unloading(serve, digits, tmp_path):
    data = tmp_path / "kept"
    server = serve(PRICES, data=data)
    ask(server, digits, 30)
    before = measured(server, 30)
    server.stop()
    kept = json.loads((data / "cost.json").read_text())
    assert kept["ledger"]["days"]
    server = serve(PRICES, data=data)
    after = report(server)
    assert after["predictions"] == 30 and Decimal(after["total"]) >= Decimal(before["total"])

    ask(server, digits, 10)
    measured(server, 40)
    assert requests.post(server.url("/v2/repository/models/digits/unload"), timeout=PATIENCE_S).status_code == 200
    line = '{currency="EUR",model="digits",part="used",version="1"}'
    until(lambda: line not in metric(server, "tidegate_cost_total"))
    rows = {row["model"]: row for row in report(server)["rows"]}
    assert rows["digits"]["predictions"] == 40, "a version that is gone keeps its cost"

    # It is written every minute: what is lost by a kill is what came after.
    until(lambda: kept_predictions(data) == 40, patience_s=90)
    server.process.send_signal(signal.SIGKILL)
    server.process.wait(PATIENCE_S)
    again = report(serve(PRICES, data=data))
    assert again["predictions"] == 40
    add_up(again)


def kept_predictions(data):
    days = json.loads((data / "cost.json").read_text())["ledger"]["days"]
    return sum(row["predictions"] for segments in days.values() for segment in segments for row in segment["used"])


def test_new_prices_change_nothing_before_and_other_currencies_are_left_out(serve, digits, tmp_path):
    data = tmp_path / "kept"
    server = serve(PRICES, data=data)
    ask(server, digits, 5)
    measured(server, 5)
    server.stop()
    server = serve(PRICES.replace("vcpu_hour = 3600", "vcpu_hour = 0"), data=data)
    first = report(server)
    assert Decimal(first["rows"][0]["cost"]["vcpu"]) > 0, "what was counted at the old price stays"
    server.stop()
    server = serve(PRICES.replace("EUR", "USD"), data=data)
    found = until(lambda: (found := report(server))["up_s"] > 0 and found)
    assert (found["currency"], found["other_currencies"], found["predictions"]) == ("USD", ["EUR"], 0)
    assert "counted in EUR" in tidegate(server, "cost", "report").stdout


BUDGETS = """
[[cost.budget]]
name = "digits-daily"
model = "digits"
per = "day"
amount = 0.001
alert_at = [0.5, 1.0]

[[cost.budget]]
name = "all"
amount = 1e9
"""

TELL = """
[alerts]
group_wait_s = 0
deploy_window_s = 0

[[alerts.routes]]
name = "hook"
match = ['alertname="TidegateCostBudget"']
webhook = {{ url = "{url}/hook" }}
"""


def test_a_budget_that_is_used_up_reaches_people_once(serve, digits, tmp_path):
    receiver = Receiver()
    data = tmp_path / "kept"
    try:
        server = serve(PRICES, BUDGETS, TELL.format(url=receiver.url), data=data)
        ask(server, digits, 20)
        told = until(lambda: receiver.bodies("/hook"))
        fired = [alert for body in told for alert in body["alerts"]]
        assert {alert["labels"]["budget"] for alert in fired} == {"digits-daily"}
        assert {alert["labels"]["severity"] for alert in fired} == {"ticket"}
        assert {alert["annotations"]["runbook_url"].rsplit("/", 1)[1] for alert in fired} == {"cost-budget.md"}
        until(lambda: len(events(server)) == 2)
        assert "(budget=digits-daily, share=1)" in tidegate(server, "alerts").stdout
    finally:
        receiver.stop()
    assert {event["fields"]["share"] for event in events(server)} == {0.5, 1.0}
    [budget] = [budget for budget in report(server)["budgets"] if budget["name"] == "digits-daily"]
    assert budget["used_ratio"] > 1 and budget["model"] == "digits" and budget["amount"] == "0.001000"
    reached = metric(server, "tidegate_cost_budget_reached")
    assert reached['{budget="digits-daily",share="1"}'] == 1 and reached['{budget="all",share="0.8"}'] == 0
    assert metric(server, "tidegate_cost_budget_used_ratio")['{budget="digits-daily"}'] > 1
    server.stop()
    server = serve(PRICES, BUDGETS, data=data)
    until(lambda: metric(server, "tidegate_cost_budget_used_ratio"))
    assert len(events(server)) == 2, "a restart tells nothing twice"


def events(server):
    return requests.get(server.url("/api/events"), params={"name": "cost"}, timeout=PATIENCE_S).json()


def test_counters_are_together_the_bill(serve, digits):
    server = serve(PRICES)
    ask(server, digits, 20)
    measured(server, 20)

    def agree():
        # Both are of the same look, if none came between.
        bill = report(server)
        costs = metric(server, "tidegate_cost_total")
        if report(server) != bill:
            return False
        assert sum(costs.values()) == pytest.approx(float(bill["total"]), abs=1e-5)
        assert {re.search('part="([a-z]+)"', labels)[1] for labels in costs} == {"used", "idle", "fixed"}
        return True

    until(agree)


def test_without_prices_no_cost_is_shown_and_it_says_so(start, tmp_path):
    server = start(MODELS / "digits")
    answer = requests.get(server.url("/api/cost"), timeout=PATIENCE_S)
    assert answer.status_code == 404 and "no prices" in answer.json()["error"]
    ended = tidegate(server, "cost", "report", check=False)
    assert ended.returncode != 0 and "set cost.currency and a price" in ended.stderr
    assert not metric(server, "tidegate_cost_total")


def test_wrong_questions_are_refused_with_their_reason(serve):
    server = serve(PRICES)

    def refused(**parameters):
        answer = requests.get(server.url("/api/cost"), params=parameters, timeout=PATIENCE_S)
        assert answer.status_code == 400 and answer.json()["code"] == "invalid_parameter"
        return answer.json()["error"]

    assert '"yesterday" is not a day' in refused(**{"from": "yesterday"})
    assert "after to" in refused(**{"from": "2026-02-02", "to": "2026-02-01"})
    assert 'not by "hour"' in refused(by="hour")
    assert "unknown field" in refused(since="2026-02-02")
    assert report(server, **{"from": "2020-01-01", "to": "2020-02-01"})["rows"] == []


@pytest.mark.parametrize(
    ("section", "reason"),
    [
        ("[cost]\nvcpu_hour = 1", "cost.vcpu_hour is set but cost.currency is not"),
        ('[cost]\ncurrency = "EUR"\nvcpu_hour = -1', "cost.vcpu_hour is -1"),
        ('[cost]\ncurrency = "EUR"\nvcpu_hour = 1\n[[cost.budget]]\nname = "x"', 'cost.budget "x": amount is 0'),
        ('[cost]\ncurrency = "EUR"\nvcpu_hours = 1', "did you mean `vcpu_hour`?"),
    ],
)
def test_a_wrong_configuration_stops_the_start_and_says_why(refusal, section, reason):
    assert reason in refusal(section)
