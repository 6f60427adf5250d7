//! What a person sees in place of a page that they may not see.

use axum::extract::Request;
use axum::response::{Html, IntoResponse, Redirect, Response};
use http::{HeaderMap, StatusCode, header};
use tidegate_console::Forbidden;
use tidegate_gateway::{Credentials, Gateway};
use tidegate_serving::{ErrorCode, InferError};

use super::with_guards;

/// The answer to a browser that asks for a page of the console and may not see it: the way to sign
/// in, or what is missing. `None` for all other requests, which get the error.
pub(crate) fn denied_page(
    gateway: &Gateway,
    request: &Request,
    error: &InferError,
) -> Option<Response> {
    let headers = request.headers();
    // A program that sends credentials is to learn that they are wrong.
    if !accepts_html(headers) || Credentials::of(headers).are_sent() {
        return None;
    }
    let response = match error.code {
        ErrorCode::Unauthenticated => to_login(request).into_response(),
        ErrorCode::Forbidden => {
            let page = Forbidden {
                problem: error.message.to_string(),
                may_sign_out: gateway.session(headers).is_some(),
            };
            let mut response = (StatusCode::FORBIDDEN, Html(page.render())).into_response();
            // For the audit log.
            response.extensions_mut().insert(error.code);
            response
        }
        _ => return None,
    };
    Some(with_guards(response))
}

fn accepts_html(headers: &HeaderMap) -> bool {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

fn to_login(request: &Request) -> Redirect {
    let page = request
        .uri()
        .path_and_query()
        .map_or("", |page| page.as_str());
    let next: String = form_urlencoded::byte_serialize(page.as_bytes()).collect();
    Redirect::to(&format!("/console/login?next={next}"))
}
