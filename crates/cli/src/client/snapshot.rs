//! Everything that a server reports about itself at one moment.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use chrono::DateTime;
use serde::de::DeserializeOwned;
use ureq::Agent;
use ureq::http::Response;

use super::{
    Access, Alert, AlertRoute, Event, IndexEntry, MetricSamples, Objective, Readiness, Sent,
    error_of, join,
};

/// Longest that one response may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Largest response that is read; `/metrics` of ten thousand versions is about half as large.
const MAX_BODY_BYTES: u64 = 128 << 20;

/// The state of a server.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServerSnapshot {
    /// When this machine asked, in Unix milliseconds.
    pub(crate) at_ms: u64,
    /// How far the server's clock is ahead of this machine's, in milliseconds. HTTP dates have a
    /// resolution of one second.
    pub(crate) clock_ahead_ms: Option<i64>,
    pub(crate) version: String,
    /// Why the server is not ready; `None` if it is.
    pub(crate) not_ready: Option<String>,
    /// Problems of a server that is ready.
    pub(crate) problems: Vec<String>,
    pub(crate) index: Vec<IndexEntry>,
    pub(crate) objectives: Vec<Objective>,
    pub(crate) alerts: Vec<Alert>,
    pub(crate) routes: Vec<AlertRoute>,
    /// The newest first.
    pub(crate) events: Vec<Event>,
    pub(crate) metrics: MetricSamples,
}

/// Asks one server, over connections that it keeps open.
pub(crate) struct ServerClient {
    url: String,
    access: Access,
    agent: Agent,
}

impl ServerClient {
    pub(crate) fn new(url: &str) -> Result<Self> {
        let access = Access::to(url)?;
        Ok(Self {
            url: url.to_owned(),
            // These commands are run when a server does not respond, so they must not wait for it
            // for ever.
            agent: access.agent(Some(TIMEOUT))?,
            access,
        })
    }

    /// Asks for everything.
    pub(crate) fn snapshot(&self) -> Result<ServerSnapshot> {
        let at_ms = now_ms();
        let (version, clock_ahead_ms) = self.identity()?;
        let (not_ready, problems) = self.readiness()?;
        Ok(ServerSnapshot {
            at_ms,
            clock_ahead_ms,
            version,
            not_ready,
            problems,
            index: self.index()?,
            objectives: self.json("/api/slos")?,
            alerts: self.json("/api/alerts")?,
            routes: self.json("/api/alerts/routes")?,
            // As many as a server stores.
            events: self.json("/api/events?limit=1000")?,
            metrics: self.metrics()?,
        })
    }

    /// Asks for the metrics alone.
    pub(crate) fn metrics(&self) -> Result<MetricSamples> {
        let path = "/metrics";
        let text = self
            .successful(path)?
            .body_mut()
            .with_config()
            // ureq's own limit, 10 MB, is less than the metrics of a server with many versions.
            .limit(MAX_BODY_BYTES)
            .read_to_string()
            .with_context(|| format!("cannot read the response at {path}"))?;
        Ok(MetricSamples::parse(&text))
    }

    /// The server's version, and how far its clock is ahead of ours.
    fn identity(&self) -> Result<(String, Option<i64>)> {
        let asked_ms = now_ms();
        let mut response = self.get("/v2")?;
        // The server wrote its time about halfway between request and response (as NTP assumes).
        let middle_ms = i64::try_from((asked_ms + now_ms()) / 2).unwrap_or(i64::MAX);
        // The header has whole seconds, rounded down: half a second is added for the mean.
        let ahead_ms = server_time_ms(&response).map(|server_ms| server_ms + 500 - middle_ms);
        let server: serde_json::Value = read(&mut response, "/v2")?;
        // Other servers answer /v2 too. What they lack would look like faults to the checks.
        match (server["name"].as_str(), server["version"].as_str()) {
            (Some("tidegate"), Some(version)) => Ok((version.to_owned(), ahead_ms)),
            (name, _) => bail!(
                "{} is not a Tidegate server: its name is {}",
                self.url,
                name.unwrap_or("missing")
            ),
        }
    }

    /// Why the server is not ready; else the problems it has.
    fn readiness(&self) -> Result<(Option<String>, Vec<String>)> {
        let path = "/v2/health/ready";
        let mut response = self.get(path)?;
        if response.status().is_success() {
            let readiness: Readiness = read(&mut response, path)?;
            return Ok((None, readiness.problems));
        }
        // Not an error: a server that is not ready says why, and that is what is wanted.
        let body: serde_json::Value = read(&mut response, path)?;
        let reason = body["error"].as_str().unwrap_or("it gives no reason");
        Ok((Some(reason.to_owned()), Vec::new()))
    }

    fn index(&self) -> Result<Vec<IndexEntry>> {
        let path = "/v2/repository/index";
        // The protocol's repository extension has this path for POST only.
        let request = self.agent.post(join(&self.url, path));
        let sent = self.access.authorize(request)?.send_empty();
        let mut response = self.check_status(path, self.reached(path, sent)?)?;
        read(&mut response, path)
    }

    fn json<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        read(&mut self.successful(path)?, path)
    }

    fn successful(&self, path: &str) -> Result<Response<ureq::Body>> {
        self.check_status(path, self.get(path)?)
    }

    fn check_status(
        &self,
        path: &str,
        mut response: Response<ureq::Body>,
    ) -> Result<Response<ureq::Body>> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let text = response.body_mut().read_to_string().unwrap_or_default();
        Err(error_of(&join(&self.url, path), status, &text))
    }

    fn get(&self, path: &str) -> Result<Response<ureq::Body>> {
        let request = self.agent.get(join(&self.url, path));
        self.reached(path, self.access.authorize(request)?.call())
    }

    fn reached(&self, path: &str, sent: Sent) -> Result<Response<ureq::Body>> {
        sent.with_context(|| format!("cannot reach {}", join(&self.url, path)))
    }
}

/// The `Date` header, in Unix milliseconds.
fn server_time_ms(response: &Response<ureq::Body>) -> Option<i64> {
    let date = response.headers().get("date")?.to_str().ok()?;
    let date = DateTime::parse_from_rfc2822(date).ok()?;
    Some(date.timestamp_millis())
}

fn read<T: DeserializeOwned>(response: &mut Response<ureq::Body>, path: &str) -> Result<T> {
    response
        .body_mut()
        .with_config()
        .limit(MAX_BODY_BYTES)
        .read_json()
        .with_context(|| format!("the response at {path} has an unknown format"))
}

/// Unix milliseconds.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |now| now.as_millis() as u64)
}
