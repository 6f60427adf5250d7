"""The console in a real browser: every page light, dark and on a phone, live, by keyboard, and safe from what it shows."""

import json
import os
import re
import shutil
import tempfile
from pathlib import Path

import pytest
import requests
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

from conftest import GRAPHS, MODELS, PATIENCE_S, Server
from onnx_file import table_lookup
from parts import free_port, until
from test_fallbacks import model

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
SCREENSHOTS = Path(os.environ.get("TIDEGATE_SCREENSHOTS") or Path(tempfile.gettempdir()) / "tidegate-screenshots")
HOSTILE = "<img src=x onerror=\"document.title='owned'\"> & </script><b>"

CONFIG = """
[[slo]]
name = "digits-available"
endpoint = "digits"
target = 0.99

[[slo]]
name = "digits-fast"
endpoint = "digits"
sli = "latency"
threshold_ms = 13107.2
target = 0.9

[[slo]]
name = "all-available"
target = 0.9

[cost]
currency = "EUR"
vcpu_hour = 3600
monitoring_month = 1000000
vcpus = 2
memory_gb = 4

[[cost.budget]]
name = "all"
amount = 0.01
per = "month"
alert_at = [0.8]

[alerts]
deploy_window_s = 0
builtin_rules = false
runbooks = "https://runbooks.example"

[[alerts.rules]]
name = "Answered"
metric = "nv_inference_count"
by = ["model", "version"]
threshold = 0
severity = "page"
summary = "rows were answered"
runbook = "overload"

[[capture.endpoint]]
name = "digits"
"""

PAGES = {
    "home": "/console",
    "models": "/console/models",
    "model": "/console/models/hostile",
    "endpoint": "/console/endpoints/digits?range=15m",
    "objectives": "/console/objectives",
    "alerts": "/console/alerts",
    "events": "/console/events",
    "rollouts": "/console/rollouts",
    "quality": "/console/quality",
    "cost": "/console/cost",
    "try": "/console/try?model=digits",
    "missing": "/console/nothing-here",
}
expect.set_options(timeout=PATIENCE_S * 1000)
LOOKS = {"light": ("light", 1280), "dark": ("dark", 1280), "phone": ("light", 360)}


def events(site):
    return [event["name"] for event in requests.get(site.url("/api/events"), timeout=PATIENCE_S).json()]


def ask(site, digits, rows=1, **parameters):
    body = {"inputs": [digits.tensor(slice(0, rows))], "parameters": parameters}
    return site.infer("digits", body).status_code


@pytest.fixture(scope="module")
def site(tmp_path_factory, digits):
    """A server with objectives, an alert that fires, a deploy, answers, errors, and a bundle whose words are hostile."""
    folder = tmp_path_factory.mktemp("console")
    config = folder / "tidegate.toml"
    config.write_text(CONFIG)
    bundle = folder / "models/hostile"
    bundle.mkdir(parents=True)
    shutil.copy(GRAPHS / "identity_bytes.onnx", bundle / "model.onnx")
    words = json.dumps(HOSTILE)
    (bundle / "model.toml").write_text(f"description = {words}\nlicense = {words}\n[tags]\nnote = {words}\n")
    shutil.copytree(MODELS / "digits", folder / "models/digits")
    site = Server(folder / "data", folder / "models", flags=("--config", str(config)))
    until(lambda: "version.ready" in events(site))
    assert {ask(site, digits, rows) for rows in (1, 3, 8, 1, 2)} == {200}
    assert site.infer("digits", {"inputs": []}).status_code == 400
    assert ask(site, digits, timeout=1) == 400
    assert requests.post(site.url("/v2/repository/models/digits/load"), timeout=PATIENCE_S).status_code == 200
    until(lambda: {"version.reloaded", "alert.firing"} <= set(events(site)))
    yield site
    site.stop()


