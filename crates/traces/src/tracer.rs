//! The beginning of a request's trace.

use std::sync::Arc;

use tidegate_core::TraceContext;

/// Gives requests their trace and span ids. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tracer {
    sample: f64,
    baggage: Arc<[String]>,
}

impl Tracer {
    /// Begins traces here, and records the share `sample` of those.
    pub(crate) fn new(sample: f64, baggage: &[String]) -> Self {
        Self {
            sample,
            baggage: baggage.into(),
        }
    }

    /// The trace that the client's headers name, or a new one.
    pub fn begin(&self, traceparent: Option<&str>, tracestate: Option<&str>) -> TraceContext {
        let joined = traceparent
            .and_then(|parent| TraceContext::child(parent, tracestate, fastrand::u64(1..)));
        // The client's decision holds even where the share would decide otherwise: a trace that some of
        // its services leave out is of little use.
        joined.unwrap_or_else(|| {
            TraceContext::root(
                fastrand::u128(1..),
                fastrand::u64(1..),
                fastrand::f64() < self.sample,
            )
        })
    }

    /// Whether any entry of clients' `baggage` is used.
    pub fn reads_baggage(&self) -> bool {
        !self.baggage.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampled_of_1000(tracer: &Tracer) -> usize {
        (0..1000)
            .filter(|_| tracer.begin(None, None).is_sampled)
            .count()
    }

    #[test]
    fn the_decision_of_the_client_holds_and_without_one_the_share_decides() {
        let sampled = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let (none, all, half) = (
            Tracer::new(0.0, &[]),
            Tracer::new(1.0, &[]),
            Tracer::new(0.5, &[]),
        );
        assert!(none.begin(Some(sampled), None).is_sampled);
        assert!(
            !all.begin(Some(&sampled.replace("-01", "-00")), None)
                .is_sampled
        );
        assert_eq!((sampled_of_1000(&none), sampled_of_1000(&all)), (0, 1000));
        assert!((300..700).contains(&sampled_of_1000(&half)));
        assert!(all.begin(Some("nonsense"), None).parent_id.is_none());
    }
}
