//! What is left of limits, for clients: the header fields `RateLimit-Policy` and `RateLimit`
//! (draft-ietf-httpapi-ratelimit-headers-10) and `Retry-After`.

use std::sync::Arc;

use super::limiter::Unit;
use super::quota::Period;

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
    pub name: Arc<str>,
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

/// About how many bytes one policy takes in a header.
const POLICY_BYTES: usize = 64;

impl LimitStatus {
    /// The value of `RateLimit-Policy`.
    pub fn policy_header(&self) -> String {
        let mut text = String::with_capacity(POLICY_BYTES * self.policies.len());
        for policy in &self.policies {
            begin_item(&mut text, &policy.name);
            add_number(&mut text, ";q=", policy.quota);
            if let Some(unit) = policy.unit {
                text.push_str(";qu=\"");
                text.push_str(unit);
                text.push('"');
            }
            if let Some(window_s) = policy.window_s {
                add_number(&mut text, ";w=", window_s);
            }
        }
        text
    }

    /// The value of `RateLimit`.
    pub fn state_header(&self) -> String {
        let mut text = String::with_capacity(POLICY_BYTES * self.policies.len());
        for policy in &self.policies {
            begin_item(&mut text, &policy.name);
            add_number(&mut text, ";r=", policy.remaining);
            if let Some(reset_s) = policy.reset_s {
                add_number(&mut text, ";t=", reset_s);
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
    text.push('"');
    text.push_str(name);
    text.push('"');
}

fn add_number(text: &mut String, parameter: &str, number: u64) {
    text.push_str(parameter);
    text.push_str(itoa::Buffer::new().format(number));
}

/// The names of all policies that one limit can have. Every answer of a limited request has some of
/// them, so they are made once.
#[derive(Debug)]
pub(super) struct PolicyNames {
    of_requests: UnitNames,
    of_rows: UnitNames,
    pub(super) in_flight: Arc<str>,
}

#[derive(Debug)]
struct UnitNames {
    rate: Arc<str>,
    day: Arc<str>,
    month: Arc<str>,
}

impl PolicyNames {
    pub(super) fn new(limit: &str) -> Self {
        Self {
            of_requests: UnitNames::new(limit, Unit::Requests),
            of_rows: UnitNames::new(limit, Unit::Rows),
            in_flight: format!("{limit}-in-flight").into(),
        }
    }

    pub(super) fn rate(&self, unit: Unit) -> Arc<str> {
        self.of(unit).rate.clone()
    }

    pub(super) fn quota(&self, unit: Unit, period: Period) -> Arc<str> {
        let names = self.of(unit);
        match period {
            Period::Day => names.day.clone(),
            Period::Month => names.month.clone(),
        }
    }

    fn of(&self, unit: Unit) -> &UnitNames {
        match unit {
            Unit::Requests => &self.of_requests,
            Unit::Rows => &self.of_rows,
        }
    }
}

impl UnitNames {
    fn new(limit: &str, unit: Unit) -> Self {
        let unit = unit.name();
        Self {
            rate: format!("{limit}-{unit}").into(),
            day: format!("{limit}-{unit}-{}", Period::Day.name()).into(),
            month: format!("{limit}-{unit}-{}", Period::Month.name()).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_have_the_form_of_the_draft() {
        let status = LimitStatus {
            policies: vec![
                PolicyStatus {
                    name: "burst".into(),
                    quota: 100,
                    unit: None,
                    window_s: Some(60),
                    remaining: 50,
                    reset_s: Some(30),
                },
                PolicyStatus {
                    name: "work".into(),
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
