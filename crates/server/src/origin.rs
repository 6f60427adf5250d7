//! Whether a request comes from our own pages.

use http::{HeaderMap, header};

/// Whether a request comes from a page of this server, or from no page at all. Browsers say it in
/// `Sec-Fetch-Site` (W3C, Fetch Metadata Request Headers); those that do not, in `Origin` (RFC
/// 6454). A client that sends neither is no browser, and cannot be lured.
pub(crate) fn is_own(headers: &HeaderMap) -> bool {
    let text = |name: &str| {
        headers
            .get(name)
            .map(|value| value.to_str().unwrap_or("unreadable"))
    };
    match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) => matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => {
            let host = headers
                .get(header::HOST)
                .and_then(|host| host.to_str().ok());
            let from = origin.split_once("://").map(|(_, host)| host);
            from.is_some() && from == host
        }
        (None, None) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(pairs: &[(&'static str, &str)]) -> bool {
        let headers = pairs.iter().map(|(name, value)| {
            (
                http::HeaderName::from_static(name),
                http::HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            )
        });
        is_own(&headers.collect())
    }

    #[test]
    fn only_our_own_pages_and_what_is_no_browser_may_change_anything() {
        let host = ("host", "tidegate:8000");
        assert!(own(&[host]));
        assert!(own(&[
            host,
            ("sec-fetch-site", "same-origin"),
            ("origin", "http://tidegate:8000")
        ]));
        assert!(own(&[host, ("origin", "https://tidegate:8000")]));
        assert!(!own(&[host, ("sec-fetch-site", "cross-site")]));
        assert!(!own(&[
            host,
            ("sec-fetch-site", "same-site"),
            ("origin", "http://tidegate:8000")
        ]));
        assert!(!own(&[host, ("origin", "http://tidegate:8001")]));
        assert!(!own(&[host, ("origin", "null")]));
        assert!(!own(&[("origin", "null")]));
        assert!(!own(&[host, ("sec-fetch-site", "\u{e9}")]));
    }
}
