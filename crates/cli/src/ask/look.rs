//! Everything that a server says of itself at one moment.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail};
use chrono::DateTime;
use serde::de::DeserializeOwned;
use ureq::Agent;
use ureq::http::Response;

use super::{
    Alert, AlertRoute, Event, Figures, IndexEntry, MAX_ANSWER_BYTES, Objective, PATIENCE,
    Readiness, target,
};

/// What a server says of itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Look {
    /// When this machine asked, in Unix milliseconds.
    pub(crate) at_ms: u64,
    /// How far the server's clock is ahead of this machine's, in milliseconds; as exact as a
    /// second, in which HTTP tells the time, allows.
    pub(crate) clock_ahead_ms: Option<i64>,
    pub(crate) version: String,
    /// Why it is not ready; nothing if it is.
    pub(crate) not_ready: Option<String>,
    /// What is amiss although it is ready.
    pub(crate) problems: Vec<String>,
    pub(crate) index: Vec<IndexEntry>,
    pub(crate) objectives: Vec<Objective>,
    pub(crate) alerts: Vec<Alert>,
    pub(crate) routes: Vec<AlertRoute>,
    /// The newest first.
    pub(crate) events: Vec<Event>,
    pub(crate) figures: Figures,
}

/// Asks one server, over connections that stay.
pub(crate) struct Asker {
    url: String,
    agent: Agent,
}

impl Asker {
    pub(crate) fn new(url: &str) -> Self {
        let config = Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .http_status_as_error(false);
        Self {
            url: url.trim_end_matches('/').to_owned(),
            agent: config.build().into(),
        }
    }

    /// Asks for everything.
    pub(crate) fn look(&self) -> Result<Look> {
        let at_ms = now_ms();
        let (version, clock_ahead_ms) = self.identity()?;
        let (not_ready, problems) = self.ready()?;
        Ok(Look {
            at_ms,
            clock_ahead_ms,
            version,
            not_ready,
            problems,
            index: self.index()?,
            objectives: self.json("/api/slos")?,
            alerts: self.json("/api/alerts")?,
            routes: self.json("/api/alerts/routes")?,
            events: self.json("/api/events?limit=1000")?,
            figures: self.figures()?,
        })
    }

    /// Asks for the metrics alone.
    pub(crate) fn figures(&self) -> Result<Figures> {
        Ok(Figures::parse(&self.body("/metrics")?))
    }

    /// The server's version, and how far its clock is ahead of ours.
    fn identity(&self) -> Result<(String, Option<i64>)> {
        let asked_ms = now_ms();
        let mut response = self.get("/v2")?;
        let middle_ms = i64::try_from((asked_ms + now_ms()) / 2).unwrap_or(i64::MAX);
        let date = response
            .headers()
            .get("date")
            .and_then(|date| date.to_str().ok());
        let date = date.and_then(|date| DateTime::parse_from_rfc2822(date).ok());
        // The second was cut off somewhere: its middle is meant.
        let ahead_ms = date.map(|date| date.timestamp_millis() + 500 - middle_ms);
        let server: serde_json::Value = read(&mut response, "/v2")?;
        match (server["name"].as_str(), server["version"].as_str()) {
            (Some("tidegate"), Some(version)) => Ok((version.to_owned(), ahead_ms)),
            (name, _) => bail!(
                "{} is no Tidegate server: it calls itself {}",
                self.url,
                name.unwrap_or("nothing")
            ),
        }
    }

    /// Why the server is not ready, where it is not, and else what is amiss.
    fn ready(&self) -> Result<(Option<String>, Vec<String>)> {
        let path = "/v2/health/ready";
        let mut response = self.get(path)?;
        if response.status().is_success() {
            let readiness: Readiness = read(&mut response, path)?;
            return Ok((None, readiness.problems));
        }
        let body: serde_json::Value = read(&mut response, path)?;
        Ok((
            Some(
                body["error"]
                    .as_str()
                    .unwrap_or("it says no reason")
                    .to_owned(),
            ),
            Vec::new(),
        ))
    }

    fn index(&self) -> Result<Vec<IndexEntry>> {
        let path = "/v2/repository/index";
        let sent = self.agent.post(target(&self.url, path)).send_empty();
        read(&mut self.checked(path, sent)?, path)
    }

    fn json<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        read(&mut self.successful(path)?, path)
    }

    fn body(&self, path: &str) -> Result<String> {
        let mut response = self.successful(path)?;
        let body = response
            .body_mut()
            .with_config()
            .limit(MAX_ANSWER_BYTES)
            .read_to_string();
        body.with_context(|| format!("{path} could not be read"))
    }

    fn successful(&self, path: &str) -> Result<Response<ureq::Body>> {
        let response = self.get(path)?;
        match response.status().is_success() {
            true => Ok(response),
            false => Err(anyhow!("{}{path} answers {}", self.url, response.status())),
        }
    }

    fn get(&self, path: &str) -> Result<Response<ureq::Body>> {
        self.checked(path, self.agent.get(target(&self.url, path)).call())
    }

    fn checked(
        &self,
        path: &str,
        sent: Result<Response<ureq::Body>, ureq::Error>,
    ) -> Result<Response<ureq::Body>> {
        sent.with_context(|| format!("cannot ask {}{path}", self.url))
    }
}

fn read<T: DeserializeOwned>(response: &mut Response<ureq::Body>, path: &str) -> Result<T> {
    let body = response
        .body_mut()
        .with_config()
        .limit(MAX_ANSWER_BYTES)
        .read_json();
    body.with_context(|| format!("the answer at {path} is not what was expected"))
}

fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |now| now.as_millis() as u64)
}
