//! A page as a response: whole, or as a stream of its changes.

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use tidegate_console::{Page, not_found};

use super::frame::frame;
use super::visitor::Visitor;
use super::{Console, stream};
use crate::blocking::run_page;
use crate::clock::now_ms;
use crate::compression::Encoding;
use crate::origin;
use crate::request_memory;
use crate::rest::{ApiError, body};

/// Queries the content of a page at a moment, in Unix milliseconds; an error says what does not
/// exist.
pub(super) trait PageQuery:
    Fn(&Console, u64) -> Result<Page, String> + Send + Sync + 'static
{
}

impl<F: Fn(&Console, u64) -> Result<Page, String> + Send + Sync + 'static> PageQuery for F {}

/// The page; its stream, if that is asked for.
pub(super) async fn answer(
    console: Arc<Console>,
    visitor: &Visitor,
    query: impl PageQuery,
) -> Response {
    let headers = &visitor.headers;
    let wants_stream = headers
        .get(header::ACCEPT)
        .is_some_and(|accept| accept.as_bytes() == b"text/event-stream");
    let mut response = match wants_stream {
        // A page elsewhere could not read it, and would take the place of one of ours.
        true if !origin::is_own(headers) => StatusCode::FORBIDDEN.into_response(),
        true => stream::open(console, visitor.clone(), query),
        false => whole(console, visitor, query).await,
    };
    response
        .headers_mut()
        // A cache must not give a stream to a browser that asks for the page.
        .append(header::VARY, HeaderValue::from_static("accept"));
    response
}

async fn whole(console: Arc<Console>, visitor: &Visitor, query: impl PageQuery) -> Response {
    render(console, visitor, move |console, now_ms| {
        match query(console, now_ms) {
            Ok(page) => (StatusCode::OK, page),
            Err(what) => (StatusCode::NOT_FOUND, not_found(&what)),
        }
    })
    .await
}

/// Queries a page and sends it. The query runs off the threads that serve connections: it takes
/// longer than a request.
pub(super) async fn render(
    console: Arc<Console>,
    visitor: &Visitor,
    query: impl FnOnce(&Console, u64) -> (StatusCode, Page) + Send + 'static,
) -> Response {
    let config = console.front_end.config.clone();
    let memory = request_memory::begin(&console.front_end.memory);
    let user = visitor.user(console.gateway());
    let rendered = run_page(move || {
        let now_ms = now_ms();
        let (status, page) = query(&console, now_ms);
        let html = page.render(&frame(&console, now_ms, user));
        (status, html.into_bytes())
    });
    let (status, html) = match rendered.await {
        Ok(rendered) => rendered,
        Err(error) => return ApiError::from(error).into_response(),
    };
    let (content_type, encoding) = (
        "text/html; charset=utf-8",
        Encoding::accepted(&visitor.headers),
    );
    match body::answer(html, content_type, encoding, &config, memory).await {
        Ok(mut response) => {
            *response.status_mut() = status;
            response
        }
        Err(error) => ApiError::from(error).into_response(),
    }
}
