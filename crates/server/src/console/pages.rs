//! The pages that only show.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::response::Response;
use http::HeaderMap;
use serde::Deserialize;
use tidegate_console::{Listing, Range};

use super::answer::answer;
use super::queries;
use crate::console::Console;

/// Longest text that is looked for.
const MAX_QUERY: usize = 256;

/// What is looked for in a list, and which page of it.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct ListQuery {
    q: String,
    page: usize,
}

/// Over which time.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct RangeQuery {
    range: String,
}

/// Which events.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct EventQuery {
    pub(super) name: String,
    pub(super) model: String,
    pub(super) before: Option<u64>,
}

/// A query, or none where it cannot be read: an address that somebody mistyped shows the page all
/// the same.
pub(super) type Asked<T> = Result<Query<T>, QueryRejection>;

pub(super) fn asked<T: Default>(query: Asked<T>) -> T {
    query.map(|Query(query)| query).unwrap_or_default()
}

impl ListQuery {
    /// A list of which so many are shown at once.
    pub(super) fn listing(self, size: usize) -> Listing {
        Listing::new(
            self.q.trim().chars().take(MAX_QUERY).collect(),
            self.page,
            size,
        )
    }
}

pub(super) async fn home(
    State(console): State<Arc<Console>>,
    query: Asked<ListQuery>,
    headers: HeaderMap,
) -> Response {
    let listing = asked(query).listing(queries::ROWS);
    answer(console, &headers, move |console, now_ms| {
        Ok(queries::home(console, listing.clone(), now_ms).page())
    })
    .await
}

pub(super) async fn endpoint(
    State(console): State<Arc<Console>>,
    Path(name): Path<String>,
    query: Asked<RangeQuery>,
    headers: HeaderMap,
) -> Response {
    let range = Range::named(&asked(query).range);
    answer(console, &headers, move |console, now_ms| {
        Ok(queries::endpoint(console, &name, range, now_ms)?.page())
    })
    .await
}

pub(super) async fn models(
    State(console): State<Arc<Console>>,
    query: Asked<ListQuery>,
    headers: HeaderMap,
) -> Response {
    let listing = asked(query).listing(queries::ROWS);
    answer(console, &headers, move |console, now_ms| {
        Ok(queries::models(&console.front_end.serving, listing.clone(), now_ms).page())
    })
    .await
}

pub(super) async fn model(
    State(console): State<Arc<Console>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    answer(console, &headers, move |console, now_ms| {
        Ok(queries::model(&console.front_end.serving, &console.events, &name, now_ms)?.page())
    })
    .await
}

pub(super) async fn objectives(
    State(console): State<Arc<Console>>,
    query: Asked<ListQuery>,
    headers: HeaderMap,
) -> Response {
    let listing = asked(query).listing(queries::ROWS);
    answer(console, &headers, move |console, now_ms| {
        Ok(queries::objectives(&console.objectives, listing.clone(), now_ms).page())
    })
    .await
}

pub(super) async fn events(
    State(console): State<Arc<Console>>,
    query: Asked<EventQuery>,
    headers: HeaderMap,
) -> Response {
    let wanted = asked(query);
    answer(console, &headers, move |console, now_ms| {
        Ok(queries::events(&console.events, &wanted, now_ms).page())
    })
    .await
}

pub(super) async fn costs(State(console): State<Arc<Console>>, headers: HeaderMap) -> Response {
    answer(console, &headers, |console, now_ms| {
        Ok(queries::costs(&console.costs, now_ms).page())
    })
    .await
}

pub(super) async fn missing(State(console): State<Arc<Console>>, request: Request) -> Response {
    let path: String = request.uri().path().chars().take(MAX_QUERY).collect();
    answer(console, request.headers(), move |_, _| {
        Err(format!("There is nothing at {path}."))
    })
    .await
}
