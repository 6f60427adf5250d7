"""Signing in to the console in a real browser, by key and with a certified OpenID provider."""

import json
import subprocess
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from conftest import BINARY, MODELS, PATIENCE_S, Server
from oidc_issuer import RESOURCE, OidcIssuer, new_key
from parts import free_port, until
from test_auth import DIGITS, Keys, bearer, wait_until_known
from test_console import CHROMIUM, browser  # noqa: F401 (a fixture)
from test_tls import TlsServer, make_certificates

assert CHROMIUM
OWN = {"Sec-Fetch-Site": "same-origin"}
FOREIGN = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("login")


@pytest.fixture(scope="module")
def keys(folder):
    return Keys(folder / "data")


@pytest.fixture(scope="module")
def ada(keys):
    return keys.create("ada", "admin")


@pytest.fixture(scope="module")
def oidc(port):
    key = new_key("r1", "RS256")
    issuer = OidcIssuer(key, redirect=f"http://127.0.0.1:{port}/console/login/callback")
    issuer.keys = (key,)
    yield issuer
    issuer.stop()


@pytest.fixture(scope="module")
def port():
    return free_port()


@pytest.fixture(scope="module")
def server(folder, ada, oidc, port):
    secret = folder / "secret"
    secret.write_text("secret-of-console\n")
    config = folder / "tidegate.toml"
    config.write_text(
        f"""
        [auth]
        enabled = true
        [[auth.issuer]]
        issuer = "{oidc.url}"
        audiences = ["{RESOURCE}"]
        groups_claim = "groups"
        [[auth.binding]]
        group = "ops"
        role = "operator"
        [auth.login]
        public_url = "http://127.0.0.1:{port}"
        issuer = "{oidc.url}"
        client_id = "console"
        client_secret_file = "{secret}"
        """
    )
    flags = ("--config", str(config))
    server = Server(folder / "data", MODELS / "digits", flags=flags, http=f"127.0.0.1:{port}")
    wait_until_known(server, ada)
    yield server
    server.stop()


@pytest.fixture
def page(browser):  # noqa: F811
    context = browser.new_context()
    context.set_default_timeout(PATIENCE_S * 1000)
    yield context.new_page()
    context.close()


def sign_in(page, key):
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()


def post_key(server, key, headers=OWN, **options):
    data = {"key": key, "next": options.pop("next", "/console")}
    url = server.url("/console/login")
    return requests.post(url, data=data, headers=headers, timeout=PATIENCE_S, allow_redirects=False, **options)


def get(server, path, **options):
    headers = {"Accept": "text/html", **options.pop("headers", {})}
    return requests.get(server.url(path), headers=headers, timeout=PATIENCE_S, allow_redirects=False, **options)


def test_somebody_signs_in_with_a_key_sees_the_page_they_wanted_and_signs_out(server, ada, page):
    wanted = server.url("/console/models?q=dig")
    page.goto(wanted)
    assert urlsplit(page.url).path == "/console/login"
    assert parse_qs(urlsplit(page.url).query)["next"] == ["/console/models?q=dig"]
    assert not Axe().run(page).response["violations"]
    assert page.locator("nav").count() == 0 and "firing" not in page.content()
    sign_in(page, ada[:-1] + "x")
    expect(page.get_by_role("alert")).to_contain_text("checksum")
    sign_in(page, ada)
    expect(page.get_by_role("heading", level=1)).to_have_text("Models")
    assert page.url == wanted
    expect(page.locator(".user")).to_have_text("key:ada")
    assert not Axe().run(page).response["violations"]
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    page.goto(wanted)
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")


def test_a_session_tries_a_model(server, ada, page):
    page.goto(server.url("/console/try?model=digits"))
    sign_in(page, ada)
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#answer")).to_contain_text("200")


def test_scripts_cannot_read_the_cookie_and_other_sites_cannot_send_it(server, ada, page):
    page.goto(server.url("/console/login"))
    sign_in(page, ada)
    expect(page.locator(".user")).to_have_text("key:ada")
    [cookie] = page.context.cookies()
    assert cookie["name"] == "tidegate_session" and len(cookie["value"]) == 64
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"], cookie["expires"]) == (True, "Lax", "/", -1)
    assert page.evaluate("document.cookie") == ""


