//! Alerts, and the forms that add and end silences.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::HeaderMap;
use serde::Deserialize;
use tidegate_console::NewSilence;

use super::answer::{answer, on_the_side, send};
use super::form::{Form, Refused};
use super::look;
use super::pages::{Asked, ListQuery, asked};
use crate::app::App;
use crate::clock::now_ms;
use crate::rest;

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
    State(app): State<Arc<App>>,
    query: Asked<ListQuery>,
    wanted: Asked<SilenceQuery>,
    headers: HeaderMap,
) -> Response {
    let listing = asked(query).listing(look::ROWS);
    let key = wanted
        .map(|Query(wanted)| wanted.silence)
        .unwrap_or_default();
    let look = move |app: &App, now_ms| {
        let new = NewSilence {
            duration_s: USUAL_LENGTH_S,
            matchers: look::matchers(app, &key),
            ..NewSilence::default()
        };
        Ok(look::alerts(app, listing.clone(), new, now_ms).page())
    };
    answer(app, &headers, look).await
}

/// Adds a silence; shows the form again if it cannot be.
pub(super) async fn silence(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let form = match Form::read(&app, &headers, body).await {
        Ok(form) => form,
        Err(refused) => return again(&app, &headers, NewSilence::default(), refused).await,
    };
    let new = NewSilence {
        matchers: form.text("matchers"),
        duration_s: form.text("duration_s").parse().unwrap_or(USUAL_LENGTH_S),
        author: form.text("author").trim().to_owned(),
        comment: form.text("comment").trim().to_owned(),
        problem: String::new(),
    };
    match add(&app, &new).await {
        Ok(()) => Redirect::to(SILENCES).into_response(),
        Err(refused) => again(&app, &headers, new, refused).await,
    }
}

async fn add(app: &App, new: &NewSilence) -> Result<(), Refused> {
    let lines = new
        .matchers
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    let wanted = rest::NewSilence::lasting(
        lines.map(str::to_owned).collect(),
        new.duration_s,
        new.author.clone(),
        new.comment.clone(),
    );
    let now_ms = now_ms();
    let silence = wanted.parse(now_ms)?;
    app.silence(silence)
        .await
        .map_err(|error| Refused::wrong(error.to_string()))
}

/// Ends a silence; one that has ended already stays as it is.
pub(super) async fn expire(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    if let Err(refused) = Form::read(&app, &headers, body).await {
        return again(&app, &headers, NewSilence::default(), refused).await;
    }
    // `None` if it has ended meanwhile: that is what was wanted.
    let _ = app.expire_silence(&id).await;
    Redirect::to(SILENCES).into_response()
}

/// The page with the form as it was sent, and what was wrong with it.
async fn again(app: &Arc<App>, headers: &HeaderMap, new: NewSilence, refused: Refused) -> Response {
    let Refused { status, message } = refused;
    let new = NewSilence {
        problem: message,
        ..new
    };
    let looked = on_the_side(app, move |app| {
        let now_ms = now_ms();
        let listing = ListQuery::default().listing(look::ROWS);
        look::alerts(app, listing, new, now_ms)
            .page()
            .render(&look::frame(app, now_ms))
    });
    match looked.await {
        Some(html) => send(app, headers, status, html).await,
        None => http::StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
