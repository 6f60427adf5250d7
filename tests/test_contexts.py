"""`tidegate login`, `logout` and `context`: commands against a protected server."""

import os
import pty
import stat
import subprocess
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from conftest import BINARY, MODELS, PATIENCE_S, Server
from test_auth import Keys, wait_until_known


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("contexts")


@pytest.fixture(scope="module")
def root(folder):
    return Keys(folder / "data").create("root", "admin")


@pytest.fixture(scope="module")
def server(folder, root):
    prices = {"TIDEGATE_COST__CURRENCY": "EUR", "TIDEGATE_COST__VCPU_HOUR": "1"}
    server = Server(folder / "data", MODELS / "digits", environment={"TIDEGATE_AUTH__ENABLED": "true", **prices})
    wait_until_known(server, root)
    yield server
    server.stop()


class User:
    """Somebody with a configuration folder of their own."""

    def __init__(self, folder):
        self.file = folder / "tidegate/contexts.toml"
        self.environment = {**os.environ, "XDG_CONFIG_HOME": str(folder)}
        self.environment.pop("TIDEGATE_TOKEN", None)

    def run(self, *arguments, typed="", **environment):
        env = {**self.environment, **environment}
        command = [BINARY, *arguments]
        return subprocess.run(command, input=typed, capture_output=True, text=True, timeout=PATIENCE_S, env=env)

    def log_in(self, server, name, key):
        return self.run("login", "--url", server.http, "--context", name, typed=key + "\n")


@pytest.fixture
def user(tmp_path):
    return User(tmp_path / "config")


def test_every_command_that_asks_a_server_uses_the_key_of_the_context(server, root, user):
    refused = user.run("alerts", "--url", server.http)
    assert refused.returncode != 0 and "tidegate login" in refused.stderr
    done = user.log_in(server, "prod", root)
    assert done.returncode == 0 and "key:root" in done.stdout and root not in done.stdout + done.stderr
    for command in (
        ("alerts",),
        ("models",),
        ("slo",),
        ("silence", "list"),
        ("cost", "report"),
        ("top", "--once", "--interval", "0.2"),
        ("observe", "export", "--url", server.http),
        ("api-keys", "create", "made", "--role", "caller", "--url", server.http),
        ("api-keys", "revoke", "made", "--url", server.http),
        ("load", "digits", "--requests", "3", "--quiet", "--url", server.http),
    ):
        ended = user.run(*command)
        assert ended.returncode == 0, (command, ended.stderr)
    assert user.run("doctor", "--watch", "1").returncode != 2, "it reaches the server"


def test_a_wrong_key_is_not_kept(server, root, user):
    wrong = user.log_in(server, "prod", root[:-1] + ("x" if root[-1] != "x" else "y"))
    assert wrong.returncode != 0 and "checksum" in wrong.stderr and not user.file.exists()
    assert user.log_in(server, "prod", "").returncode != 0


def test_contexts_are_listed_chosen_and_forgotten(server, root, user):
    assert user.log_in(server, "prod", root).returncode == 0
    assert stat.S_IMODE(user.file.stat().st_mode) == 0o600
    # Without a name it is that of the server.
    assert user.run("login", "--url", server.http, typed=root).returncode == 0
    listed = user.run("context", "list").stdout
    current = [line.split()[1:] for line in listed.splitlines() if line.startswith("*")]
    assert current == [[server.http, f"http://{server.http}"]] and root not in listed
    assert user.run("context", "use", "prod").returncode == 0
    forgotten = user.run("logout")
    assert forgotten.returncode == 0 and "prod" in forgotten.stdout
    assert "prod" not in user.run("context", "list").stdout
    assert user.run("context", "use", "prod").returncode != 0
    assert user.run("logout").returncode != 0, "none is current"
    assert user.run("logout", server.http).returncode == 0
    assert root not in user.file.read_text()


def test_the_token_of_the_environment_has_precedence(server, root, user):
    assert user.log_in(server, "prod", root).returncode == 0
    refused = user.run("alerts", "--url", server.http, TIDEGATE_TOKEN="tdg_wrong")
    assert refused.returncode != 0 and "checksum" in refused.stderr
    # It may not be for the server of the context.
    elsewhere = user.run("alerts", TIDEGATE_TOKEN=root)
    assert elsewhere.returncode != 0 and "127.0.0.1:8000" in elsewhere.stderr


def test_a_key_is_sent_only_to_the_server_that_it_was_saved_for(server, root, user):
    assert user.log_in(server, "prod", root).returncode == 0
    seen = []

    class Other(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.headers.get("Authorization"))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"[]")

        def log_message(self, *_):
            pass

    other = HTTPServer(("127.0.0.1", 0), Other)
    serving = Thread(target=other.handle_request)
    serving.start()
    user.run("alerts", "--url", f"http://127.0.0.1:{other.server_port}")
    serving.join(PATIENCE_S)
    other.server_close()
    assert seen == [None]


def test_contexts_that_others_can_read_are_not_used(server, root, user):
    assert user.log_in(server, "prod", root).returncode == 0
    user.file.chmod(0o644)
    refused = user.run("alerts")
    assert refused.returncode != 0 and "chmod 600" in refused.stderr and root not in refused.stderr


def test_a_terminal_does_not_show_the_key(server, root, user):
    master, slave = pty.openpty()
    command = [BINARY, "login", "--url", server.http]
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=user.environment)
    os.close(slave)
    shown = b""
    while b"API key:" not in shown:
        shown += os.read(master, 1024)
    # What was mistyped can be taken back.
    os.write(master, f"x\x7f{root}\r".encode())
    try:
        while part := os.read(master, 1024):
            shown += part
    except OSError:
        # The terminal is closed once the command has ended.
        pass
    assert process.wait(PATIENCE_S) == 0, shown
    os.close(master)
    assert b"key:root" in shown and root.encode() not in shown
    assert root in user.file.read_text()


