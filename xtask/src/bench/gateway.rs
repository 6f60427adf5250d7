//! What authentication, authorization and limits cost: requests with an API key and with a token,
//! beside the same requests to a server that asks for nothing.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer, SigningKey};
use serde_json::{Value, json};

use super::Effort;
use super::client::{Load, wrk};
use super::contestant::post;
use super::http::Case;
use super::report::Section;
use super::rounds::{Comparison, in_turn};
use crate::server::Server;
use crate::{root, target};

const CASE: Case = Case {
    title: "digits, 1 JSON row",
    model: "digits",
    rows: 1,
    binary: false,
    connections: 16,
    naive: false,
};
const AUDIENCE: &str = "bench";

/// Measures a protected server with limits beside an open one.
pub(super) fn run(effort: Effort) -> Result<Section> {
    let mut section = Section::new(
        "The gateway",
        &[
            "credentials",
            "requests/s",
            "of the open server",
            "p99 ratio",
        ],
    );
    let folder =
        std::env::temp_dir().join(format!("tidegate-bench-gateway-{}", std::process::id()));
    let outcome = measure(&folder, effort, &mut section);
    let _ = std::fs::remove_dir_all(&folder);
    outcome.map(|()| section)
}

fn measure(folder: &Path, effort: Effort, section: &mut Section) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let key = SigningKey::from_bytes(&[7; 32]);
    let issuer = publish_keys(published(&key).to_string())?;
    let config = folder.join("tidegate.toml");
    std::fs::write(&config, settings(&issuer))?;
    let binary = target().join("release/tidegate");
    let digits = root().join("examples/models/digits");
    let data = folder.join("protected");
    let api_key = api_key(&binary, &data)?;
    let open = Server::start(&binary, &digits, &folder.join("open"))?;
    let arguments = ["--config".as_ref(), config.as_os_str()];
    let protected = Server::start_with(&binary, &[&digits], &data, &arguments)?;

    let load = CASE.load()?;
    let contestants = [
        ("API key", &protected, with_bearer(&load, &api_key)),
        (
            "token",
            &protected,
            with_bearer(&load, &token(&key, &issuer)?),
        ),
        ("none, no authentication", &open, load),
    ];
    for (name, server, load) in &contestants {
        let answer: Value = serde_json::from_slice(&post(&server.http, load)?)?;
        ensure!(answer["model_name"] == "digits", "{name}: {answer}");
        wrk(&server.http, load, 2)?;
    }
    let rounds = in_turn(contestants.len(), effort.rounds, |at| {
        let (_, server, load) = &contestants[at];
        wrk(&server.http, load, effort.seconds)
    })?;
    for (at, (name, _, _)) in contestants.iter().enumerate() {
        let compared = Comparison::new(name, &rounds[2], &rounds[at]);
        section.row(vec![
            (*name).into(),
            compared.figures.requests_per_second.round().into(),
            compared.rate_ratio.into(),
            compared.p99_ratio.into(),
        ]);
    }
    protected.stop()?;
    open.stop()
}

/// Answers every request with these keys for as long as this process lives, and gives the URL.
fn publish_keys(keys: String) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            // The next fetch tries again.
            let _ = answer_with(connection, &keys);
        }
    });
    Ok(url)
}

fn answer_with(mut connection: TcpStream, body: &str) -> Result<()> {
    let mut head = BufReader::new(connection.try_clone()?).lines();
    while head
        .next()
        .transpose()?
        .is_some_and(|line| !line.is_empty())
    {}
    let length = body.len();
    write!(
        connection,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    )?;
    Ok(())
}

/// Keys, tokens, and limits of every kind that none of the requests reaches.
fn settings(issuer: &str) -> String {
    format!(
        "[auth]\nenabled = true\n\n\
         [[auth.issuer]]\nissuer = \"{issuer}\"\njwks_url = \"{issuer}/keys\"\naudiences = [\"{AUDIENCE}\"]\n\n\
         [[auth.binding]]\nsubject = \"*\"\nrole = \"caller\"\nresources = [\"digits\"]\ntenant = \"acme\"\n\n\
         [[limits.rule]]\nname = \"tenants\"\ntenant = \"*\"\nrequests_per_second = 100000000.0\nmax_in_flight = 10000\n\n\
         [[limits.rule]]\nname = \"digits\"\nendpoint = \"digits\"\nrequests_per_day = 1000000000\nrows_per_second = 100000000.0\n"
    )
}

fn api_key(binary: &Path, data: &Path) -> Result<String> {
    let arguments = [
        "api-keys", "create", "bench", "--role", "caller", "--on", "digits",
    ];
    let created = Command::new(binary)
        .args(arguments)
        .args(["--tenant", "acme", "--data"])
        .arg(data)
        .output()?;
    ensure!(
        created.status.success(),
        "{}",
        String::from_utf8_lossy(&created.stderr)
    );
    Ok(String::from_utf8(created.stdout)?.trim().to_owned())
}

fn with_bearer(load: &Load, secret: &str) -> Load {
    let mut load = load.clone();
    let bearer = format!("Bearer {secret}");
    load.headers.push(("Authorization".to_owned(), bearer));
    load
}

/// The key set of an issuer with this key (RFC 8037).
fn published(key: &SigningKey) -> Value {
    let public = BASE64_URL_SAFE_NO_PAD.encode(key.verifying_key().as_bytes());
    json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": "1", "x": public}]})
}

/// A token of the size that providers make, valid for an hour.
fn token(key: &SigningKey, issuer: &str) -> Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let header = json!({"alg": "EdDSA", "typ": "JWT", "kid": "1"});
    let claims = json!({
        "iss": issuer, "aud": AUDIENCE, "sub": "service-account-bench", "iat": now, "nbf": now,
        "exp": now + 3600, "jti": "3f1c5a2e-8f5e-4c53-9f0c-2d6c0a6f6f11", "azp": "bench",
        "scope": "openid profile email", "preferred_username": "service-account-bench",
        "realm_access": {"roles": ["caller", "offline_access", "uma_authorization"]},
    });
    let signed = format!("{}.{}", encoded(&header), encoded(&claims));
    let signature = BASE64_URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()).to_bytes());
    Ok(format!("{signed}.{signature}"))
}

fn encoded(part: &Value) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(part.to_string())
}
