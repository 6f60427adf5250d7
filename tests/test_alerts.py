"""Alerts on their way to people: rules, routes, silences, deploy windows, and messages that survive what goes wrong."""

import hashlib
import hmac
import json
import signal
import subprocess
import time

import pytest
import requests
from aiosmtpd.controller import Controller

from conftest import BINARY, MODELS, PATIENCE_S, Server
from parts import Alertmanager, Receiver, free_port, until

# Fires once digits has answered a row, and ends when the process does.
RULES = """
[[alerts.rules]]
name = "Answered"
metric = "nv_inference_count"
by = ["model", "version"]
threshold = 0
severity = "page"
summary = "rows were answered"
runbook = "overload"

[[alerts.rules]]
name = "AnsweredToo"
metric = "nv_inference_count"
labels = ['model="digits"']
by = ["model"]
threshold = 0
severity = "ticket"
"""

QUICK = """
[alerts]
builtin_rules = false
runbooks = "https://runbooks.example"
grafana = "https://grafana.example"
group_wait_s = 0
group_interval_s = 1
inhibit = []
"""


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.stop()


@pytest.fixture
def serve(start, tmp_path):
    """Starts a server over digits with a configuration of alerts."""

    def serve(*sections, **options):
        config = tmp_path / "tidegate.toml"
        config.write_text("\n".join(sections))
        return start(options.pop("models", MODELS / "digits"), flags=("--config", str(config)), **options)

    return serve


def fire(server, digits):
    assert server.infer("digits", {"inputs": [digits.tensor(slice(0, 1))]}).status_code == 200


def alerts(server):
    return {alert["name"]: alert for alert in requests.get(server.url("/api/alerts"), timeout=PATIENCE_S).json()}


def events(server, name):
    return requests.get(server.url("/api/events"), params={"name": name}, timeout=PATIENCE_S).json()


def deliveries(server, outcome):
    """How many messages came to this end, as the metrics have it."""
    for line in requests.get(server.url("/metrics"), timeout=PATIENCE_S).text.splitlines():
        if line.startswith(f'tidegate_alert_deliveries_total{{outcome="{outcome}"}}'):
            return int(float(line.split()[-1]))
    return 0


def tidegate(server, *arguments):
    command = [BINARY, *arguments, "--url", f"http://{server.http}"]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.strip()


class Mailbox:
    def __init__(self):
        self.mails = []

    async def handle_DATA(self, _server, _session, envelope):
        self.mails.append(envelope)
        return "250 OK"