@pytest.fixture(scope="module")
def browser():
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    quiet += ["--disable-component-update", "--disable-sync"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=quiet)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, site):
    """Opens a page in a context of its own; at the end nothing may have gone wrong in it."""
    contexts, wrong = [], []

    def visit(path, look="light", server=site):
        scheme, width = LOOKS[look]
        context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
        context.set_default_timeout(PATIENCE_S * 1000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: said.type == "error" and wrong.append(said.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("requestfailed", lambda request: page.is_closed() or wrong.append(f"{request.url}: {request.failure}"))
        elsewhere = lambda request: request.url.startswith(server.url("")) or wrong.append(request.url)
        page.on("request", elsewhere)
        page.goto(server.url(path))
        page.wrong = wrong
        return page

    yield visit
    for context in contexts:
        context.close()
    assert not [text for text in wrong if "ERR_ABORTED" not in text]


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole_and_for_everybody(visit, name, look):
    page = visit(PAGES[name], look)
    if name == "missing":
        assert "404" in page.wrong.pop(), "the page itself is what is not there"
    if page.locator("#live-state").count():
        expect(page.locator("#live-state")).to_have_attribute("data-kind", "live")
    assert page.locator("h1").count() == 1
    width = LOOKS[look][1]
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "no scrolling sideways"
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}-{look}.png", full_page=True)
    found = Axe().run(page).response["violations"]
    assert not found, [(rule["id"], [node["html"] for node in rule["nodes"]][:3]) for rule in found]


def test_home_says_what_is_amiss_and_leads_there(visit):
    page = visit("/console")
    expect(page.locator("#health")).to_contain_text("firing")
    expect(page.locator("#health .badge")).to_contain_text("act now")
    expect(page.locator("#health")).to_contain_text("rows were answered")
    row = page.locator("#endpoints tr", has_text="digits")
    expect(row).to_contain_text("ready")
    expect(row).to_contain_text("firing")
    expect(row.locator(".spark")).to_be_visible()
    row.get_by_role("link", name="digits").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("digits")


def test_an_endpoint_shows_its_traffic_and_marks_what_happened(visit, site):
    page = visit("/console/endpoints/digits?range=15m")
    assert page.locator("figure").count() == 7, "six charts and the budget"
    titles = page.locator("#charts figure").first.locator(".mark title").all_text_contents()
    assert any("was reloaded" in title for title in titles) and any("Answered" in title for title in titles), titles
    expect(page.locator("#marks")).to_contain_text("version 1 was reloaded")
    expect(page.locator("#objectives")).to_contain_text("99 % successful over 30d")
    answered = int(page.locator("#versions td[data-label=Requests]").inner_text().replace(",", ""))
    assert answered >= 7
    page.locator("#table summary").click()
    assert page.locator("#table tbody tr").count() == 45, "every twenty seconds"
    for label, rows in (("1 hour", 60), ("6 hours", 72), ("3 days", 72)):
        page.get_by_role("link", name=label).click()
        expect(page.get_by_role("link", name=label)).to_have_attribute("aria-current", "true")
        expect(page.locator("#table tbody tr")).to_have_count(rows)
    # What the time axis ends with is on the clock of the server.
    assert re.search(r"\d\d:\d\d", page.locator(".chart").first.text_content())


def test_a_page_changes_while_somebody_looks(visit, site, digits):
    page = visit("/console/endpoints/digits")
    expect(page.locator("#live-state")).to_have_attribute("data-kind", "live")
    page.evaluate("window.stays = true")
    page.locator("#table summary").click()
    requests_of = "#figures div:nth-child(2) dd"
    before = int(page.locator(requests_of).inner_text().replace(",", ""))
    page.get_by_role("link", name="Answered").or_(page.locator("#alerts a", has_text="digits")).first.focus()
    assert {ask(site, digits) for _ in range(5)} == {200}
    page.wait_for_function(
        "([css, least]) => Number(document.querySelector(css).textContent.replace(',', '')) >= least", arg=[requests_of, before + 5]
    )
    assert page.evaluate("window.stays"), "the page was not loaded again"
    assert page.locator("#table details").get_attribute("open") is not None, "what was opened stays open"
    assert page.evaluate("document.activeElement.textContent") == "digits", "the focus stays"


def test_everything_can_be_reached_by_keyboard(visit):
    page = visit("/console/alerts")
    reachable = "a[href], button, input, select, textarea, summary"
    wanted = page.locator(reachable).count()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    page.reload()
    seen = set()
    for _ in range(2 * wanted):
        page.keyboard.press("Tab")
        at = page.evaluate(f"[...document.querySelectorAll({json.dumps(reachable)})].indexOf(document.activeElement)")
        seen.add(at)
    assert set(range(wanted)) <= seen, "every control takes the focus"


def test_what_others_wrote_is_only_text(visit, site):
    page = visit("/console/models/hostile")
    expect(page.get_by_text(HOSTILE).first).to_be_visible()
    assert page.locator("main img").count() == 0 and page.locator("main b").count() == 0
    page = visit(f"/console?q={requests.utils.quote(HOSTILE)}")
    assert page.locator("#q").input_value() == HOSTILE
    assert page.locator("main img").count() == 0
    page = visit(f"/console/try?model={requests.utils.quote(HOSTILE)}")
    assert page.locator("main img").count() == 0
    assert "owned" not in page.title()


def test_silences_are_added_and_ended(visit, site):
    page = visit("/console/alerts")
    page.locator("#alerts tr", has_text="Answered").get_by_role("link", name="Silence").click()
    expect(page.locator("#matchers")).to_have_value(re.compile('alertname="Answered"\n'))
    page.locator("#author").fill("ada")
    page.locator("#comment").fill(HOSTILE)
    page.get_by_role("button", name="Silence", exact=True).click()
    row = page.locator("#silences tr", has_text="alertname")
    expect(row).to_contain_text("active")
    expect(row).to_contain_text(HOSTILE)
    expect(page.locator("#alerts tr", has_text="Answered")).to_contain_text("not sent")
    row.get_by_role("button").click()
    expect(page.locator("#silences tr", has_text="alertname")).to_contain_text("expired")
    expect(page.locator("#alerts tr", has_text="Answered")).not_to_contain_text("not sent")
    assert [silence["state"] for silence in silences(site)] == ["expired"]


def test_a_silence_that_cannot_be_says_why_and_keeps_what_was_written(visit, site):
    before = len(silences(site))
    page = visit("/console/alerts")
    page.locator("#matchers").fill("endpoint")
    page.locator("#author").fill("ada")
    page.locator("#comment").fill("because")
    page.get_by_role("button", name="Silence", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text('matcher "endpoint"')
    expect(page.locator("#comment")).to_have_value("because")
    assert "400" in page.wrong.pop()
    assert len(silences(site)) == before


def silences(site):
    return requests.get(site.url("/api/silences"), timeout=PATIENCE_S).json()


def test_events_are_filtered(visit, site):
    page = visit("/console/events")
    page.locator("#name").select_option("version")
    page.locator("#model").fill("digits")
    page.get_by_role("button", name="Filter").click()
    rows = page.locator("#events tbody tr")
    expect(rows.filter(has_text="version.reloaded")).to_have_count(1)
    assert rows.filter(has_text="alert.").count() == 0 and rows.filter(has_text="hostile").count() == 0


def test_the_quality_page_shows_what_labels_say(visit, site, digits):
    answer = site.infer("digits", {"inputs": [digits.tensor(slice(0, 2))]}).json()
    prediction = answer["parameters"]["prediction_id"]
    feedback = [{"prediction_id": prediction, "row": row, "label": int(digits.probabilities[row].argmax())} for row in range(2)]
    sent = requests.post(site.url("/v1/endpoints/digits/feedback"), json={"feedback": feedback}, timeout=PATIENCE_S)
    assert sent.json()["new"] == 2, sent.text
    page = visit("/console/quality")
    row = page.locator("#quality tbody tr", has_text="digits").first
    # Measured every 15 seconds, and the page changes by itself.
    expect(row).to_contain_text("accuracy 100", timeout=60_000)
    expect(page.locator("#quality")).to_contain_text("no window")


def test_a_rollout_is_watched_paused_and_promoted_by_buttons(visit, start, tmp_path):
    model(tmp_path / "models", "m", {"1": table_lookup(1.0), "2": table_lookup(1.0, 4095)})
    server = start(tmp_path / "models")
    steps = [{"weight": weight, "min_duration_s": 600, "min_requests": 1} for weight in ("50%", "100%")]
    page = visit("/console/rollouts", server=server)
    expect(page.locator("#rollouts")).to_contain_text("no rollout yet")
    policy = {"policy": {"versions": [{"version": 1}]}}
    assert requests.put(server.url("/api/traffic/m"), json=policy, timeout=PATIENCE_S).status_code == 200
    begun = requests.post(server.url("/api/rollouts/m"), json={"to": 2, "steps": steps}, timeout=PATIENCE_S)
    assert begun.status_code == 201, begun.text
    card = page.locator("#rollouts section", has_text="version 1 → 2")
    expect(card).to_contain_text("running")
    for _ in range(300):
        assert server.infer("m", {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 1, 1, 1]}]}).status_code == 200
    expect(card.locator("tr", has_text="errors")).to_contain_text("not worse")
    page.get_by_role("button", name="Pause the rollout of m").click()
    expect(page.locator("#rollouts")).to_contain_text("paused by anonymous")
    page.get_by_role("button", name="Resume the rollout of m").click()
    expect(page.locator("#rollouts")).to_contain_text("running")
    page.get_by_role("button", name="Promote the rollout of m").click()
    expect(page.locator("#rollouts")).to_contain_text("promoted")
    expect(page.get_by_role("button", name="Abort the rollout of m")).to_have_count(0)




