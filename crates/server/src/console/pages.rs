//! The pages that only show.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::response::Response;
use http::HeaderMap;
use serde::Deserialize;
use tidegate_console::{Listing, Range};

use super::answer::answer;
use super::look;
use crate::app::App;

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
    State(app): State<Arc<App>>,
    query: Asked<ListQuery>,
    headers: HeaderMap,
) -> Response {
    let listing = asked(query).listing(look::ROWS);
    answer(app, &headers, move |app, now_ms| {
        Ok(look::home(app, listing.clone(), now_ms).page())
    })
    .await
}

pub(super) async fn endpoint(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    query: Asked<RangeQuery>,
    headers: HeaderMap,
) -> Response {
    let range = Range::named(&asked(query).range);
    answer(app, &headers, move |app, now_ms| {
        Ok(look::endpoint(app, &name, range, now_ms)?.page())
    })
    .await
}

pub(super) async fn models(
    State(app): State<Arc<App>>,
    query: Asked<ListQuery>,
    headers: HeaderMap,
) -> Response {
    let listing = asked(query).listing(look::ROWS);
    answer(app, &headers, move |app, now_ms| {
        Ok(look::models(app, listing.clone(), now_ms).page())
    })
    .await
}

pub(super) async fn model(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    answer(app, &headers, move |app, now_ms| {
        Ok(look::model(app, &name, now_ms)?.page())
    })
    .await
}

pub(super) async fn objectives(
    State(app): State<Arc<App>>,
    query: Asked<ListQuery>,
    headers: HeaderMap,
) -> Response {
    let listing = asked(query).listing(look::ROWS);
    answer(app, &headers, move |app, now_ms| {
        Ok(look::objectives(app, listing.clone(), now_ms).page())
    })
    .await
}

pub(super) async fn events(
    State(app): State<Arc<App>>,
    query: Asked<EventQuery>,
    headers: HeaderMap,
) -> Response {
    let wanted = asked(query);
    answer(app, &headers, move |app, now_ms| {
        Ok(look::events(app, &wanted, now_ms).page())
    })
    .await
}

pub(super) async fn costs(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    answer(app, &headers, |app, now_ms| {
        Ok(look::costs(app, now_ms).page())
    })
    .await
}

pub(super) async fn missing(State(app): State<Arc<App>>, request: Request) -> Response {
    let path: String = request.uri().path().chars().take(MAX_QUERY).collect();
    answer(app, request.headers(), move |_, _| {
        Err(format!("There is nothing at {path}."))
    })
    .await
}
