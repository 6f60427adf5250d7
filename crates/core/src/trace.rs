//! The place of a request in a distributed trace, by [W3C Trace
//! Context](https://www.w3.org/TR/trace-context-2/).

use std::num::NonZeroU64;

/// Bytes of a `traceparent` of version 00.
const TRACEPARENT_BYTES: usize = 55;
/// Longest `tracestate` that is passed on, in bytes; section 3.3.1.5 of the standard asks for at least 512.
const MAX_STATE_BYTES: usize = 2048;

/// The span of one request, and the trace that it belongs to.
///
/// ```
/// use tidegate_core::TraceContext;
///
/// let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// let context = TraceContext::child(parent, None, 7).expect("it is a valid traceparent");
/// assert!(context.is_sampled);
/// let own = "00-0af7651916cd43dd8448eb211c80319c-0000000000000007-01";
/// assert_eq!(context.traceparent(), own);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace; never 0.
    pub trace_id: u128,
    /// The request's own span in it; never 0.
    pub span_id: u64,
    /// The client's span, if the client had one.
    pub parent_id: Option<NonZeroU64>,
    /// Whether the trace is recorded.
    pub is_sampled: bool,
    /// The `tracestate` of the client, unchanged.
    pub state: Option<Box<str>>,
}

impl TraceContext {
    /// A trace that begins with this request. Ids are random; 0 is not a valid id and becomes 1.
    pub fn root(trace_id: u128, span_id: u64, is_sampled: bool) -> Self {
        Self {
            trace_id: trace_id.max(1),
            span_id: span_id.max(1),
            parent_id: None,
            is_sampled,
            state: None,
        }
    }

    /// The trace that a client's `traceparent` names, with a span of the request's own; `None` if
    /// it names none, for which the standard asks to begin a new trace.
    pub fn child(traceparent: &str, state: Option<&str>, span_id: u64) -> Option<Self> {
        let text = traceparent.trim_ascii().as_bytes();
        let (known, more) = text.split_at_checked(TRACEPARENT_BYTES)?;
        let [v0, v1, b'-', rest @ ..] = known else {
            return None;
        };
        let version = hex(&[*v0, *v1])?;
        // Section 3.2.4: later versions may have more fields behind another dash; version ff is invalid.
        let ends_well = if version == 0 {
            more.is_empty()
        } else {
            more.first().is_none_or(|next| *next == b'-')
        };
        if version == 0xff || !ends_well {
            return None;
        }
        // Two, 32, 16 and two digits, with dashes between them (section 3.2.2 of the standard).
        let (trace_id, rest) = (hex(&rest[..32])?, rest[32..].strip_prefix(b"-")?);
        let (parent_id, rest) = (hex(&rest[..16])?, rest[16..].strip_prefix(b"-")?);
        let flags = hex(rest)?;
        let parent_id = u64::try_from(parent_id).ok().and_then(NonZeroU64::new)?;
        let state = state.filter(|state| !state.is_empty() && state.len() <= MAX_STATE_BYTES);
        // Bit 0 is `sampled`; the other flags are not ours to judge (section 3.2.2.5).
        let root = Self::root(trace_id, span_id, flags & 1 == 1);
        (trace_id != 0).then(|| Self {
            parent_id: Some(parent_id),
            state: state.map(Into::into),
            ..root
        })
    }

    /// The `traceparent` header for further calls: the trace and the request's own span.
    pub fn traceparent(&self) -> String {
        format!(
            "00-{:032x}-{:016x}-{:02x}",
            self.trace_id,
            self.span_id,
            u8::from(self.is_sampled)
        )
    }
}

/// The value of hexadecimal digits. Upper case is not valid in the standard.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    // The examples of the standard, section 3.2.2.
    const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const NOT_SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

    #[test]
    fn a_request_joins_the_trace_of_its_client() {
        let context = TraceContext::child(SAMPLED, Some("congo=t61rcWkgMzE"), 7).unwrap();
        assert_eq!(context.trace_id, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!(
            context.parent_id.map(NonZeroU64::get),
            Some(0x00f0_67aa_0ba9_02b7)
        );
        assert_eq!(
            (context.is_sampled, context.state.as_deref()),
            (true, Some("congo=t61rcWkgMzE"))
        );
        assert_eq!(
            context.traceparent(),
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000007-01"
        );
        assert!(
            !TraceContext::child(NOT_SAMPLED, None, 7)
                .unwrap()
                .is_sampled
        );
    }

    #[test]
    fn later_versions_are_read_as_far_as_they_are_known() {
        let later = SAMPLED.replacen("00", "cc", 1);
        for text in [later.clone(), format!("{later}-what-the-future-brings")] {
            assert!(TraceContext::child(&text, None, 7).is_some(), "{text}");
        }
        assert_eq!(TraceContext::child(&format!("{later}."), None, 7), None);
    }

    #[test]
    fn what_names_no_trace_is_none() {
        for text in [
            "",
            "00",
            &SAMPLED.replacen("00", "ff", 1),
            &SAMPLED.to_uppercase(),
            &format!("{SAMPLED}-00"),
            &SAMPLED[..54],
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceContext::child(text, None, 7), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(trace_id in 1u128.., span_id in 1u64.., is_sampled: bool) {
            let one = TraceContext::root(trace_id, span_id, is_sampled);
            let next = TraceContext::child(&one.traceparent(), None, 7).unwrap();
            prop_assert_eq!((next.trace_id, next.parent_id.unwrap().get(), next.is_sampled), (trace_id, span_id, is_sampled));
        }

        #[test]
        fn no_text_breaks_it(text in "\\PC*", state in "\\PC*") {
            let _ = TraceContext::child(&text, Some(&state), 7);
        }
    }
}
