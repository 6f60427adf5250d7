//! Asking a running server.

use anyhow::{Context, Result};
use ureq::http::Response;

/// The body of what a server has at a path.
pub(crate) fn get(url: &str, path: &str) -> Result<String> {
    let target = target(url, path);
    let mut response = asked(&target, ureq::get(&target).call())?;
    Ok(response.body_mut().read_to_string()?)
}

/// Where a path of a server is.
pub(crate) fn target(url: &str, path: &str) -> String {
    format!("{}{path}", url.trim_end_matches('/'))
}

/// What a server answered; if it did not, what to do about that.
pub(crate) fn asked(target: &str, sent: Result<Response<ureq::Body>, ureq::Error>) -> Result<Response<ureq::Body>> {
    sent.with_context(|| format!("cannot ask {target}: is the server running? (--url names another one)"))
}
