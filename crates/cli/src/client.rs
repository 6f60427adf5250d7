//! Asking a running server over HTTP.

mod api;
mod metrics;
mod snapshot;
mod tls;

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use ureq::RequestBuilder;
use ureq::http::{HeaderValue, Response, header};

pub(crate) use self::api::{Alert, AlertRoute, Event, IndexEntry, Objective, Readiness};
pub(crate) use self::metrics::{MetricSamples, quantile};
pub(crate) use self::snapshot::{ServerClient, ServerSnapshot, now_ms};
pub(crate) use self::tls::set_files;

/// The environment variable with the API key or token that commands send to servers.
const TOKEN: &str = "TIDEGATE_TOKEN";

type Sent = Result<Response<ureq::Body>, ureq::Error>;

/// The body of what a server has at a path.
pub(crate) fn get(url: &str, path: &str) -> Result<String> {
    let target = join(url, path);
    body(&target, authorized(agent()?.get(&target)).call())
}

pub(crate) fn post(url: &str, path: &str) -> Result<String> {
    let target = join(url, path);
    body(&target, authorized(agent()?.post(&target)).send_empty())
}

pub(crate) fn post_json(url: &str, path: &str, content: impl Serialize) -> Result<String> {
    let target = join(url, path);
    body(
        &target,
        authorized(agent()?.post(&target)).send_json(content),
    )
}

pub(crate) fn put_json(url: &str, path: &str, content: impl Serialize) -> Result<String> {
    let target = join(url, path);
    body(
        &target,
        authorized(agent()?.put(&target)).send_json(content),
    )
}

pub(crate) fn delete(url: &str, path: &str) -> Result<()> {
    let target = join(url, path);
    body(&target, authorized(agent()?.delete(&target)).call()).map(drop)
}

/// The URL of a path of a server.
fn join(url: &str, path: &str) -> String {
    // To the server, `//v2` is another path than `/v2`.
    format!("{}{path}", url.trim_end_matches('/'))
}

fn agent() -> Result<ureq::Agent> {
    let config = ureq::Agent::config_builder()
        .tls_config(tls::config()?)
        // The body of an error response has the reason; as an error of ureq it would be lost.
        .http_status_as_error(false);
    Ok(config.build().into())
}

/// The request with the credentials of this user, if there are any.
fn authorized<B>(request: RequestBuilder<B>) -> RequestBuilder<B> {
    match bearer() {
        None => request,
        Some(bearer) => request.header(header::AUTHORIZATION, bearer),
    }
}

/// The header with the credentials of this user.
fn bearer() -> Option<HeaderValue> {
    let token = std::env::var(TOKEN)
        .ok()
        .filter(|token| !token.is_empty())?;
    let mut value = HeaderValue::try_from(format!("Bearer {}", token.trim())).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The body of a successful response; else the message of the error response.
fn body(target: &str, sent: Sent) -> Result<String> {
    let mut response = sent.with_context(|| {
        format!("cannot reach {target}: is the server running? (--url names another server)")
    })?;
    let text = response.body_mut().read_to_string()?;
    if response.status().is_success() {
        return Ok(text);
    }
    // A proxy in front of the server may send errors of a form of its own.
    match serde_json::from_str::<ErrorBody>(&text) {
        Ok(body) => bail!(body.error),
        Err(_) => Err(anyhow!("{target} answered {}", response.status())),
    }
}

#[derive(Deserialize)]
struct ErrorBody {
    error: String,
}
