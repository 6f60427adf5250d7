//! What a client asks of caches: `Cache-Control` of a request (RFC 9111, section 5.2.1).

use std::time::Duration;

use http::{HeaderMap, header};

/// The directives of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheControl {
    /// The answer must be computed now; it may be kept.
    pub no_cache: bool,
    /// The answer must not be kept, nor come from what was kept.
    pub no_store: bool,
    /// The oldest answer that is of use.
    pub max_age: Option<Duration>,
}

impl CacheControl {
    /// The directives in headers. Those that mean nothing here, or cannot be read, are ignored.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut control = Self::default();
        let values = headers.get_all(header::CACHE_CONTROL).iter();
        for directive in values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
        {
            let directive = directive.trim().to_ascii_lowercase();
            match directive.split_once('=').unwrap_or((&directive, "")) {
                ("no-cache", _) => control.no_cache = true,
                ("no-store", _) => control.no_store = true,
                ("max-age", seconds) => {
                    control.max_age = seconds.parse().ok().map(Duration::from_secs);
                }
                _ => {}
            }
        }
        control
    }

    /// Whether an answer of this age is of no use.
    pub(super) fn is_too_old(self, age: Duration) -> bool {
        self.max_age.is_some_and(|max_age| age > max_age)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn control(values: &[&'static str]) -> CacheControl {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::CACHE_CONTROL, HeaderValue::from_static(value));
        }
        CacheControl::of(&headers)
    }

    #[test]
    fn directives_are_read_from_all_values() {
        assert_eq!(control(&[]), CacheControl::default());
        let both = control(&["max-age=30, foo", "No-Cache"]);
        assert!(both.no_cache && !both.no_store);
        assert_eq!(both.max_age, Some(Duration::from_secs(30)));
        assert!(control(&["no-store"]).no_store);
        assert_eq!(control(&["max-age=soon"]).max_age, None);
    }
}
