//! The style sheet, the script and the icon.

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};

/// As long as browsers keep anything: the path changes with the content.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

pub(super) async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let path = format!("/console/assets/{name}");
    let Some(asset) = tidegate_console::assets()
        .iter()
        .find(|asset| asset.path == path)
    else {
        return (StatusCode::NOT_FOUND, "there is no such file").into_response();
    };
    let tag = format!("\"{}\"", asset.tag);
    let caching = [
        (header::CACHE_CONTROL, FOR_EVER.to_owned()),
        (header::ETAG, tag.clone()),
    ];
    let known = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|tags| tags.to_str().ok());
    if known.is_some_and(|tags| {
        tags.split(',')
            // A weak comparison (RFC 9110, section 13.1.2): proxies that compress make tags weak.
            .any(|known| known.trim().trim_start_matches("W/") == tag)
    }) {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    (
        caching,
        [(header::CONTENT_TYPE, asset.content_type)],
        asset.body,
    )
        .into_response()
}