def test_the_cost_page_says_what_was_spent_and_on_what(visit, site):
    page = visit("/console/cost")
    page.reload()
    expect(page.locator("#costs .tiles")).to_contain_text("EUR")
    expect(page.locator("#costs tbody tr", has_text="digits").last).to_contain_text("1")
    expect(page.locator("#costs tbody tr", has_text="whole server")).to_contain_text("used up")
    report = requests.get(site.url("/api/cost"), timeout=PATIENCE_S).json()
    rows = [row for row in report["rows"] if row.get("model") == "digits"]
    assert rows and float(rows[0]["total"]) > 0


def test_a_prediction_is_tried(visit, site):
    page = visit("/console/try")
    page.locator("#choose").fill("digits")
    page.get_by_role("button", name="Show a sample").click()
    body = json.loads(page.locator("#body").input_value())
    assert body["inputs"][0]["shape"] == [1, 64] and len(body["inputs"][0]["data"]) == 64
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#answer")).to_contain_text("200")
    answer = json.loads(page.locator("#answer pre").inner_text())
    assert answer["model_name"] == "digits" and answer["outputs"][0]["name"]
    page.locator("#version").select_option("1")
    page.locator("#body").fill('{"inputs": [')
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#answer")).to_contain_text("malformed_json")
    expect(page.locator("#answer")).to_contain_text("the body is not valid JSON")
    expect(page.locator("#body")).to_have_value('{"inputs": [')
    expect(page.locator("#version")).to_have_value("1")