def test_with_a_public_address_of_https_the_cookie_is_for_tls_and_this_host_only(start, tmp_path):
    keys = Keys(tmp_path / "data")
    key = keys.create("ada", "admin")
    environment = {"TIDEGATE_AUTH__ENABLED": "true", "TIDEGATE_AUTH__LOGIN__PUBLIC_URL": "https://models.example.com"}
    server = start(MODELS / "digits", data=tmp_path / "data", environment=environment)
    wait_until_known(server, key)
    cookie = post_key(server, key).headers["Set-Cookie"]
    assert cookie.startswith("__Host-tidegate_session=")
    assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} == set(cookie.split("; ")[1:])
    name, value = cookie.split(";")[0].split("=")
    assert get(server, "/console", cookies={name: value}).status_code == 200
    # Another host of the domain can set a cookie of the plain name.
    assert get(server, "/console", cookies={"tidegate_session": value}).status_code == 303


def test_over_tls_a_browser_keeps_the_session_for_this_host_alone(tmp_path, browser):  # noqa: F811
    make_certificates(tmp_path / "certificates")
    key = Keys(tmp_path / "data").create("ada", "admin")
    server = TlsServer(tmp_path / "data", tmp_path / "certificates", environment={"TIDEGATE_AUTH__ENABLED": "true"})
    until(lambda: server.get("/metrics", headers=bearer(key)).status_code == 200)
    context = browser.new_context(ignore_https_errors=True)
    context.set_default_timeout(PATIENCE_S * 1000)
    page = context.new_page()
    page.goto(server.url("/console"))
    sign_in(page, key)
    expect(page.locator(".user")).to_have_text("key:ada")
    [cookie] = context.cookies()
    assert (cookie["name"], cookie["secure"], cookie["httpOnly"]) == ("__Host-tidegate_session", True, True)
    context.close()
    server.stop()


def test_a_revoked_key_ends_its_session_and_its_open_pages(server, keys, page):
    key = keys.create("leaving", "viewer")
    wait_until_known(server, key)
    page.goto(server.url("/console"))
    sign_in(page, key)
    expect(page.locator("#live-state")).to_have_attribute("data-kind", "live")
    assert keys.run("revoke", "leaving").returncode == 0
    expect(page.locator("#live-state")).to_have_attribute("data-kind", "lost")
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")


def test_a_session_has_an_id_that_nobody_chose_and_each_login_a_new_one(server, ada):
    chosen = {"tidegate_session": "0" * 64}
    first = post_key(server, ada, cookies=chosen).cookies
    assert first["tidegate_session"] != chosen["tidegate_session"]
    assert get(server, "/console", cookies=chosen).status_code == 303
    assert get(server, "/console", cookies=first).status_code == 200
    second = post_key(server, ada, cookies=first).cookies
    assert get(server, "/console", cookies=first).status_code == 303
    assert get(server, "/console", cookies=second).status_code == 200


def test_a_login_leads_to_pages_of_the_console_only(server, ada):
    for foreign in ("//evil.example", "https://evil.example/console", "/\\evil.example", "/consolex", "javascript:alert(1)"):
        assert post_key(server, ada, next=foreign).headers["Location"] == "/console", foreign
    assert post_key(server, ada, next="/console/alerts?a=b").headers["Location"] == "/console/alerts?a=b"
    assert "evil" not in get(server, "/console/login?next=//evil.example").text


def test_pages_of_other_sites_can_do_nothing_with_a_session(server, ada):
    cookies = post_key(server, ada).cookies
    options = {"cookies": cookies, "timeout": PATIENCE_S, "allow_redirects": False}
    form = {"model": "digits", "body": json.dumps(DIGITS)}
    assert requests.post(server.url("/console/try"), data=form, headers=OWN, **options).status_code == 200
    for path in ("/console/try", "/console/logout", "/console/silences", "/v2/repository/models/digits/load"):
        answer = requests.post(server.url(path), data=form, headers=FOREIGN, **options)
        assert (answer.status_code, answer.json()["code"]) == (403, "foreign_origin"), path
    assert post_key(server, ada, headers=FOREIGN).status_code == 403
    assert get(server, "/console", cookies=cookies).status_code == 200, "the session goes on"


def test_a_session_is_for_the_console_alone(server, ada):
    cookies = post_key(server, ada).cookies
    assert server.infer("digits", DIGITS, cookies=cookies).status_code == 401
    for path in ("/api/alerts", "/api/keys", "/metrics", "/v2/models/digits"):
        assert get(server, path, cookies=cookies).status_code == 401, path
    assert get(server, "/api/whoami", cookies=cookies).json()["principal"] == "anonymous"
    assert server.infer("digits", DIGITS, cookies=cookies, headers=bearer(ada)).status_code == 200


