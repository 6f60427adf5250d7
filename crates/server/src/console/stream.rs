//! The changes of an open page, as server-sent events.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use http::{StatusCode, header};
use serde::Serialize;
use tidegate_console::Page;
use tokio::sync::OwnedSemaphorePermit;

use super::Console;
use super::answer::PageQuery;
use super::frame::frame;
use super::visitor::Visitor;
use crate::blocking::run_blocking;
use crate::clock::now_ms;

/// How often a page is queried again: as often as objectives are counted and alerts evaluated.
const QUERY_EVERY: Duration = Duration::from_secs(5);

/// A page that is open in a browser.
struct OpenPage<Q> {
    console: Arc<Console>,
    query: Arc<Q>,
    visitor: Visitor,
    /// The parts as they were sent.
    sent: HashMap<&'static str, String>,
    is_new: bool,
    _permit: OwnedSemaphorePermit,
}

/// A part of a page that has changed.
#[derive(Serialize)]
struct Part<'a> {
    id: &'static str,
    html: &'a str,
}

/// Sends the parts of a page now, and each again when it has changed, until the server stops or the
/// page is closed.
pub(super) fn open(console: Arc<Console>, visitor: Visitor, query: impl PageQuery) -> Response {
    let Ok(permit) = console.streams.clone().try_acquire_owned() else {
        console.metrics.stream_refused();
        let message = "too many pages with live updates (console.max_streams)";
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            // As long as the script waits before it tries again.
            [(header::RETRY_AFTER, "15")],
            message,
        )
            .into_response();
    };
    let stopped = console.front_end.lifecycle.stopping();
    let page = OpenPage {
        console,
        query: Arc::new(query),
        visitor,
        sent: HashMap::new(),
        is_new: true,
        _permit: permit,
    };
    let events = stream::unfold(page, OpenPage::next)
        .flat_map(stream::iter)
        .take_until(stopped);
    Sse::new(events)
        // Proxies close connections on which nothing is sent.
        .keep_alive(KeepAlive::default())
        .into_response()
}

impl<Q: PageQuery> OpenPage<Q> {
    /// The next event, and the state after it.
    async fn next(mut self) -> Option<(Vec<Result<Event, Infallible>>, Self)> {
        let mut events = Vec::new();
        if std::mem::take(&mut self.is_new) {
            // A page of another build loads itself again: its script may not know these parts.
            events.push(Ok(Event::default().event("build").data(Page::build())));
        } else {
            tokio::time::sleep(QUERY_EVERY).await;
        }
        if !self.visitor.is_still_known(self.console.gateway()) {
            return None;
        }
        let (console, query) = (self.console.clone(), self.query.clone());
        let parts = run_blocking(move || {
            let now_ms = now_ms();
            query(&console, now_ms)
                .map(|page| page.live_parts(&frame(&console, now_ms, None)))
                // What the page shows may be gone by now: then the page stays as it is.
                .unwrap_or_default()
        });
        for (id, html) in parts.await.ok()? {
            if self.sent.get(id) == Some(&html) {
                continue;
            }
            // JSON: event streams know no carriage returns within a line.
            if let Ok(event) = Event::default()
                .event("part")
                .json_data(Part { id, html: &html })
            {
                events.push(Ok(event));
            }
            self.sent.insert(id, html);
        }
        Some((events, self))
    }
}
