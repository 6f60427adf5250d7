//! What changes of a page, while somebody looks at it: server-sent events.

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

use super::answer::{Look, on_the_side};
use super::look;
use crate::app::App;
use crate::clock::now_ms;

/// How often a page is looked up again.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// One page that somebody looks at.
struct Watched<L> {
    app: Arc<App>,
    look: Arc<L>,
    /// The parts as they were sent.
    sent: HashMap<&'static str, String>,
    is_new: bool,
    _place: OwnedSemaphorePermit,
}

/// A part of a page that has changed.
#[derive(Serialize)]
struct Part<'a> {
    id: &'static str,
    html: &'a str,
}

/// Sends the parts of a page now, and each again when it has changed, until the server stops or
/// nobody listens.
pub(super) fn open(app: Arc<App>, look: impl Look) -> Response {
    let Ok(place) = app.console.streams.clone().try_acquire_owned() else {
        app.console.metrics.stream_refused();
        let message = "too many pages are kept up to date (console.max_streams)";
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            [(header::RETRY_AFTER, "15")],
            message,
        )
            .into_response();
    };
    let stopped = app.stopped();
    let watched = Watched {
        app,
        look: Arc::new(look),
        sent: HashMap::new(),
        is_new: true,
        _place: place,
    };
    let events = stream::unfold(watched, Watched::next)
        .flat_map(stream::iter)
        .take_until(stopped);
    Sse::new(events)
        .keep_alive(KeepAlive::default())
        .into_response()
}

impl<L: Look> Watched<L> {
    /// What is sent next, and the state after it.
    async fn next(mut self) -> Option<(Vec<Result<Event, Infallible>>, Self)> {
        let mut events = Vec::new();
        if std::mem::take(&mut self.is_new) {
            events.push(Ok(Event::default().event("build").data(Page::build())));
        } else {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let look = self.look.clone();
        let parts = on_the_side(&self.app, move |app| {
            let now_ms = now_ms();
            look(app, now_ms)
                .map(|page| page.live_parts(&look::frame(app, now_ms)))
                .unwrap_or_default()
        });
        for (id, html) in parts.await? {
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
