"""TLS on both ports: versions, client certificates, certificates that are replaced while the server runs."""

import base64
import datetime
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import pytest
import requests
import tritonclient.grpc as triton_grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from conftest import BINARY, MODELS, PATIENCE_S, Server

SHOP = "spiffe://cluster/ns/ml/sa/shop"
OTHER = "spiffe://cluster/ns/web/sa/page"
DIGITS = {"inputs": [{"name": "image", "shape": [1, 64], "datatype": "FP32", "data": [0.0] * 64}]}
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def make_certificates(folder, *clients):
    flags = [flag for client in clients for flag in ("--client", client)]
    command = [BINARY, "certs", "dev", "--out", str(folder), *flags]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def client_file(folder, name):
    return folder / f"client-{name.replace('://', '-').replace('/', '-')}.pem"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """Certificates of one authority."""
    folder = tmp_path_factory.mktemp("authority")
    make_certificates(folder, SHOP, OTHER)
    return folder


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    """Certificates of another authority with the same names."""
    folder = tmp_path_factory.mktemp("stranger")
    make_certificates(folder, SHOP)
    return folder


class TlsServer(Server):
    """A server with the certificate of a folder. `options` are keys of `[tls]`."""

    def __init__(self, data, certificates, environment=None, **options):
        options = {
            "cert_file": certificates / "server.pem",
            "key_file": certificates / "server-key.pem",
            "reload_ms": 50,
            **options,
        }
        tls = {f"TIDEGATE_TLS__{key.upper()}": str(value) for key, value in options.items()}
        super().__init__(data, MODELS / "digits", environment={**tls, **(environment or {})})
        assert self.http.startswith("https://") and self.grpc.startswith("grpcs://")
        self.http, self.grpc = self.http.removeprefix("https://"), self.grpc.removeprefix("grpcs://")
        self.ca = str(certificates / "ca.pem")

    def url(self, path):
        return f"https://{self.http}{path}"

    def get(self, path, client=None, **options):
        cert = str(client) if client else None
        return requests.get(self.url(path), verify=self.ca, cert=cert, timeout=PATIENCE_S, **options)

    def infer(self, model, body, client=None, **options):
        cert, url = (str(client) if client else None), self.url(f"/v2/models/{model}/infer")
        return requests.post(url, json=body, verify=self.ca, cert=cert, timeout=PATIENCE_S, **options)

    def metric(self, name, client=None, **labels):
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        for line in self.get("/metrics", client).text.splitlines():
            if line.startswith((name + " ", name + "{")) and all(label in line for label in wanted):
                return float(line.rsplit(" ", 1)[1])
        return None

    def problems(self, client=None):
        return self.get("/v2/health/ready", client).json()["problems"]

    def connect(self, context, session=None, address=None):
        host, port = (address or self.http).rsplit(":", 1)
        raw = socket.create_connection((host, int(port)), timeout=PATIENCE_S)
        return context.wrap_socket(raw, server_hostname=host, session=session)

    def channel(self, client=None):
        ca = open(self.ca, "rb").read()
        pem = client.read_bytes() if client else None
        return grpc.secure_channel(self.grpc, grpc.ssl_channel_credentials(ca, pem, pem))


@pytest.fixture
def serve(tmp_path):
    servers = []

    def serve(certificates, **options):
        servers.append(TlsServer(tmp_path / f"data{len(servers)}", certificates, **options))
        return servers[-1]

    yield serve
    for server in servers:
        server.stop()


def mutual(certificates, client_auth):
    return {"client_ca_file": certificates / "ca.pem", "client_auth": client_auth}


def context(server, version=None, client=None, protocols=()):
    made = ssl.create_default_context(cafile=server.ca)
    if version:
        made.minimum_version = made.maximum_version = VERSIONS[version]
    if client:
        made.load_cert_chain(client)
    if protocols:
        made.set_alpn_protocols(list(protocols))
    return made


def wait_for(condition):
    for _ in range(PATIENCE_S * 20):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("the condition never held")


def replace(target, source):
    """Replaces a file at once, as those do who renew certificates."""
    part = target.with_suffix(".part")
    part.write_bytes(source.read_bytes())
    os.replace(part, target)


def ask(connection):
    """One request on an open connection; the status line."""
    connection.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    return connection.recv(1024).split(b"\r\n")[0]


