//! Trying a prediction. The form's body is handled as that of any request over REST.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, Full};
use serde::Deserialize;
use serde_json::Value;
use tidegate_console::{Trial, TrialAnswer};
use tidegate_gateway::{Caller, Credentials};
use tidegate_serving::{ErrorCode, Serving, Target};

use crate::console::Console;
use crate::console::answer::{answer, render};
use crate::console::form::{Form, Refused};
use crate::console::page_query::{Asked, asked};
use crate::console::pretty::pretty;
use crate::console::visitor::Visitor;
use crate::front_end::FrontEnd;
use crate::request_memory;
use crate::rest;

/// Most bytes of an answer that are shown: answers can be far larger than a page should be.
const MAX_SHOWN: usize = 64 << 10;

/// Models that the form offers; others can be typed in.
const OFFERED: usize = 500;

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
    visitor: Visitor,
) -> Response {
    let TrialQuery { model, version } = asked(query);
    answer(console, &visitor, move |console, _| {
        Ok(trial(&console.front_end.serving, &model, &version).page())
    })
    .await
}

/// Sends the body of the form, and shows the answer.
pub(super) async fn send(
    State(console): State<Arc<Console>>,
    Extension(caller): Extension<Caller>,
    visitor: Visitor,
    body: Body,
) -> Response {
    let form = match Form::read(&console.front_end.config, &visitor.headers, body).await {
        Ok(form) => form,
        Err(Refused { status, message }) => return (status, message).into_response(),
    };
    let (model, version, body) = (form.text("model"), form.text("version"), form.text("body"));
    let answer = ask(&console.front_end, &model, &version, &caller, body.clone()).await;
    render(console, &visitor, move |console, _| {
        let choices = trial(&console.front_end.serving, &model, &version);
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

/// The form for a model, with a sample of the version that would answer. Reads a file of the
/// bundle.
fn trial(serving: &Serving, model: &str, version: &str) -> Trial {
    let index = serving.known();
    let models: BTreeSet<&str> = index.iter().map(|entry| entry.name.as_str()).collect();
    let offered: Vec<String> = models
        .into_iter()
        .take(OFFERED)
        .map(str::to_owned)
        .collect();
    let model = match (model, offered.as_slice()) {
        ("", [only]) => only.clone(),
        _ => model.to_owned(),
    };
    let own: Vec<_> = index.iter().filter(|entry| entry.name == model).collect();
    let aliases: BTreeSet<String> = own.iter().flat_map(|entry| entry.aliases.clone()).collect();
    let numbers = own
        .iter()
        .rev()
        .map(|entry| entry.version.clone())
        .filter(|version| !version.is_empty());
    let named = Some(version).filter(|version| !version.is_empty());
    let sample = serving
        .models()
        .version(&model, named)
        .ok()
        .map(|version| version.request_sample());
    let source = match sample.as_ref().map(|sample| &sample.file) {
        None => String::new(),
        Some(Some(file)) => format!("from {file} of the bundle"),
        Some(None) => "made from the signature".to_owned(),
    };
    Trial {
        models: offered,
        version: version.to_owned(),
        versions: aliases.into_iter().chain(numbers).collect(),
        body: sample
            .map(|sample| pretty(&sample.body))
            .unwrap_or_default(),
        source,
        is_unknown: !model.is_empty() && own.is_empty(),
        model,
        answer: None,
    }
}

/// Sends the request as a client does that is `caller`, and with none of the headers of the form:
/// they ask for a compressed page, for example.
async fn ask(
    front_end: &FrontEnd,
    model: &str,
    version: &str,
    caller: &Caller,
    body: String,
) -> TrialAnswer {
    let started = Instant::now();
    let target = Target {
        endpoint: model.to_owned(),
        version: Some(version.to_owned()).filter(|version| !version.is_empty()),
    };
    let body = Full::new(Bytes::from(body));
    let memory = request_memory::begin(&front_end.memory);
    let headers = HeaderMap::new();
    let credentials = Credentials::of(&headers).checked(Some(caller));
    let response = rest::infer(front_end, target, credentials, body, memory).await;
    let took_ms = started.elapsed().as_secs_f64() * 1e3;
    let status = response.status();
    let body = match response.into_body().collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return refused(ErrorCode::Internal, error.to_string(), took_ms),
    };
    let value: Option<Value> = serde_json::from_slice(&body).ok();
    match value {
        Some(value) if status.is_success() => shown(pretty(&value), took_ms),
        Some(value) => {
            let name = text_of(&value, "code");
            let code = ErrorCode::ALL.iter().find(|code| code.name() == name);
            refused(
                code.copied().unwrap_or(ErrorCode::Internal),
                text_of(&value, "error").to_owned(),
                took_ms,
            )
        }
        // NaN and the infinities have no JSON form.
        None => shown(String::from_utf8_lossy(&body).into_owned(), took_ms),
    }
}

fn text_of<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
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
        // Never within a character, where cutting would panic.
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
