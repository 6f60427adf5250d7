//! A cookie (RFC 6265) that scripts cannot read and other sites cannot make browsers send with forms.

use http::{HeaderMap, HeaderValue, header};

/// The prefix of cookies that browsers take only over TLS, for this host alone and all of its paths.
const HOST_PREFIX: &str = "__Host-";

/// A cookie of this server.
pub(super) struct Cookie {
    name: String,
    is_secure: bool,
}

impl Cookie {
    pub(super) fn new(name: &str, is_secure: bool) -> Self {
        let prefix = if is_secure { HOST_PREFIX } else { "" };
        Self {
            name: format!("{prefix}{name}"),
            is_secure,
        }
    }

    /// Sets it to a value, which has only characters of base64url.
    pub(super) fn set(&self, value: &str, max_age_s: Option<u32>) -> HeaderValue {
        let name = &self.name;
        let mut text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax");
        if let Some(seconds) = max_age_s {
            text.push_str(&format!("; Max-Age={seconds}"));
        }
        if self.is_secure {
            text.push_str("; Secure");
        }
        let value = HeaderValue::try_from(text);
        let mut value = value.expect("names and values of cookies are plain text");
        value.set_sensitive(true);
        value
    }

    /// The value that a browser sends. With several none: another host of the domain may have set one.
    pub(super) fn read<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let lines = headers.get_all(header::COOKIE).iter();
        let pairs = lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(';'));
        let mut own = pairs.filter_map(|pair| {
            let (name, value) = pair.trim().split_once('=')?;
            (name == self.name).then_some(value)
        });
        match (own.next(), own.next()) {
            (value, None) => value,
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        let lines = lines
            .iter()
            .map(|line| (header::COOKIE, HeaderValue::from_str(line).unwrap()));
        lines.collect()
    }

    #[test]
    fn over_tls_the_cookie_is_for_this_host_alone() {
        let set = Cookie::new("s", true).set("x", None);
        assert_eq!(set, "__Host-s=x; Path=/; HttpOnly; SameSite=Lax; Secure");
        let removed = Cookie::new("s", false).set("", Some(0));
        assert_eq!(removed, "s=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0");
    }

    #[test]
    fn a_cookie_is_found_among_others_and_refused_if_there_are_two() {
        let cookie = Cookie::new("s", false);
        assert_eq!(cookie.read(&headers(&["a=1; s=2;b=3"])), Some("2"));
        assert_eq!(cookie.read(&headers(&["a=1", "s=2"])), Some("2"));
        assert_eq!(cookie.read(&headers(&["ss=1; xs=2"])), None);
        assert_eq!(cookie.read(&headers(&["s=1; s=2"])), None);
        assert_eq!(cookie.read(&headers(&["s=1", "s=1"])), None);
        assert_eq!(Cookie::new("s", true).read(&headers(&["s=1"])), None);
    }
}
