//! Alerts, and the forms that add and end silences.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use tidegate_console::{Alerts, Listing, NewSilence};
use tidegate_observe::AlertState;
use tidegate_observe::alerting::{Alert, Silence, TriagedAlert};

use crate::alerting::{self, Alerting};
use crate::audit::AuditStates;
use crate::clock::now_ms;
use crate::console::Console;
use crate::console::answer::{answer, render};
use crate::console::form::{Form, Refused};
use crate::console::page_query::{Asked, ListQuery, asked};
use crate::console::visitor::Visitor;

/// How long a silence lasts by default, in seconds.
const USUAL_LENGTH_S: u64 = 7200;
/// Most silences that are shown.
const MAX_SILENCES: usize = 100;
/// The address of the silences.
const SILENCES_PAGE: &str = "/console/alerts#silences";

/// The alert to silence.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct SilenceQuery {
    silence: String,
}

pub(super) async fn show(
    State(console): State<Arc<Console>>,
    query: Asked<ListQuery>,
    wanted: Asked<SilenceQuery>,
    visitor: Visitor,
) -> Response {
    let listing = asked(query).listing();
    let key = wanted
        .map(|Query(wanted)| wanted.silence)
        .unwrap_or_default();
    answer(console, &visitor, move |console, now_ms| {
        let new = NewSilence {
            duration_s: USUAL_LENGTH_S,
            matchers: matchers(&console.alerting, &key),
            ..NewSilence::default()
        };
        Ok(alerts(&console.alerting, listing.clone(), new, now_ms).page())
    })
    .await
}

/// Adds a silence; shows the form again if it is refused.
pub(super) async fn silence(
    State(console): State<Arc<Console>>,
    states: AuditStates,
    visitor: Visitor,
    body: Body,
) -> Response {
    let form = match Form::read(&console.front_end.config, &visitor.headers, body).await {
        Ok(form) => form,
        Err(refused) => return again(console, &visitor, NewSilence::default(), refused).await,
    };
    let new = NewSilence {
        matchers: form.text("matchers"),
        duration_s: form.text("duration_s").parse().unwrap_or(USUAL_LENGTH_S),
        author: form.text("author").trim().to_owned(),
        comment: form.text("comment").trim().to_owned(),
        problem: String::new(),
    };
    match add(&console, &new, &states).await {
        // A redirect, so that loading the page again does not send the form again.
        Ok(()) => Redirect::to(SILENCES_PAGE).into_response(),
        Err(refused) => again(console, &visitor, new, refused).await,
    }
}

async fn add(console: &Console, new: &NewSilence, states: &AuditStates) -> Result<(), Refused> {
    let lines = new
        .matchers
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    let wanted = alerting::NewSilence::lasting(
        lines.map(str::to_owned).collect(),
        new.duration_s,
        new.author.clone(),
        new.comment.clone(),
    );
    let now_ms = now_ms();
    let silence = wanted.parse(now_ms)?;
    let id = silence.id.clone();
    states.resource(&id);
    console
        .alerting
        .add_silence(silence)
        .await
        .map_err(|error| Refused::wrong(error.to_string()))?;
    states.after(console.alerting.described_silence(&id));
    Ok(console.alerting.check_saved()?)
}

/// Ends a silence; one that has ended already stays as it is.
pub(super) async fn expire(
    State(console): State<Arc<Console>>,
    Path(id): Path<String>,
    states: AuditStates,
    visitor: Visitor,
    body: Body,
) -> Response {
    if let Err(refused) = Form::read(&console.front_end.config, &visitor.headers, body).await {
        return again(console, &visitor, NewSilence::default(), refused).await;
    }
    states.before(console.alerting.described_silence(&id));
    // `None` if it has ended meanwhile: that is what was wanted.
    let _ = console.alerting.expire_silence(&id).await;
    Redirect::to(SILENCES_PAGE).into_response()
}

/// The page with the form as it was sent, and what was wrong with it.
async fn again(
    console: Arc<Console>,
    visitor: &Visitor,
    new: NewSilence,
    refused: Refused,
) -> Response {
    let Refused { status, message } = refused;
    let new = NewSilence {
        problem: message,
        ..new
    };
    render(console, visitor, move |console, now_ms| {
        let listing = ListQuery::default().listing();
        let alerts = alerts(&console.alerting, listing, new, now_ms);
        (status, alerts.page())
    })
    .await
}

fn alerts(alerting: &Alerting, mut listing: Listing, new: NewSilence, now_ms: u64) -> Alerts {
    let triaged = alerting.alerts();
    let mut wanted: Vec<TriagedAlert> = triaged
        .iter()
        .filter(|triaged| is_wanted(&triaged.alert, &listing))
        .cloned()
        .collect();
    wanted.sort_by_key(|triaged| (rank(triaged), std::cmp::Reverse(triaged.alert.since_ms())));
    let mut silences: Vec<Silence> = alerting.silences();
    silences.sort_by_key(|silence| {
        (
            silence.state(now_ms) == "expired",
            std::cmp::Reverse(silence.from_ms),
        )
    });
    let more_silences = silences.len().saturating_sub(MAX_SILENCES);
    silences.truncate(MAX_SILENCES);
    Alerts {
        now_ms,
        alerts: listing.page_of(wanted),
        listing,
        silences,
        more_silences,
        new,
    }
}

fn is_wanted(alert: &Alert, listing: &Listing) -> bool {
    alert.state != AlertState::Inactive
        && (listing.matches(alert.name()) || listing.matches(alert.label("endpoint")))
}

/// Pages before tickets, firing alerts before others.
fn rank(triaged: &TriagedAlert) -> u8 {
    let is_page = triaged.alert.label("severity") == "page";
    match triaged.alert.state {
        AlertState::Firing { .. } if is_page => 0,
        AlertState::Firing { .. } => 1,
        AlertState::Pending { .. } => 2,
        AlertState::Resolved { .. } | AlertState::Inactive => 3,
    }
}

/// The matchers of a silence on one alert, by its fingerprint; none if there is no such alert.
fn matchers(alerting: &Alerting, key: &str) -> String {
    let triaged = alerting.alerts();
    let Some(triaged) = triaged
        .iter()
        .find(|triaged| triaged.alert.fingerprint() == key)
    else {
        return String::new();
    };
    let lines = triaged
        .alert
        .labels
        .iter()
        .map(|(name, value)| format!("{name}=\"{}\"", quoted(value)));
    lines.collect::<Vec<_>>().join("\n")
}

/// A label's value between the quotes of a matcher, escaped as Alertmanager does.
fn quoted(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}