def test_a_page_reaches_every_kind_of_receiver_in_its_shape(serve, receiver, digits, tmp_path):
    mailbox = Mailbox()
    mail = Controller(mailbox, hostname="127.0.0.1", port=free_port())
    mail.start()
    (tmp_path / "key").write_text("hunter2\n")
    routes = f"""
[[alerts.routes]]
name = "hook"
severities = ["page"]
webhook = {{ url = "{receiver.url}/hook", secret_file = "{tmp_path}/key", headers = {{ authorization = "Bearer x" }} }}

[[alerts.routes]]
name = "template"
severities = ["page"]
[alerts.routes.webhook]
url = "{receiver.url}/template"
template = '{{"text": {{{{ title|tojson }}}}, "of": [{{% for a in alerts %}}{{{{ a.labels.endpoint|tojson }}}}{{% endfor %}}]}}'

[[alerts.routes]]
name = "slack"
match = ['endpoint="digits"', 'severity="page"']
slack = {{ url = "{receiver.url}/slack" }}

[[alerts.routes]]
name = "pagerduty"
severities = ["page"]
pagerduty = {{ routing_key = "R0", url = "{receiver.url}/pagerduty" }}

[[alerts.routes]]
name = "mail"
severities = ["page"]
smtp = {{ url = "smtp://127.0.0.1:{mail.port}", from = "Tidegate <tidegate@example.org>", to = ["oncall@example.org"] }}

[[alerts.routes]]
name = "nobody"
match = ['endpoint="iris"']
webhook = {{ url = "{receiver.url}/nobody" }}
"""
    try:
        server = serve(QUICK, RULES, routes)
        fire(server, digits)
        until(lambda: len(receiver.posts) >= 4 and mailbox.mails)
    finally:
        mail.stop()
    posted = {path: (headers, body) for path, headers, body in receiver.posts}
    assert set(posted) == {"/hook", "/template", "/slack", "/pagerduty"}

    headers, body = posted["/hook"]
    signed = f"{headers['x-tidegate-timestamp']}.".encode() + body
    digest = hmac.new(b"hunter2", signed, hashlib.sha256).hexdigest()
    assert headers["x-tidegate-signature"] == f"sha256={digest}" and headers["authorization"] == "Bearer x"
    assert abs(int(headers["x-tidegate-timestamp"]) - time.time()) < PATIENCE_S
    hook = json.loads(body)
    assert (hook["version"], hook["status"], hook["receiver"]) == ("4", "firing", "hook")
    assert hook["groupLabels"] == {"endpoint": "digits", "version": "1"}
    [alert] = hook["alerts"]
    assert alert["labels"] == {"alertname": "Answered", "severity": "page", "endpoint": "digits", "version": "1"}
    assert alert["annotations"]["runbook_url"] == "https://runbooks.example/overload.md"
    assert alert["annotations"]["dashboard_url"].startswith("https://grafana.example/d/tidegate-on-call?from=")

    title = "[FIRING: 1] Answered of digits 1"
    assert json.loads(posted["/template"][1]) == {"text": title, "of": ["digits"]}
    slack = json.loads(posted["/slack"][1])
    assert slack["text"] == title and slack["attachments"][0]["color"] == "danger"
    event = json.loads(posted["/pagerduty"][1])
    assert (event["routing_key"], event["event_action"]) == ("R0", "trigger")
    assert event["payload"]["severity"] == "critical" and event["payload"]["summary"] == title
    letter = mailbox.mails[0]
    assert letter.rcpt_tos == ["oncall@example.org"] and f"Subject: {title}".encode() in letter.content

    log = server.log.read_text()
    assert "hunter2" not in log and "Bearer x" not in log
    assert deliveries(server, "ok") == 5 and deliveries(server, "failed") == 0
    shown = tidegate(server, "alerts")
    assert "Answered" in shown and "rows were answered" in shown


def test_messages_survive_kill_9_and_a_receiver_that_is_down_and_stay_in_order(serve, digits, tmp_path):
    port = free_port()
    route = f"""
[[alerts.routes]]
name = "pager"
severities = ["page"]
pagerduty = {{ routing_key = "R0", url = "http://127.0.0.1:{port}/v2/enqueue" }}
"""
    server = serve(QUICK, RULES, route, data=tmp_path / "kept")
    fire(server, digits)
    until(lambda: deliveries(server, "failed") >= 1)
    assert "R0" not in server.log.read_text()
    server.process.send_signal(signal.SIGKILL)
    server.process.wait(PATIENCE_S)
    # The process that fired is gone, and its counters with it: the page has ended before anybody heard of it.
    again = serve(QUICK, RULES, route, data=tmp_path / "kept")
    until(lambda: [event for event in events(again, "alert") if event["name"] == "alert.resolved"])
    receiver = Receiver(port)
    try:
        told = until(lambda: len(receiver.posts) >= 2 and receiver.bodies("/v2/enqueue"))
    finally:
        receiver.stop()
    assert [event["event_action"] for event in told] == ["trigger", "resolve"]
    assert told[0]["dedup_key"] == told[1]["dedup_key"]
    names = [event["name"] for event in reversed(events(again, ""))]
    assert names.index("alert.firing") < names.index("alert.resolved"), "events survive, too"


def test_what_is_refused_for_good_is_dropped_and_told_of(serve, receiver, digits):
    receiver.status = 400
    route = f'[[alerts.routes]]\nname = "hook"\nseverities = ["page"]\nwebhook = {{ url = "{receiver.url}/x" }}\n'
    server = serve(QUICK, RULES, route)
    fire(server, digits)
    [event] = until(lambda: events(server, "alert.undelivered"))
    assert event["fields"]["route"] == "hook" and event["fields"]["reason"].startswith("answered 400")
    assert deliveries(server, "dropped") == 1


