//! What authentication, authorization and limits cost, and what the response cache saves: requests
//! beside the same requests to a server that has none of them.

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
use super::client::{Figures, Load, wrk};
use super::contestant::post;
use super::http::Case;
use super::report::Section;
use super::rounds::{in_turn, middle, ratio};
use crate::server::Server;
use crate::{root, target};

const AUDIENCE: &str = "bench";

/// Requests to one server, and those that they are compared with.
pub(super) struct Contestant<'a> {
    pub(super) name: &'static str,
    pub(super) server: &'a Server,
    pub(super) load: Load,
    /// The place of the contestant that it is compared with.
    pub(super) baseline: usize,
}

/// Measures a protected server, one with limits too, and one with a response cache beside one that
/// has none of them.
pub(super) fn run(effort: Effort) -> Result<Section> {
    let mut section = Section::new(
        "The gateway",
        &[
            "requests",
            "requests/s",
            "rate to that of the plain server",
            "p99 to that of the plain server",
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
    let binary = target().join("release/tidegate");
    let models = root().join("examples/models");
    let (digits, fraud) = (models.join("digits"), models.join("fraud"));
    let start = |model: &Path, data: &Path, settings: &str| {
        let config = folder.join("tidegate.toml");
        std::fs::write(&config, settings)?;
        let arguments = ["--config".as_ref(), config.as_os_str()];
        Server::start_with(&binary, &[model], data, &arguments)
    };
    let keys = folder.join("keys");
    let api_key = api_key(&binary, &keys, "acme")?;
    // Servers of one database would share the quotas too.
    let with_rules = |rules: &str| {
        let data = folder.join(format!("protected-{}", rules.len()));
        copy_database(&keys, &data)?;
        start(&digits, &data, &format!("{}{rules}", protection(&issuer)))
    };
    let plain = start(&digits, &folder.join("plain"), "")?;
    let protected = with_rules("")?;
    let rate_limited = with_rules(RATE)?;
    let limited = with_rules(&format!("{RATE}{QUOTA}"))?;
    let plain_fraud = start(&fraud, &folder.join("fraud"), "")?;
    let cached = start(&fraud, &folder.join("cached"), CACHE)?;

    let load = case("digits, 1 JSON row", "digits").load()?;
    let with_key = with_bearer(&load, &api_key);
    let with_token = with_bearer(&load, &token(&key, &issuer)?);
    let fraud_load = case("fraud, 1 JSON row", "fraud").load()?;
    let contestant = |name, server, load: &Load, baseline| Contestant {
        name,
        server,
        load: load.clone(),
        baseline,
    };
    let contestants = [
        contestant("digits", &plain, &load, 0),
        contestant("digits, API key", &protected, &with_key, 0),
        contestant("digits, token", &protected, &with_token, 0),
        contestant("digits, API key and a rate", &rate_limited, &with_key, 0),
        contestant("digits, token and a rate", &rate_limited, &with_token, 0),
        contestant("digits, API key and four limits", &limited, &with_key, 0),
        contestant("fraud", &plain_fraud, &fraud_load, 6),
        contestant("fraud, cached", &cached, &fraud_load, 6),
    ];
    compare(&contestants, effort, section)?;
    for server in [plain, protected, rate_limited, limited, plain_fraud, cached] {
        server.stop()?;
    }
    Ok(())
}

/// Loads each in turn, and writes its rate and p99 beside those of its baseline.
pub(super) fn compare(
    contestants: &[Contestant<'_>],
    effort: Effort,
    section: &mut Section,
) -> Result<()> {
    for Contestant {
        name, server, load, ..
    } in contestants
    {
        let answer: Value = serde_json::from_slice(&post(&server.http, load)?)?;
        ensure!(answer["outputs"].is_array(), "{name}: {answer}");
        wrk(&server.http, load, 2)?;
    }
    let rounds = in_turn(contestants.len(), effort.rounds, |at| {
        let Contestant { server, load, .. } = &contestants[at];
        wrk(&server.http, load, effort.seconds)
    })?;
    for (own, contestant) in rounds.iter().zip(contestants) {
        let baseline = &rounds[contestant.baseline];
        section.row(vec![
            contestant.name.into(),
            middle(own, Figures::rate).round().into(),
            ratio(own, baseline, Figures::rate).into(),
            ratio(own, baseline, Figures::p99).into(),
        ]);
    }
    Ok(())
}

pub(super) fn case(title: &'static str, model: &'static str) -> Case {
    Case {
        title,
        model,
        rows: 1,
        binary: false,
        connections: 16,
        naive: false,
    }
}

/// Copies the database of a server that has never been started.
fn copy_database(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
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

/// Keys and tokens.
fn protection(issuer: &str) -> String {
    format!(
        "[auth]\nenabled = true\n\n\
         [[auth.issuer]]\nissuer = \"{issuer}\"\njwks_url = \"{issuer}/keys\"\naudiences = [\"{AUDIENCE}\"]\n\n\
         [[auth.binding]]\nsubject = \"*\"\nrole = \"caller\"\nresources = [\"digits\"]\ntenant = \"acme\"\n\n"
    )
}

/// A rate that none of the requests reaches.
const RATE: &str = "\
[[limits.rule]]
name = \"tenants\"
tenant = \"*\"
requests_per_second = 100000000.0
";

/// Limits of every other kind, which none of the requests reaches.
const QUOTA: &str = "\
max_in_flight = 10000

[[limits.rule]]
name = \"digits\"
endpoint = \"digits\"
requests_per_day = 1000000000
rows_per_second = 100000000.0
";

const CACHE: &str = "[[cache.endpoint]]\nname = \"fraud\"\n";

/// A key for calls of a tenant, which is also its name.
pub(super) fn api_key(binary: &Path, data: &Path, tenant: &str) -> Result<String> {
    let created = Command::new(binary)
        .args(["api-keys", "create", tenant, "--role", "caller"])
        .args(["--tenant", tenant, "--data"])
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
