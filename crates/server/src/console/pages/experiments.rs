//! Experiments.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use crate::console::Console;
use crate::console::answer::answer;
use crate::console::visitor::Visitor;

pub(super) async fn show(State(console): State<Arc<Console>>, visitor: Visitor) -> Response {
    answer(console, &visitor, |console, _| {
        Ok(console.experiments.page().page())
    })
    .await
}
