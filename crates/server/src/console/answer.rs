//! A page as an answer: whole, or as a stream of what changes of it.

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use tidegate_console::{Page, not_found};

use super::{look, stream};
use crate::app::App;
use crate::clock::now_ms;
use crate::compression::Encoding;
use crate::origin;
use crate::rest::{ApiError, body};

/// Looks a page up at a moment; or says what is not there.
pub(super) trait Look:
    Fn(&App, u64) -> Result<Page, String> + Send + Sync + 'static
{
}

impl<F: Fn(&App, u64) -> Result<Page, String> + Send + Sync + 'static> Look for F {}

/// The page; its stream, if that is asked for.
pub(super) async fn answer(app: Arc<App>, headers: &HeaderMap, look: impl Look) -> Response {
    let wants_stream = headers
        .get(header::ACCEPT)
        .is_some_and(|accept| accept.as_bytes() == b"text/event-stream");
    let mut response = match wants_stream {
        // A page elsewhere could not read it, and would take the place of one of ours.
        true if !origin::is_own(headers) => StatusCode::FORBIDDEN.into_response(),
        true => stream::open(app, look),
        false => whole(&app, headers, look).await,
    };
    response
        .headers_mut()
        .append(header::VARY, HeaderValue::from_static("accept"));
    response
}

async fn whole(app: &Arc<App>, headers: &HeaderMap, look: impl Look) -> Response {
    let looked = on_the_side(app, move |app| {
        let now_ms = now_ms();
        let (status, page) = match look(app, now_ms) {
            Ok(page) => (StatusCode::OK, page),
            Err(what) => (StatusCode::NOT_FOUND, not_found(&what)),
        };
        (status, page.render(&look::frame(app, now_ms)))
    });
    match looked.await {
        Some((status, html)) => send(app, headers, status, html).await,
        None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// A page with a status.
pub(super) async fn send(
    app: &App,
    headers: &HeaderMap,
    status: StatusCode,
    html: String,
) -> Response {
    let encoding = Encoding::accepted(headers);
    match body::answer(
        html.into_bytes(),
        "text/html; charset=utf-8",
        encoding,
        &app.config,
    )
    .await
    {
        Ok(mut response) => {
            *response.status_mut() = status;
            response
        }
        Err(error) => ApiError::from(error).into_response(),
    }
}

/// Looks off the threads that serve connections: a page takes longer than a request. `None` if that
/// panicked.
pub(super) async fn on_the_side<T: Send + 'static>(
    app: &Arc<App>,
    work: impl FnOnce(&App) -> T + Send + 'static,
) -> Option<T> {
    let app = app.clone();
    tokio::task::spawn_blocking(move || work(&app)).await.ok()
}