def test_a_silence_keeps_alerts_from_being_told_until_it_is_expired(serve, receiver, digits, tmp_path):
    route = f'[[alerts.routes]]\nname = "hook"\nwebhook = {{ url = "{receiver.url}/hook" }}\n'
    server = serve(QUICK, RULES, route, data=tmp_path / "kept")
    silence = tidegate(
        server, "silence", "add", 'alertname=~"Answer.*"', "severity=page", "--for", "2h", "--comment", "maintenance"
    )
    fire(server, digits)

    def names():
        return {alert["labels"]["alertname"] for body in receiver.bodies("/hook") for alert in body["alerts"]}

    until(lambda: "AnsweredToo" in names())
    assert names() == {"AnsweredToo"}, "the look that told it would have told the other, too"
    assert alerts(server)["Answered"]["suppressed"] == {"by": "silence", "what": silence}
    assert f"silence {silence}" in tidegate(server, "alerts")
    server.stop()
    server = serve(QUICK, RULES, route, data=tmp_path / "kept")
    assert silence in tidegate(server, "silence", "list"), "it survives a restart"
    fire(server, digits)
    until(lambda: alerts(server).get("Answered", {}).get("suppressed"))
    tidegate(server, "silence", "expire", silence)
    until(lambda: "Answered" in names())
    [expired] = requests.get(server.url("/api/silences"), timeout=PATIENCE_S).json()
    assert expired["state"] == "expired" and expired["comment"] == "maintenance"
    recorded = [event["name"] for event in events(server, "silence")]
    assert recorded == ["silence.expired", "silence.added"]


def test_a_rule_on_a_quantile_of_the_last_minute(serve, digits):
    rule = """
[[alerts.rules]]
name = "Slow"
metric = "tidegate_compute_duration_seconds"
labels = ['quantile="0.99"', 'model="digits"']
by = ["model"]
threshold = 0
"""
    server = serve(QUICK, rule)
    fire(server, digits)
    alert = until(lambda: alerts(server).get("Slow"))
    assert alert["state"] == "firing" and alert["labels"]["endpoint"] == "digits"


def test_a_route_that_delivers_nothing_is_told_of_until_it_does(serve, digits, receiver):
    receiver.status = 500
    route = f'[[alerts.routes]]\nname = "hook"\nseverities = ["page"]\nwebhook = {{ url = "{receiver.url}/hook" }}\n'
    server = serve(QUICK, RULES, route)

    def routes():
        return requests.get(server.url("/api/alerts/routes"), timeout=PATIENCE_S).json()

    assert routes() == [{"name": "hook", "receiver": "webhook", "waiting": 0}]
    fire(server, digits)
    [route] = until(lambda: [route for route in routes() if "failing_since_ms" in route])
    assert route["waiting"] == 1 and "500" in route["reason"] and "arrived_ms" not in route
    receiver.status = 200
    [route] = until(lambda: [route for route in routes() if "arrived_ms" in route])
    assert route["waiting"] == 0 and "reason" not in route


def test_a_wrong_silence_is_refused_with_its_reason(server):
    def refused(**body):
        answer = requests.post(server.url("/api/silences"), json=body, timeout=PATIENCE_S)
        assert answer.status_code == 400
        return answer.json()["error"]

    whole = {"matchers": ['endpoint="x"'], "duration_s": 60, "author": "ada", "comment": "why"}
    assert "without closing" in refused(**{**whole, "matchers": ['a=~"("']})
    assert "every alert" in refused(**{**whole, "matchers": ['a=~".*"']})
    assert "either duration_s or until_ms" in refused(**{**whole, "until_ms": 5})
    assert "author and a comment" in refused(**{**whole, "comment": ""})
    missing = requests.delete(server.url("/api/silences/none"), timeout=PATIENCE_S)
    assert missing.status_code == 404 and missing.json()["code"] == "not_found"
    failed = subprocess.run(
        [BINARY, "silence", "expire", "none", "--url", f"http://{server.http}"], capture_output=True, text=True, timeout=60
    )
    assert failed.returncode != 0 and "there is no active or scheduled silence" in failed.stderr