def test_both_ports_speak_tls_1_2_and_1_3(serve, authority):
    server = serve(authority)
    for version in VERSIONS:
        with server.connect(context(server, version, protocols=["http/1.1"])) as connection:
            assert connection.version() == f"TLSv{version}"
            assert connection.selected_alpn_protocol() == "http/1.1"
            assert ask(connection) == b"HTTP/1.1 200 OK"
    with server.connect(context(server, protocols=["h2", "http/1.1"])) as connection:
        assert connection.selected_alpn_protocol() == "h2"
    with pytest.raises(ssl.SSLError):
        server.connect(context(server, protocols=["http/1.1"]), address=server.grpc)
    assert server.infer("digits", DIGITS).status_code == 200
    with server.channel() as channel:
        ready = channel.unary_unary("/inference.GRPCInferenceService/ServerReady")
        assert ready(b"", timeout=PATIENCE_S) == b"\x08\x01"


def test_an_older_version_than_the_configured_one_is_refused(serve, authority):
    server = serve(authority, min_version="1.3")
    with pytest.raises(ssl.SSLError):
        server.connect(context(server, "1.2"))
    with server.connect(context(server, "1.3")) as connection:
        assert ask(connection) == b"HTTP/1.1 200 OK"
    assert server.metric("tidegate_tls_handshakes_failed_total", reason="protocol") == 1


def test_a_client_that_trusts_another_authority_does_not_connect(serve, authority, stranger):
    server = serve(authority)
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(server.url("/v2"), verify=str(stranger / "ca.pem"), timeout=PATIENCE_S)
    assert server.get("/v2").status_code == 200


def test_plain_http_is_told_to_use_https(serve, authority):
    server = serve(authority)
    for address in (server.http, server.grpc):
        answer = requests.get(f"http://{address}/v2", timeout=PATIENCE_S)
        assert (answer.status_code, answer.text) == (400, "this port speaks TLS: begin with https\n")
    assert server.metric("tidegate_tls_handshakes_failed_total", reason="not_tls") == 2


@pytest.mark.parametrize("version", VERSIONS)
def test_a_required_client_certificate_must_be_of_the_authority(serve, authority, stranger, version):
    server = serve(authority, **mutual(authority, "required"))
    client = client_file(authority, SHOP)
    with server.connect(context(server, version, client)) as connection:
        assert ask(connection) == b"HTTP/1.1 200 OK"
    for wrong in (None, client_file(stranger, SHOP)):
        # With TLS 1.3 a client learns of it with its first read.
        with pytest.raises((ssl.SSLError, ConnectionError)):
            with server.connect(context(server, version, wrong)) as connection:
                assert ask(connection) != b""
                raise AssertionError("the server has answered")
    assert server.metric("tidegate_tls_handshakes_failed_total", client, reason="client_certificate") == 2
    with server.channel(client) as channel, server.channel() as anonymous:
        method = "/inference.GRPCInferenceService/ServerReady"
        assert channel.unary_unary(method)(b"", timeout=PATIENCE_S) == b"\x08\x01"
        with pytest.raises(grpc.RpcError) as error:
            anonymous.unary_unary(method)(b"", timeout=PATIENCE_S)
        assert error.value.code() == grpc.StatusCode.UNAVAILABLE


BINDING = '[{ role = "caller", resources = ["digits"], certificate = "spiffe://cluster/ns/ml/*" }]'


@pytest.fixture
def protected(serve, authority):
    environment = {"TIDEGATE_AUTH__ENABLED": "true", "TIDEGATE_AUTH__BINDING": BINDING}
    return serve(authority, environment=environment, **mutual(authority, "optional"))


def test_a_client_certificate_has_the_roles_of_its_binding(protected, authority, registry):
    shop, other = client_file(authority, SHOP), client_file(authority, OTHER)
    body = {"instances": [[0.0] * 64]}
    url = protected.url("/v1/models/digits:predict")
    by_v1 = requests.post(url, json=body, verify=protected.ca, cert=str(shop), timeout=PATIENCE_S)
    assert by_v1.status_code == 200, by_v1.text
    for client, status in ((shop, 200), (other, 403), (None, 401)):
        assert protected.infer("digits", DIGITS, client).status_code == status
        assert protected.get("/v2/models/digits", client).status_code == status
    refused = protected.get("/metrics", shop)
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert f"certificate:{SHOP}" in refused.text
    wanted = {f"certificate:{SHOP}", f"certificate:{OTHER}", "anonymous"}
    registry.data = protected.log.with_suffix("")
    wait_for(lambda: wanted <= actors(registry))


def actors(registry):
    """Who is in the audit log."""
    rows = registry.out("audit", "list", "--json").splitlines()
    return {json.loads(row)["actor"] for row in rows}


