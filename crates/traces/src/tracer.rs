//! The beginning of a request's trace.

use std::sync::Arc;

use tidegate_core::TraceContext;

/// Gives requests their trace and span ids. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tracer {
    baggage: Arc<[String]>,
}

impl Tracer {
    pub(crate) fn new(baggage: &[String]) -> Self {
        Self {
            baggage: baggage.into(),
        }
    }

    /// The trace that the client's headers name, or a new one. Of the new ones, the share `sample` is
    /// recorded.
    pub fn begin(
        &self,
        traceparent: Option<&str>,
        tracestate: Option<&str>,
        sample: f64,
    ) -> TraceContext {
        let joined = traceparent
            .and_then(|parent| TraceContext::child(parent, tracestate, fastrand::u64(1..)));
        // The client's decision holds even where the share would decide otherwise: a trace that some of
        // its services leave out is of little use.
        joined.unwrap_or_else(|| {
            TraceContext::root(
                fastrand::u128(1..),
                fastrand::u64(1..),
                fastrand::f64() < sample,
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

    fn sampled_of_1000(tracer: &Tracer, sample: f64) -> usize {
        (0..1000)
            .filter(|_| tracer.begin(None, None, sample).is_sampled)
            .count()
    }

    #[test]
    fn the_decision_of_the_client_holds_and_without_one_the_share_decides() {
        let sampled = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let tracer = Tracer::new(&[]);
        assert!(tracer.begin(Some(sampled), None, 0.0).is_sampled);
        let not_sampled = sampled.replace("-01", "-00");
        assert!(!tracer.begin(Some(&not_sampled), None, 1.0).is_sampled);
        let (none, all) = (sampled_of_1000(&tracer, 0.0), sampled_of_1000(&tracer, 1.0));
        assert_eq!((none, all), (0, 1000));
        assert!((300..700).contains(&sampled_of_1000(&tracer, 0.5)));
        assert!(
            tracer
                .begin(Some("nonsense"), None, 1.0)
                .parent_id
                .is_none()
        );
    }
}