@pytest.mark.parametrize("path", ["/console/silences", "/console/silences/x/expire", "/console/try"])
def test_forms_of_other_sites_do_nothing(site, path):
    before = (len(silences(site)), site_requests(site))
    fields = {"matchers": 'a="b"', "author": "a", "comment": "b", "model": "digits", "body": "{}"}
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.example"}):
        answer = requests.post(site.url(path), data=fields, headers=headers, timeout=PATIENCE_S, allow_redirects=False)
        assert answer.status_code == 403, headers
        assert "another site" in answer.text
    assert (len(silences(site)), site_requests(site)) == before


def site_requests(site):
    answer = requests.get(site.url("/v2/models/digits/stats"), timeout=PATIENCE_S).json()["model_stats"][0]
    return answer["inference_stats"]["success"]["count"], answer["inference_stats"]["fail"]["count"]


def test_pages_are_guarded_and_files_are_kept(site):
    page = requests.get(site.url("/console"), timeout=PATIENCE_S)
    assert page.headers["content-security-policy"].startswith("default-src 'self';")
    assert page.headers["x-frame-options"] == "DENY" and page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["cache-control"] == "no-store"
    assert " style=" not in page.text and "<style" not in page.text and not re.search(r"<script[^>]*>[^<]", page.text)
    paths = set(re.findall(r'"(/console/assets/[^"]+)"', page.text))
    assert len(paths) == 3
    for path in paths:
        file = requests.get(site.url(path), timeout=PATIENCE_S)
        assert "immutable" in file.headers["cache-control"] and file.headers["x-content-type-options"] == "nosniff"
        again = requests.get(site.url(path), headers={"If-None-Match": file.headers["etag"]}, timeout=PATIENCE_S)
        assert (again.status_code, again.text) == (304, "")
    assert requests.get(site.url("/console/assets/console-0.css"), timeout=PATIENCE_S).status_code == 404
    for path in ("/console/models/none", "/console/endpoints/none", "/console/%ff", "/console/x/y/z"):
        assert requests.get(site.url(path), timeout=PATIENCE_S).status_code in (400, 404), path
    assert requests.get(site.url("/"), timeout=PATIENCE_S).url == site.url("/console")
    assert requests.get(site.url("/console/"), timeout=PATIENCE_S).status_code == 200