def test_a_server_without_authentication_needs_no_login(start, user):
    server = start(MODELS / "digits")
    refused = user.log_in(server, "open", "tdg_any")
    assert refused.returncode != 0 and "authentication is off" in refused.stderr


class Redirecting:
    """A server that sends everybody to another address, and one at that address that notes what comes."""

    def __init__(self, path):
        self.asked = []
        self.target = self.serve(self.note)
        self.source = self.serve(self.redirect)
        self.path = path

    def serve(self, answer):
        handler = type("Handler", (BaseHTTPRequestHandler,), {"do_GET": answer, "do_POST": answer, "log_message": lambda *_: None})
        server = HTTPServer(("127.0.0.1", 0), handler)
        Thread(target=server.serve_forever, daemon=True).start()
        return server

    @property
    def redirect(self):
        def redirect(handler):
            handler.send_response(307)
            handler.send_header("Location", f"http://localhost:{self.target.server_port}{self.path}")
            handler.send_header("Content-Length", "0")
            handler.end_headers()

        return redirect

    @property
    def note(self):
        def note(handler):
            self.asked.append((handler.path, handler.headers.get("Authorization")))
            body = b'{"principal": "key:root", "key": "stolen"}'
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)

        return note

    def stop(self):
        for server in (self.source, self.target):
            server.shutdown()
            server.server_close()


def test_no_command_follows_a_redirect_with_the_key(user, root):
    redirecting = Redirecting("/api/whoami")
    try:
        url = f"http://127.0.0.1:{redirecting.source.server_port}"
        ended = user.run("login", "--url", url, typed=root + "\n")
        assert ended.returncode != 0 and "sends to http://localhost" in ended.stderr, ended.stderr
        assert root not in ended.stderr and not user.file.exists()
        create = ("api-keys", "create", "a", "--role", "caller", "--url", url)
        assert user.run(*create, TIDEGATE_TOKEN=root).returncode != 0
        assert redirecting.asked == []
    finally:
        redirecting.stop()


def test_keys_and_audit_use_the_server_of_the_context_unless_a_folder_is_named(server, root, folder, user):
    assert user.log_in(server, "prod", root).returncode == 0
    created = user.run("api-keys", "create", "by-context", "--role", "caller", "--on", "digits")
    assert created.returncode == 0 and created.stdout.startswith("tdg_"), created.stderr
    assert f"using the server http://{server.http} (context prod" in created.stderr
    assert "by-context" in user.run("api-keys", "list").stdout
    elsewhere = user.run("api-keys", "list", "--data", str(folder / "elsewhere"))
    assert "by-context" not in elsewhere.stdout and f"using the database {folder / 'elsewhere'}" in elsewhere.stderr
    # The token of the environment may not be for the server of the context.
    own = user.run("api-keys", "list", TIDEGATE_TOKEN=root, XDG_DATA_HOME=str(folder / "own"))
    assert f"using the database {folder / 'own'}" in own.stderr
    blank = user.run("api-keys", "create", "blank", "--role", "caller", "--on", "frau d")
    assert blank.returncode != 0 and "without blanks" in blank.stderr
    rotated = user.run("api-keys", "rotate", "by-context", "--overlap", "0s")
    assert rotated.returncode == 0, rotated.stderr
    assert user.run("api-keys", "revoke", "by-context").returncode == 0

    listed = user.run("audit", "list", "--action", "key.create", "--limit", "10", "--json")
    assert listed.returncode == 0 and "by-context" in listed.stdout, listed.stderr
    local = user.run("audit", "export", "--data", str(folder / "data"))
    exported = user.run("audit", "export")
    # Denials may be written meanwhile.
    assert exported.returncode == 0 and local.stdout and exported.stdout.startswith(local.stdout)
    verified = user.run("audit", "verify")
    assert verified.returncode == 0 and verified.stdout.startswith("whole: "), verified.stderr
    anchor = folder / "anchor"
    anchor.write_text('{"number": 1, "hash": "0"}\n')
    wrong = user.run("audit", "verify", "--anchor", str(anchor))
    assert wrong.returncode == 1 and "another row" in wrong.stdout


def test_a_key_is_not_sent_over_plain_http_to_another_machine(server, root, user):
    refused = user.run("login", "--url", "http://models.invalid:8000", typed=root)
    assert refused.returncode != 0 and "--insecure-http" in refused.stderr and not user.file.exists()
    user.file.parent.mkdir(parents=True)
    user.file.touch(0o600)
    user.file.write_text(f'current = "a"\n[context.a]\nurl = "http://models.invalid:8000"\ntoken = "{root}"\n')
    refused = user.run("alerts")
    assert refused.returncode != 0 and "unencrypted" in refused.stderr
    user.file.write_text(user.file.read_text() + "insecure_http = true\n")
    assert "cannot reach http://models.invalid:8000" in user.run("alerts").stderr


def test_commands_of_the_doctor_can_be_pasted(server, root, user):
    assert user.log_in(server, "prod", root).returncode == 0
    asked = user.run("api", "/api/events?name=server.started")
    assert asked.returncode == 0 and "server.started" in asked.stdout, asked.stderr
    assert user.run("api", "--post", "/v2/repository/models/digits/load").returncode == 0
    report = user.run("doctor", "--watch", "1", "--json").stdout
    assert "curl" not in report, report