def test_a_client_certificate_counts_in_grpc_and_in_each_request_of_a_stream(protected, authority):
    answers = {}
    for name in (SHOP, OTHER):
        pem = client_file(authority, name)
        client = triton_grpc.InferenceServerClient(
            protected.grpc,
            ssl=True,
            root_certificates=protected.ca,
            private_key=str(pem),
            certificate_chain=str(pem),
        )
        given = triton_grpc.InferInput("image", [1, 64], "FP32")
        given.set_data_from_numpy(numpy_zeros())
        try:
            client.infer("digits", [given])
            unary = "answered"
        except triton_grpc.InferenceServerException as error:
            unary = error.status()
        streamed, arrived = [], threading.Event()

        def keep(result, error, streamed=streamed, arrived=arrived):
            streamed.append(str(error) if error else "answered")
            arrived.set()

        client.start_stream(keep)
        try:
            client.async_stream_infer("digits", [given])
        except triton_grpc.InferenceServerException:
            # A caller who may call nothing is refused before the first request of the stream.
            assert name == OTHER
        assert arrived.wait(PATIENCE_S)
        client.stop_stream()
        client.close()
        answers[name] = (unary, streamed[0])
    assert answers[SHOP] == ("answered", "answered")
    unary, streamed = answers[OTHER]
    assert unary == "StatusCode.PERMISSION_DENIED" and f"certificate:{OTHER}" in streamed


def numpy_zeros():
    import numpy as np

    return np.zeros((1, 64), dtype=np.float32)


def test_credentials_in_headers_have_precedence_over_the_certificate(protected, authority):
    shop = client_file(authority, SHOP)
    wrong = {"Authorization": "Bearer tdg_wrong"}
    # Until the keys were read for the first time, the server cannot tell.
    wait_for(lambda: protected.infer("digits", DIGITS, shop, headers=wrong).status_code != 503)
    answer = protected.infer("digits", DIGITS, shop, headers=wrong)
    assert answer.status_code == 401


def copied(authority, tmp_path):
    folder = tmp_path / "served"
    folder.mkdir()
    for name in ("ca.pem", "ca-key.pem", "server.pem", "server-key.pem"):
        (folder / name).write_bytes((authority / name).read_bytes())
    return folder


def serial(server):
    with server.connect(context(server)) as connection:
        return x509.load_der_x509_certificate(connection.getpeercert(binary_form=True)).serial_number