def stream(server, path="/console"):
    headers = {"Accept": "text/event-stream"}
    return requests.get(server.url(path), headers=headers, stream=True, timeout=PATIENCE_S)


def test_streams_are_bounded_and_end_with_the_server(start, tmp_path, visit):
    config = tmp_path / "tidegate.toml"
    config.write_text("[console]\nmax_streams = 2\n")
    server = start(MODELS / "digits", flags=("--config", str(config)))
    page = visit("/console", server=server)
    expect(page.locator("#live-state")).to_have_attribute("data-kind", "live")
    second = stream(server)
    assert second.headers["content-type"] == "text/event-stream"
    refused = stream(server)
    assert refused.status_code == 503 and "console.max_streams" in refused.text
    metrics = requests.get(server.url("/metrics"), timeout=PATIENCE_S).text
    assert "tidegate_console_streams_refused_total 1" in metrics
    foreign = requests.get(
        server.url("/console"), headers={"Accept": "text/event-stream", "Sec-Fetch-Site": "cross-site"}, timeout=PATIENCE_S
    )
    assert foreign.status_code == 403
    second.close()
    until(lambda: stream(server).status_code == 200)
    server.stop()
    expect(page.locator("#live-state")).to_have_text("not live: reconnecting")
    page.wrong.clear()


def test_a_page_comes_to_life_again_when_the_server_does(tmp_path, visit):
    address = f"127.0.0.1:{free_port()}"
    server = Server(tmp_path / "data", MODELS / "digits", http=address)
    page = visit("/console", server=server)
    expect(page.locator("#live-state")).to_have_attribute("data-kind", "live")
    server.stop()
    expect(page.locator("#live-state")).to_have_attribute("data-kind", "lost")
    server = Server(tmp_path / "data", MODELS / "digits", http=address)
    expect(page.locator("#live-state")).to_have_attribute("data-kind", "live")
    page.wrong.clear()
    page.close()
    server.stop()


def test_many_models_are_looked_through_page_by_page(tmp_path, start, visit):
    for number in range(60):
        folder = tmp_path / f"models/model-{number:02}"
        folder.mkdir(parents=True)
        shutil.copy(GRAPHS / "identity_fp32.onnx", folder / "model.onnx")
    server = start(tmp_path / "models")
    page = visit("/console", server=server)
    expect(page.locator("#endpoints tbody tr")).to_have_count(50)
    page.get_by_role("link", name="Next").click()
    expect(page.locator("#endpoints tbody tr")).to_have_count(10)
    expect(page.locator("#endpoints")).to_contain_text("51 to 60 of 60")
    page.locator("#q").fill("-1")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("#endpoints tbody tr")).to_have_count(10)
    page = visit("/console/models?q=model-5", server=server)
    expect(page.locator("#models tbody tr")).to_have_count(10)


def test_a_version_of_the_registry_shows_where_it_comes_from(registry, graph, start, visit):
    lineage = '[lineage]\nauthor = "grace"\ndataset = "cards"\n[lineage.metrics]\nauc = 0.91\n'
    registry.run("push", graph("identity_fp32", manifest=lineage), "--alias", "champion")
    digest = registry.versions()[0]["digest"]
    server = start(data=registry.data)
    page = visit("/console/models/m", server=server)
    expect(page.locator("#versions tbody tr")).to_contain_text("champion")
    for text in (digest, "grace", "cards", "auc 0.91", "ada"):
        expect(page.locator("#details")).to_contain_text(text)
    expect(page.locator("#signature")).to_contain_text("FP32")
    server.stop()
    page.wrong.clear()


def test_the_console_can_be_switched_off(start, tmp_path):
    config = tmp_path / "tidegate.toml"
    config.write_text("[console]\nenabled = false\n")
    server = start(MODELS / "digits", flags=("--config", str(config)))
    assert not [line for line in server.lines if line.startswith("console")]
    for path in ("/", "/console", "/console/try"):
        answer = requests.get(server.url(path), timeout=PATIENCE_S)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
