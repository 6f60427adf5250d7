//! Whether a request comes from our own pages.

use http::{HeaderMap, header};

/// Whether a request comes from a page of this server, or from no page at all. Browsers send
/// `Sec-Fetch-Site` (W3C, Fetch Metadata Request Headers), older ones `Origin` (RFC 6454). A client
/// that sends neither is not a browser, so no other site can make it send requests.
pub(crate) fn is_own(headers: &HeaderMap) -> bool {
    match (text(headers, "sec-fetch-site"), text(headers, "origin")) {
        (Some(site), _) => matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => {
            let host = headers
                .get(header::HOST)
                .and_then(|host| host.to_str().ok());
            // An opaque origin is sent as `null` (RFC 6454, section 6.2): it has no host and is
            // refused.
            let from = origin.split_once("://").map(|(_, host)| host);
            from.is_some() && from == host
        }
        (None, None) => true,
    }
}

/// A header. One that is not text counts as sent, so that it cannot pass for a missing one.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let value = headers.get(name)?;
    Some(value.to_str().unwrap_or("unreadable"))
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
    fn only_our_own_pages_and_clients_other_than_browsers_may_change_anything() {
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