def test_a_new_certificate_is_taken_under_load_without_a_failed_request(serve, authority, tmp_path):
    served = copied(authority, tmp_path)
    server = serve(served)
    before, stop, statuses = serial(server), threading.Event(), []

    def load():
        # Without a session: a new connection for each request.
        while not stop.is_set():
            statuses.append(server.infer("digits", DIGITS).status_code)

    threads = [threading.Thread(target=load) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        make_certificates(served)
        wait_for(lambda: serial(server) != before)
        answered = len(statuses)
        wait_for(lambda: len(statuses) > answered + 5)
    finally:
        stop.set()
        for thread in threads:
            thread.join(PATIENCE_S)
    assert set(statuses) == {200}
    assert server.problems() == []


def test_a_secret_of_kubernetes_is_followed_through_its_links(serve, authority, tmp_path):
    volume = tmp_path / "volume"
    volume.mkdir()
    for number in ("1", "2"):
        make_certificates(volume / number)
    # As the kubelet does it: the files are links into a folder that is itself a link, which is replaced.
    (volume / "..data").symlink_to("1")
    for name in ("ca.pem", "server.pem", "server-key.pem"):
        (volume / name).symlink_to(f"..data/{name}")
    server = serve(volume)
    (volume / "..next").symlink_to("2")
    os.replace(volume / "..next", volume / "..data")
    # `ca.pem` now is that of the new authority, and only the new certificate is of it.
    wait_for(lambda: connects(server))
    assert server.problems() == []


def connects(server):
    try:
        return server.get("/v2").status_code == 200
    except requests.exceptions.SSLError:
        return False


def test_half_a_pair_leaves_the_pair_before_in_use_and_says_so(serve, authority, tmp_path):
    served, renewed = copied(authority, tmp_path), tmp_path / "renewed"
    server = serve(served)
    before = serial(server)
    renewed.mkdir()
    for name in ("ca.pem", "ca-key.pem"):
        (renewed / name).write_bytes((authority / name).read_bytes())
    make_certificates(renewed)
    replace(served / "server.pem", renewed / "server.pem")
    wait_for(server.problems)
    assert "does not belong to the certificate" in server.problems()[0]
    assert server.get("/v2/health/ready").json()["status"] == "degraded"
    assert serial(server) == before
    assert server.metric("tidegate_tls_reload_failures_total") == 1
    (served / "server.pem").write_bytes((renewed / "server.pem").read_bytes()[:300])
    wait_for(lambda: "does not belong" not in server.problems()[0])
    assert serial(server) == before
    replace(served / "server.pem", renewed / "server.pem")
    replace(served / "server-key.pem", renewed / "server-key.pem")
    wait_for(lambda: server.problems() == [])
    assert serial(server) != before


def expired(authority, folder):
    """A certificate of the authority whose time was over yesterday."""
    ca = x509.load_pem_x509_certificate((authority / "ca.pem").read_bytes())
    ca_key = serialization.load_pem_private_key((authority / "ca-key.pem").read_bytes(), None)
    old = x509.load_pem_x509_certificate((authority / "server.pem").read_bytes())
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(
        issuer_name=ca.subject,
        subject_name=old.subject,
        public_key=old.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - datetime.timedelta(days=9),
        not_valid_after=now - datetime.timedelta(days=1),
        extensions=list(old.extensions),
    )
    pem = builder.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    (folder / "server.pem").write_bytes(pem)


def test_an_expired_certificate_is_reported_until_it_is_renewed(serve, authority, tmp_path):
    served = copied(authority, tmp_path)
    expired(authority, served)
    server = serve(served)
    with pytest.raises(requests.exceptions.SSLError):
        server.get("/v2")
    without_check = requests.get(server.url("/v2/health/ready"), verify=False, timeout=PATIENCE_S)
    assert without_check.json()["problems"] == ["the TLS certificate of this server has expired"]
    replace(served / "server.pem", authority / "server.pem")
    wait_for(lambda: connects(server))
    assert server.problems() == []
    assert server.metric("tidegate_tls_certificate_expires_timestamp_seconds") > time.time()
    expired(authority, served)
    wait_for(server.problems)
    assert "has expired" in server.problems()[0]
    assert connects(server)


def test_a_client_that_does_not_finish_its_handshake_loses_its_place(serve, authority):
    environment = {"TIDEGATE_SERVER__MAX_CONNECTIONS": "2", "TIDEGATE_SERVER__MAX_CONNECTIONS_PER_CLIENT": "2"}
    server = serve(authority, environment=environment, handshake_timeout_ms=300)
    host, port = server.http.rsplit(":", 1)
    idle = [socket.create_connection((host, int(port)), timeout=PATIENCE_S) for _ in range(2)]
    idle[1].sendall(b"\x16\x03\x01\x02\x00\x01")
    for connection in idle:
        # Closed by the server.
        assert connection.recv(1) == b""
        connection.close()
    wait_for(lambda: gets_a_place(server))
    assert server.metric("tidegate_tls_handshakes_failed_total", reason="timeout") == 2


def gets_a_place(server):
    try:
        return server.get("/v2").status_code == 200
    except requests.exceptions.ConnectionError:
        return False


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_is_not_resumed_under_other_authorities(serve, authority, stranger, tmp_path, version):
    trusted = tmp_path / "clients.pem"
    trusted.write_bytes((authority / "ca.pem").read_bytes())
    server = serve(authority, client_ca_file=trusted, client_auth="required")
    client = context(server, version, client_file(authority, SHOP))
    with server.connect(client) as connection:
        assert ask(connection) == b"HTTP/1.1 200 OK"
        session = connection.session
    with server.connect(client, session) as connection:
        assert ask(connection) == b"HTTP/1.1 200 OK"
        assert connection.session_reused
        session = connection.session
    replace(trusted, stranger / "ca.pem")
    own = client_file(stranger, SHOP)
    wait_for(lambda: gets_with(server, own))
    with pytest.raises((ssl.SSLError, ConnectionError)):
        with server.connect(client, session) as connection:
            ask(connection)
            raise AssertionError("the server has answered")


def gets_with(server, client):
    try:
        return server.get("/v2", client).status_code == 200
    except requests.exceptions.ConnectionError:
        return False


@pytest.mark.parametrize(
    "settings, reason",
    [
        ('cert_file = "a"', "tls.key_file is not"),
        ('cert_file = "/none"\nkey_file = "/none"', "tls.cert_file: /none cannot be read"),
        ('client_auth = "required"', "tls.cert_file is not"),
        ("reload_ms = 1", "tls.reload_ms is 1: it must be from 50 to 3600000"),
    ],
)
def test_a_server_does_not_start_with_half_a_configuration_of_tls(refusal, settings, reason):
    assert reason in refusal(f"[tls]\n{settings}\n")


def test_commands_speak_tls_with_the_given_authority(serve, authority, stranger):
    server = serve(authority, **mutual(authority, "required"))
    client = str(client_file(authority, SHOP))

    def models(*flags, **environment):
        command = [BINARY, "models", "--url", server.url(""), *flags]
        env = {**os.environ, **environment}
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, env=env)

    shown = models("--ca-file", server.ca, "--client-cert-file", client)
    assert "digits" in shown.stdout, shown.stderr
    shown = models(TIDEGATE_CA_FILE=server.ca, TIDEGATE_CLIENT_CERT_FILE=client)
    assert "digits" in shown.stdout, shown.stderr
    for wrong in ([], ["--ca-file", str(stranger / "ca.pem")]):
        refused = models(*wrong, "--client-cert-file", client)
        assert refused.returncode == 1 and "ertificate" in refused.stderr, refused.stderr
    assert models("--ca-file", server.ca).returncode == 1
    plain = subprocess.run([BINARY, "models", "--url", f"http://{server.http}"], capture_output=True, text=True, timeout=PATIENCE_S)
    assert plain.returncode == 1 and "this port speaks TLS: begin with https" in plain.stderr, plain.stderr
    missing = models("--ca-file", "/none")
    assert "cannot read /none" in missing.stderr


