//! Asking a running server.

mod answers;
mod figures;
mod look;

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;
use ureq::http::Response;

pub(crate) use self::answers::{
    Alert, AlertRoute, Event, IndexEntry, Objective, Readiness, Suppressed,
};
pub(crate) use self::figures::{Figures, quantile};
pub(crate) use self::look::{Asker, Look};

/// Longest that one answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Largest answer that is read; `/metrics` of ten thousand versions is about half as large.
const MAX_ANSWER_BYTES: u64 = 128 << 20;

/// The body of what a server has at a path.
pub(crate) fn get(url: &str, path: &str) -> Result<String> {
    let target = target(url, path);
    answer(&target, agent().get(&target).call())
}

/// Where a path of a server is.
pub(crate) fn target(url: &str, path: &str) -> String {
    format!("{}{path}", url.trim_end_matches('/'))
}

/// What a server answered; if it did not, what to do about that.
pub(crate) fn asked(
    target: &str,
    sent: Result<Response<ureq::Body>, ureq::Error>,
) -> Result<Response<ureq::Body>> {
    sent.with_context(|| {
        format!("cannot ask {target}: is the server running? (--url names another one)")
    })
}

/// A client that gives refusals with what they say.
pub(crate) fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .build()
        .into()
}

/// The body of an answer; what it says if it is a refusal.
pub(crate) fn answer(
    target: &str,
    sent: Result<Response<ureq::Body>, ureq::Error>,
) -> Result<String> {
    let mut response = asked(target, sent)?;
    let text = response.body_mut().read_to_string()?;
    if response.status().is_success() {
        return Ok(text);
    }
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
    }
    match serde_json::from_str::<Refusal>(&text) {
        Ok(refusal) => bail!(refusal.error),
        Err(_) => Err(anyhow!("{target} answered {}", response.status())),
    }
}