def test_programs_are_refused_and_not_sent_to_a_form(server):
    answer = requests.get(server.url("/console"), timeout=PATIENCE_S, allow_redirects=False)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    wrong = get(server, "/console", headers=bearer("nonsense"))
    assert (wrong.status_code, wrong.json()["code"]) == (401, "unauthenticated")
    stale = get(server, "/console", cookies={"tidegate_session": "f" * 64})
    assert stale.headers["Location"] == "/console/login?next=%2Fconsole"


def test_nobody_fills_the_memory_with_forms_of_the_login(server):
    for path in ("/console/login", "/console/logout"):
        large = requests.post(server.url(path), data={"key": "a" * 20_000}, timeout=PATIENCE_S)
        assert large.status_code == 413, path


def test_logins_failed_logins_and_logouts_are_in_the_audit_log(server, ada, keys):
    assert post_key(server, "tdg_wrong").status_code == 401
    cookies = post_key(server, ada).cookies
    out = requests.post(server.url("/console/logout"), cookies=cookies, timeout=PATIENCE_S, allow_redirects=False)
    assert out.headers["Location"] == "/console/login"

    def rows():
        command = [BINARY, "audit", "list", "--json", "--data", str(keys.data)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
        rows = [json.loads(line) for line in ended.stdout.splitlines()]
        return {(row["action"], row["actor"], row["resource"]) for row in rows}

    wanted = {
        ("console.login", "key:ada", ""),
        ("console.logout", "key:ada", ""),
        ("request.denied", "anonymous", "console.login"),
    }
    until(lambda: wanted <= rows())


def sign_in_at_provider(page, name):
    page.get_by_role("link", name="organization").click()
    page.locator("[name=login]").fill(name)
    page.locator("[name=password]").fill("any")
    page.get_by_role("button", name="Sign-in").click()
    page.get_by_role("button", name="Continue").click()


def test_somebody_signs_in_with_the_identity_provider(server, oidc, page):
    page.goto(server.url("/console/alerts"))
    sign_in_at_provider(page, "ops-grace")
    expect(page.get_by_role("heading", level=1)).to_have_text("Alerts")
    assert page.url == server.url("/console/alerts")
    expect(page.locator(".user")).to_have_text(f"user:ops-grace@127.0.0.1:{oidc.port}")
    own = [cookie["name"] for cookie in page.context.cookies() if cookie["name"].startswith("tidegate")]
    assert own == ["tidegate_session"], "the cookie of the login is gone"


def test_somebody_without_a_role_is_told_so_and_may_sign_out(server, page):
    page.goto(server.url("/console"))
    sign_in_at_provider(page, "guest-eve")
    expect(page.get_by_role("heading", level=1)).to_have_text("Not permitted")
    expect(page.get_by_role("alert")).to_contain_text("view-operations")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")


def test_a_code_is_taken_once_and_one_that_was_never_given_is_refused(server, page):
    came_back = []
    page.on("request", lambda request: "/login/callback" in request.url and came_back.append(request))
    page.goto(server.url("/console"))
    sign_in_at_provider(page, "ops-grace")
    expect(page.locator(".user")).to_be_visible()
    [request] = came_back
    cookies = {"tidegate_login": request.all_headers()["cookie"].split("tidegate_login=")[1].split(";")[0]}
    state = parse_qs(urlsplit(request.url).query)["state"][0]
    for url in (request.url, server.url(f"/console/login/callback?code=guessed&state={state}")):
        again = requests.get(url, cookies=cookies, timeout=PATIENCE_S, allow_redirects=False)
        assert again.status_code == 401 and "Set-Cookie" not in again.headers, again.text


def test_a_provider_that_is_down_is_said_and_keys_still_log_in(server, oidc, ada):
    oidc.stop()
    try:
        down = get(server, "/console/login/oidc")
        assert down.status_code == 503 and "identity provider" in down.text
        assert post_key(server, ada).status_code == 303
    finally:
        oidc.start(*oidc.keys)


def test_an_answer_of_the_provider_that_belongs_to_no_login_is_refused(server):
    forged = get(server, "/console/login/callback?code=x&state=y")
    assert forged.status_code == 401 and "Set-Cookie" not in forged.headers
    begun = get(server, "/console/login/oidc?next=/console/models")
    asked = parse_qs(urlsplit(begun.headers["Location"]).query)
    assert asked["code_challenge_method"] == ["S256"] and len(asked["nonce"][0]) == 43
    cookie = begun.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie and "Max-Age=600" in cookie
    assert asked["state"][0] not in cookie, "it is sealed"
    other = get(server, "/console/login/callback?code=x&state=y", cookies=begun.cookies)
    assert other.status_code == 401 and "Set-Cookie" not in other.headers
    refused = get(server, "/console/login/callback?error=access_denied&state=y")
    assert refused.status_code == 400 and "access_denied" in refused.text
