//! What is left of limits, for clients: the header fields `RateLimit-Policy` and `RateLimit`
//! (draft-ietf-httpapi-ratelimit-headers-10) and `Retry-After`.

use std::fmt::Write;

/// The policies that a request was counted against, and what is left of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitStatus {
    /// The policies; at least one.
    pub policies: Vec<PolicyStatus>,
}

/// What is left of one policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyStatus {
    /// The name: that of the limit, with the unit and the period of a quota.
    pub name: String,
    /// How much may be used in a window; for requests in work, at once.
    pub quota: u64,
    /// The unit, unless it is requests.
    pub unit: Option<&'static str>,
    /// The window, in seconds; none for requests in work.
    pub window_s: Option<u64>,
    /// How much is left.
    pub remaining: u64,
    /// After how many seconds there will be more, if that is known.
    pub reset_s: Option<u64>,
}

impl LimitStatus {
    /// The value of `RateLimit-Policy`.
    pub fn policy_header(&self) -> String {
        let mut text = String::new();
        for policy in &self.policies {
            begin_item(&mut text, &policy.name);
            // Writing to a string cannot fail.
            let _ = write!(text, ";q={}", policy.quota);
            if let Some(unit) = policy.unit {
                let _ = write!(text, ";qu=\"{unit}\"");
            }
            if let Some(window_s) = policy.window_s {
                let _ = write!(text, ";w={window_s}");
            }
        }
        text
    }

    /// The value of `RateLimit`.
    pub fn state_header(&self) -> String {
        let mut text = String::new();
        for policy in &self.policies {
            begin_item(&mut text, &policy.name);
            let _ = write!(text, ";r={}", policy.remaining);
            if let Some(reset_s) = policy.reset_s {
                let _ = write!(text, ";t={reset_s}");
            }
        }
        text
    }
}

/// The next string of a list of structured fields (RFC 9651). Names of limits need no escaping.
fn begin_item(text: &mut String, name: &str) {
    if !text.is_empty() {
        text.push_str(", ");
    }
    let _ = write!(text, "\"{name}\"");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_have_the_form_of_the_draft() {
        let status = LimitStatus {
            policies: vec![
                PolicyStatus {
                    name: "burst".to_owned(),
                    quota: 100,
                    unit: None,
                    window_s: Some(60),
                    remaining: 50,
                    reset_s: Some(30),
                },
                PolicyStatus {
                    name: "work".to_owned(),
                    quota: 8,
                    unit: Some("concurrent-requests"),
                    window_s: None,
                    remaining: 7,
                    reset_s: None,
                },
            ],
        };
        let policy = r#""burst";q=100;w=60, "work";q=8;qu="concurrent-requests""#;
        assert_eq!(status.policy_header(), policy);
        assert_eq!(status.state_header(), r#""burst";r=50;t=30, "work";r=7"#);
    }
}