def test_a_deploy_holds_tickets_back_and_pages_say_that_there_was_one(serve, receiver, digits):
    route = f'[[alerts.routes]]\nname = "hook"\nwebhook = {{ url = "{receiver.url}/hook" }}\n'
    server = serve(QUICK, RULES, route)
    until(lambda: events(server, "version.ready"))
    loaded = requests.post(server.url("/v2/repository/models/digits/load"), timeout=PATIENCE_S)
    assert loaded.status_code == 200
    until(lambda: events(server, "version.reloaded"))
    fire(server, digits)
    told = until(lambda: receiver.bodies("/hook"))
    page = told[0]["alerts"][0]
    assert page["labels"]["alertname"] == "Answered" and "was deployed" in page["annotations"]["deploy"]
    suppressed = alerts(server)["AnsweredToo"]["suppressed"]
    assert suppressed["by"] == "deploy_window" and suppressed["until_ms"] > time.time() * 1000
    assert len(told) == 1


def test_a_load_that_fails_is_an_event_and_a_ticket(start, receiver, tmp_path):
    models = tmp_path / "models"
    (models / "broken").mkdir(parents=True)
    (models / "broken/model.onnx").write_bytes(b"no model")
    (models / "digits").symlink_to(MODELS / "digits")
    config = tmp_path / "tidegate.toml"
    route = f'[[alerts.routes]]\nname = "hook"\nwebhook = {{ url = "{receiver.url}/hook" }}\n'
    config.write_text(f"[alerts]\ngroup_wait_s = 0\n{route}")
    server = start(models, flags=("--config", str(config)))
    [body] = until(lambda: receiver.bodies("/hook"))
    [alert] = body["alerts"]
    labels = {"alertname": "TidegateModelLoadFailed", "severity": "ticket", "endpoint": "broken"}
    assert alert["labels"] == labels and alert["annotations"]["runbook_url"].endswith("/model-load-failed.md")
    [failed] = events(server, "version.load_failed")
    assert failed["model"] == "broken" and failed["fields"]["reason"]
    # The others are served: the server stays ready.
    assert "TidegateServerNotReady" not in alerts(server)


def test_a_real_alertmanager_hears_of_what_a_route_takes(serve, digits, tmp_path):
    alertmanager = Alertmanager(tmp_path / "alertmanager")
    route = f'[[alerts.routes]]\nname = "am"\nseverities = ["page"]\nalertmanager = "{alertmanager.url}"\n'
    try:
        server = serve(QUICK, RULES, route)
        fire(server, digits)
        [alert] = until(alertmanager.alerts)
        assert alert["labels"] == {"alertname": "Answered", "severity": "page", "endpoint": "digits", "version": "1"}
        assert alert["annotations"]["summary"] == "rows were answered"
        assert alert["status"]["state"] == "active"
    finally:
        alertmanager.stop()


def test_https_with_the_certificates_that_the_system_trusts(serve, digits, tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names]
    # An authority's certificate cannot be a server's own.
    command += ["-addext", "basicConstraints=critical,CA:FALSE"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    receiver = Receiver(certificate=(certificate, key))
    route = f'[[alerts.routes]]\nname = "hook"\nseverities = ["page"]\nwebhook = {{ url = "{receiver.url}/hook" }}\n'
    try:
        distrusting = serve(QUICK, RULES, route)
        fire(distrusting, digits)
        until(lambda: deliveries(distrusting, "failed") >= 1)
        assert not receiver.posts and "certificate" in distrusting.log.read_text()
        distrusting.stop()
        server = serve(QUICK, RULES, route, environment={"SSL_CERT_FILE": str(certificate)})
        fire(server, digits)
        until(lambda: receiver.posts)
    finally:
        receiver.stop()


@pytest.mark.parametrize(
    ("section", "reason"),
    [
        ('[[alerts.rules]]\nname = "x"\nmetric = "tidegate_nothing"', 'there is no metric "tidegate_nothing"'),
        ('[[alerts.routes]]\nname = "x"', "exactly one of"),
        ('[[alerts.routes]]\nname = "x"\nslack = { url = "https://s3cret", url_file = "y" }', "both url and url_file"),
    ],
)
def test_a_wrong_configuration_stops_the_start_and_says_why(refusal, section, reason):
    said = refusal(section)
    assert reason in said and "s3cret" not in said, said
