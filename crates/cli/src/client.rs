//! Asking a running server over HTTP.

mod access;
mod api;
mod metrics;
mod snapshot;
mod tls;

use std::io::Read;

use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, Serialize};
use ureq::http::{Response, StatusCode, header};

pub(crate) use self::access::{Access, environment_token};
pub(crate) use self::api::{Alert, AlertRoute, Event, IndexEntry, Objective, Readiness};
pub(crate) use self::metrics::{MetricSamples, quantile};
pub(crate) use self::snapshot::{ServerClient, ServerSnapshot, now_ms};
pub(crate) use self::tls::set_files;

/// The longest body that is repeated in a message.
const MAX_LINE_BYTES: usize = 200;

type Sent = Result<Response<ureq::Body>, ureq::Error>;

/// The body of what a server has at a path.
pub(crate) fn get(url: &str, path: &str) -> Result<String> {
    get_as(&Access::to(url)?, url, path)
}

/// What a server has at a path, for content that does not fit in memory.
pub(crate) fn read(url: &str, path: &str) -> Result<Box<dyn Read>> {
    let (access, target) = (Access::to(url)?, join(url, path));
    let request = access.agent(None)?.get(&target);
    let sent = access.authorize(request)?.call();
    match sent {
        Ok(response) if response.status().is_success() => {
            Ok(Box::new(response.into_body().into_reader()))
        }
        other => Err(match body(&target, other) {
            Ok(_) => anyhow!("{target} answered without a success"),
            Err(error) => error,
        }),
    }
}

/// The same; `None` if there is nothing.
pub(crate) fn get_if_found(url: &str, path: &str) -> Result<Option<String>> {
    let (access, target) = (Access::to(url)?, join(url, path));
    let request = access.agent(None)?.get(&target);
    let sent = access.authorize(request)?.call();
    match &sent {
        Ok(response) if response.status() == StatusCode::NOT_FOUND => Ok(None),
        _ => body(&target, sent).map(Some),
    }
}

/// The same with this access.
pub(crate) fn get_as(access: &Access, url: &str, path: &str) -> Result<String> {
    let target = join(url, path);
    let request = access.agent(None)?.get(&target);
    body(&target, access.authorize(request)?.call())
}

pub(crate) fn post(url: &str, path: &str) -> Result<String> {
    let (access, target) = (Access::to(url)?, join(url, path));
    let request = access.agent(None)?.post(&target);
    body(&target, access.authorize(request)?.send_empty())
}

pub(crate) fn post_json(url: &str, path: &str, content: impl Serialize) -> Result<String> {
    let (access, target) = (Access::to(url)?, join(url, path));
    let request = access.agent(None)?.post(&target);
    body(&target, access.authorize(request)?.send_json(content))
}

pub(crate) fn put_json(url: &str, path: &str, content: impl Serialize) -> Result<String> {
    let (access, target) = (Access::to(url)?, join(url, path));
    let request = access.agent(None)?.put(&target);
    body(&target, access.authorize(request)?.send_json(content))
}

pub(crate) fn delete(url: &str, path: &str) -> Result<()> {
    let (access, target) = (Access::to(url)?, join(url, path));
    let request = access.agent(None)?.delete(&target);
    body(&target, access.authorize(request)?.call()).map(drop)
}

/// The URL of a path of a server.
fn join(url: &str, path: &str) -> String {
    // To the server, `//v2` is another path than `/v2`.
    format!("{}{path}", url.trim_end_matches('/'))
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
    if response.status().is_redirection() {
        return Err(redirected(target, &response));
    }
    Err(error_of(target, response.status(), &text))
}

/// The error of a response that sends us elsewhere, where nothing is asked.
fn redirected<B>(target: &str, response: &Response<B>) -> anyhow::Error {
    let place = response.headers().get(header::LOCATION);
    let place = place
        .and_then(|place| place.to_str().ok())
        .unwrap_or("nowhere");
    let status = response.status();
    anyhow!(
        "{target} answered {status} and sends to {place}, which was not followed: \
         if that is the server, name it with --url"
    )
}

/// What an error response says.
fn error_of(target: &str, status: StatusCode, text: &str) -> anyhow::Error {
    let message = match serde_json::from_str::<ErrorBody>(text) {
        Ok(body) => body.error,
        // A proxy in front of the server may send errors of a form of its own, and a port that speaks
        // TLS tells plain HTTP so.
        Err(_) => match short_line(text) {
            Some(line) => format!("{target} answered {status}: {line}"),
            None => format!("{target} answered {status}"),
        },
    };
    match status {
        StatusCode::UNAUTHORIZED => {
            anyhow!("{message} (`tidegate login` keeps a key for a server)")
        }
        _ => anyhow!(message),
    }
}

/// A body that is a line of text, for people.
fn short_line(text: &str) -> Option<&str> {
    let line = text.trim();
    let is_line = !line.is_empty() && line.len() <= MAX_LINE_BYTES && !line.contains(['\n', '<']);
    is_line.then_some(line)
}

#[derive(Deserialize)]
struct ErrorBody {
    error: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_is_a_line_is_shown_and_a_page_is_not() {
        let told = |text: &str| error_of("http://a/v2", StatusCode::BAD_REQUEST, text).to_string();
        let tls = told("this port speaks TLS: begin with https\n");
        assert!(tls.ends_with("400 Bad Request: this port speaks TLS: begin with https"));
        assert!(told("<html>\nno</html>").ends_with("answered 400 Bad Request"));
        assert_eq!(told("{\"error\": \"no\"}"), "no");
    }
}
