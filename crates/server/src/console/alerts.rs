//! Alerts, and the forms that add and end silences.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::HeaderMap;
use serde::Deserialize;
use tidegate_console::NewSilence;

use super::answer::{answer, render};
use super::form::{Form, Refused};
use super::pages::{Asked, ListQuery, asked};
use super::queries;
use crate::alerting;
use crate::clock::now_ms;
use crate::console::Console;

/// How long a silence lasts where nothing is chosen, in seconds.
const USUAL_LENGTH_S: u64 = 7200;
/// Where the silences are.
const SILENCES: &str = "/console/alerts#silences";

/// Which alert a silence is wanted for.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct SilenceQuery {
    silence: String,
}

pub(super) async fn show(
    State(console): State<Arc<Console>>,
    query: Asked<ListQuery>,
    wanted: Asked<SilenceQuery>,
    headers: HeaderMap,
) -> Response {
    let listing = asked(query).listing(queries::ROWS);
    let key = wanted
        .map(|Query(wanted)| wanted.silence)
        .unwrap_or_default();
    let query = move |console: &Console, now_ms| {
        let new = NewSilence {
            duration_s: USUAL_LENGTH_S,
            matchers: queries::matchers(&console.alerting, &key),
            ..NewSilence::default()
        };
        Ok(queries::alerts(&console.alerting, listing.clone(), new, now_ms).page())
    };
    answer(console, &headers, query).await
}

/// Adds a silence; shows the form again if it cannot be.
pub(super) async fn silence(
    State(console): State<Arc<Console>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let form = match Form::read(&console.front_end.config, &headers, body).await {
        Ok(form) => form,
        Err(refused) => return again(console, &headers, NewSilence::default(), refused).await,
    };
    let new = NewSilence {
        matchers: form.text("matchers"),
        duration_s: form.text("duration_s").parse().unwrap_or(USUAL_LENGTH_S),
        author: form.text("author").trim().to_owned(),
        comment: form.text("comment").trim().to_owned(),
        problem: String::new(),
    };
    match add(&console, &new).await {
        Ok(()) => Redirect::to(SILENCES).into_response(),
        Err(refused) => again(console, &headers, new, refused).await,
    }
}

async fn add(console: &Console, new: &NewSilence) -> Result<(), Refused> {
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
    console
        .alerting
        .add_silence(silence)
        .await
        .map_err(|error| Refused::wrong(error.to_string()))
}

/// Ends a silence; one that has ended already stays as it is.
pub(super) async fn expire(
    State(console): State<Arc<Console>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    if let Err(refused) = Form::read(&console.front_end.config, &headers, body).await {
        return again(console, &headers, NewSilence::default(), refused).await;
    }
    // `None` if it has ended meanwhile: that is what was wanted.
    let _ = console.alerting.expire_silence(&id).await;
    Redirect::to(SILENCES).into_response()
}

/// The page with the form as it was sent, and what was wrong with it.
async fn again(
    console: Arc<Console>,
    headers: &HeaderMap,
    new: NewSilence,
    refused: Refused,
) -> Response {
    let Refused { status, message } = refused;
    let new = NewSilence {
        problem: message,
        ..new
    };
    render(console, headers, move |console, now_ms| {
        let listing = ListQuery::default().listing(queries::ROWS);
        let alerts = queries::alerts(&console.alerting, listing, new, now_ms);
        (status, alerts.page())
    })
    .await
}
