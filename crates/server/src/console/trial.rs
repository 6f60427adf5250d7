//! Trying a prediction: the form's body goes the way of every request over REST.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, Full};
use serde::Deserialize;
use serde_json::Value;
use tidegate_console::{Trial, TrialAnswer};
use tidegate_serving::{ErrorCode, Target};

use super::answer::{answer, render};
use super::form::{Form, Refused};
use super::pages::{Asked, asked};
use super::{pretty, queries};
use crate::console::Console;
use crate::front_end::FrontEnd;
use crate::rest;

/// Most bytes of an answer that are shown.
const MAX_SHOWN: usize = 64 << 10;

/// Which model.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct TrialQuery {
    model: String,
    version: String,
}

pub(super) async fn show(
    State(console): State<Arc<Console>>,
    query: Asked<TrialQuery>,
    headers: HeaderMap,
) -> Response {
    let TrialQuery { model, version } = asked(query);
    answer(console, &headers, move |console, _| {
        Ok(queries::trial(&console.front_end.serving, &model, &version).page())
    })
    .await
}

/// Sends what the form has, and shows what comes back.
pub(super) async fn send(
    State(console): State<Arc<Console>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let form = match Form::read(&console.front_end.config, &headers, body).await {
        Ok(form) => form,
        Err(Refused { status, message }) => return (status, message).into_response(),
    };
    let (model, version, body) = (form.text("model"), form.text("version"), form.text("body"));
    let answer = ask(&console.front_end, &model, &version, body.clone()).await;
    render(console, &headers, move |console, _| {
        let choices = queries::trial(&console.front_end.serving, &model, &version);
        let trial = Trial {
            body,
            source: String::new(),
            answer: Some(answer),
            ..choices
        };
        (StatusCode::OK, trial.page())
    })
    .await
}

/// Asks as a client does.
async fn ask(front_end: &FrontEnd, model: &str, version: &str, body: String) -> TrialAnswer {
    let started = Instant::now();
    let target = Target {
        endpoint: model.to_owned(),
        version: Some(version.to_owned()).filter(|version| !version.is_empty()),
    };
    let body = Full::new(Bytes::from(body));
    let response = rest::infer(front_end, target, &HeaderMap::new(), body).await;
    let took_ms = started.elapsed().as_secs_f64() * 1e3;
    let status = response.status();
    let body = match response.into_body().collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return refused(ErrorCode::Internal, error.to_string(), took_ms),
    };
    let value: Option<Value> = serde_json::from_slice(&body).ok();
    match value {
        Some(value) if status.is_success() => shown(pretty::pretty(&value), took_ms),
        Some(value) => {
            let text = |field| value.get(field).and_then(Value::as_str).unwrap_or_default();
            let code = ErrorCode::ALL
                .iter()
                .find(|code| code.name() == text("code"));
            refused(
                code.copied().unwrap_or(ErrorCode::Internal),
                text("error").to_owned(),
                took_ms,
            )
        }
        // Numbers that are none have no JSON.
        None => shown(String::from_utf8_lossy(&body).into_owned(), took_ms),
    }
}

fn refused(code: ErrorCode, message: String, took_ms: f64) -> TrialAnswer {
    TrialAnswer::Refused {
        took_ms,
        status: code.http_status(),
        code: code.name(),
        message,
        meaning: code.meaning(),
        remedy: code.remedy(),
    }
}

fn shown(mut body: String, took_ms: f64) -> TrialAnswer {
    let is_cut = body.len() > MAX_SHOWN;
    if is_cut {
        let end = (0..=MAX_SHOWN)
            .rev()
            .find(|at| body.is_char_boundary(*at))
            .unwrap_or(0);
        body.truncate(end);
    }
    TrialAnswer::Answered {
        took_ms,
        body,
        is_cut,
    }
}