def test_the_authority_of_certs_dev_is_kept_and_its_files_are_private(tmp_path):
    shown = make_certificates(tmp_path, SHOP)
    ca, server = (tmp_path / "ca.pem").read_bytes(), (tmp_path / "server.pem").read_bytes()
    assert f'cert_file = "{tmp_path}/server.pem"' in shown and "curl --cacert" in shown
    command = [BINARY, "certs", "dev", "--out", str(tmp_path), "--name", "models.internal"]
    subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE_S)
    again = make_certificates(tmp_path, SHOP)
    assert "localhost, 127.0.0.1, ::1, models.internal" in again, again
    assert (tmp_path / "ca.pem").read_bytes() == ca
    assert (tmp_path / "server.pem").read_bytes() != server
    for file in tmp_path.iterdir():
        # The authority is for whoever connects; all else is the server's own.
        assert file.stat().st_mode & 0o777 == (0o644 if file.name == "ca.pem" else 0o600), file
    assert "\\n" not in shown and "\n\nthen:\n\n" in shown
    for file in ("server.pem", client_file(tmp_path, SHOP).name):
        command = ["openssl", "verify", "-x509_strict", "-CAfile", "ca.pem", file]
        verified = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S)
        assert verified.returncode == 0, verified.stderr


class Issuer:
    """The keys of an issuer over HTTPS, with the certificate of a folder, and tokens of it."""

    def __init__(self, certificates):
        self.key = ed25519.Ed25519PrivateKey.generate()
        public = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        keys = {"keys": [{"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": "1", "x": encoded(public)}]}

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                body = json.dumps(keys).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates / "server.pem", certificates / "server-key.pem")
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def token(self):
        claims = {"iss": self.url, "aud": "tidegate", "sub": "ada", "exp": int(time.time()) + 3600}
        parts = [{"alg": "EdDSA", "kid": "1"}, claims]
        signed = ".".join(encoded(json.dumps(part).encode()) for part in parts)
        return f"{signed}.{encoded(self.key.sign(signed.encode()))}"


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def test_a_renewed_authority_of_an_issuer_is_used_without_a_restart(start, authority, stranger, tmp_path):
    issuer = Issuer(authority)
    trusted = tmp_path / "issuer-ca.pem"
    shutil.copy(stranger / "ca.pem", trusted)
    config = tmp_path / "tidegate.toml"
    config.write_text(
        "[auth]\nenabled = true\n"
        f'[[auth.issuer]]\nissuer = "{issuer.url}"\njwks_url = "{issuer.url}/keys"\naudiences = ["tidegate"]\n'
        f'ca_file = "{trusted}"\n'
        '[[auth.binding]]\nsubject = "*"\nrole = "caller"\n'
    )
    server = start(MODELS / "digits", flags=("--config", str(config)))
    headers = {"Authorization": f"Bearer {issuer.token()}"}
    answer = server.infer("digits", DIGITS, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (503, "auth_unavailable")
    replace(trusted, authority / "ca.pem")
    wait_for(lambda: server.infer("digits", DIGITS, headers=headers).status_code == 200)
    issuer.server.shutdown()
