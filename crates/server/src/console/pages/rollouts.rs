//! Rollouts, and the forms that pause, resume, promote and abort them.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use tidegate_delivery::rollout::CommandKind;
use tidegate_gateway::Caller;

use crate::console::Console;
use crate::console::answer::{answer, render};
use crate::console::form::{Form, Refused};
use crate::console::visitor::Visitor;

/// The address of the page.
const PAGE: &str = "/console/rollouts";

pub(super) async fn show(State(console): State<Arc<Console>>, visitor: Visitor) -> Response {
    answer(console, &visitor, |console, now_ms| {
        Ok(console.rollouts.page(now_ms).page())
    })
    .await
}

pub(super) async fn pause(
    console: State<Arc<Console>>,
    caller: Extension<Caller>,
    endpoint: Path<String>,
    visitor: Visitor,
    body: Body,
) -> Response {
    command(console, caller, endpoint, visitor, body, CommandKind::Pause).await
}

pub(super) async fn resume(
    console: State<Arc<Console>>,
    caller: Extension<Caller>,
    endpoint: Path<String>,
    visitor: Visitor,
    body: Body,
) -> Response {
    command(
        console,
        caller,
        endpoint,
        visitor,
        body,
        CommandKind::Resume,
    )
    .await
}

pub(super) async fn promote(
    console: State<Arc<Console>>,
    caller: Extension<Caller>,
    endpoint: Path<String>,
    visitor: Visitor,
    body: Body,
) -> Response {
    command(
        console,
        caller,
        endpoint,
        visitor,
        body,
        CommandKind::Promote,
    )
    .await
}

pub(super) async fn abort(
    console: State<Arc<Console>>,
    caller: Extension<Caller>,
    endpoint: Path<String>,
    visitor: Visitor,
    body: Body,
) -> Response {
    command(console, caller, endpoint, visitor, body, CommandKind::Abort).await
}

/// Does what a form asks for; shows the page with the reason if it is refused.
async fn command(
    State(console): State<Arc<Console>>,
    Extension(caller): Extension<Caller>,
    Path(endpoint): Path<String>,
    visitor: Visitor,
    body: Body,
    kind: CommandKind,
) -> Response {
    let form = Form::read(&console.front_end.config, &visitor.headers, body).await;
    let refused = match form {
        Err(refused) => refused,
        Ok(_) => match console.rollouts.obey(&endpoint, &caller, kind).await {
            // A redirect, so that loading the page again does not send the form again.
            Ok(_) => return Redirect::to(PAGE).into_response(),
            Err(error) => Refused::from(error),
        },
    };
    let Refused { status, message } = refused;
    render(console, &visitor, move |console, now_ms| {
        let mut rollouts = console.rollouts.page(now_ms);
        rollouts.problem = message;
        (status, rollouts.page())
    })
    .await
}
