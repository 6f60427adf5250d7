//! The lookups of one request: between reading its records and its steps.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tidegate_core::Feature;
use tidegate_features::LookupError;
use tidegate_pipeline::{LookedUp, Lookup, Pipeline, Records};
use tidegate_serving::{ErrorCode, InferError, MemoryReservation};

use super::Features;
use crate::clock::now_ms;

impl Features {
    /// Gives records the features that their pipeline looks up. All lookups wait for their stores at
    /// the same time, and each asks for all its entities at once.
    ///
    /// # Errors
    /// A store that gives nothing, a feature that may not be used, or the end of the request's time.
    pub(crate) async fn look_up(
        &self,
        pipeline: &Pipeline,
        records: &mut Records,
        deadline: Option<Instant>,
        memory: &mut MemoryReservation,
    ) -> Result<(), InferError> {
        let lookups = pipeline.lookups();
        let mut looked_up: Vec<LookedUp> =
            lookups.iter().map(|lookup| lookup.begin(records)).collect();
        let asked = lookups.iter().zip(&looked_up);
        let answers = join_all(asked.map(|(lookup, own)| self.ask(lookup, own, deadline))).await;
        for ((lookup, answer), own) in lookups.iter().zip(answers).zip(&mut looked_up) {
            match answer {
                Ok(features) => own.set_features(features),
                Err(error) if lookup.has_fallback() && is_temporary(&error) => {}
                Err(error) => return Err(infer_error(lookup, &error, deadline)),
            }
            memory.grow(own.bytes(), ErrorCode::BodyTooLarge)?;
        }
        let now_ms = i64::try_from(now_ms()).unwrap_or(i64::MAX);
        let added = pipeline.add_features(records, &mut looked_up, now_ms);
        for (lookup, own) in lookups.iter().zip(&looked_up) {
            self.metrics.count(lookup, own, now_ms);
        }
        Ok(added?)
    }

    async fn ask(
        &self,
        lookup: &Lookup,
        looked_up: &LookedUp,
        deadline: Option<Instant>,
    ) -> Result<Vec<Feature>, LookupError> {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let timeout = lookup.timeout().min(left.unwrap_or(Duration::MAX));
        let store = lookup.store();
        self.stores.fetch(store, looked_up.query(), timeout).await
    }
}

/// Whether the same query may be answered later.
fn is_temporary(error: &LookupError) -> bool {
    match error {
        LookupError::TimedOut { .. } | LookupError::Busy { .. } | LookupError::Away { .. } => true,
        LookupError::Unknown(_) | LookupError::TooMany { .. } | LookupError::Refused { .. } => {
            false
        }
    }
}

#[cold]
fn infer_error(lookup: &Lookup, error: &LookupError, deadline: Option<Instant>) -> InferError {
    let is_late = deadline.is_some_and(|deadline| deadline <= Instant::now());
    let code = match error {
        LookupError::TooMany { .. } => ErrorCode::ShapeOverflow,
        LookupError::TimedOut { .. } if is_late => ErrorCode::DeadlineExceeded,
        _ => ErrorCode::FeaturesUnavailable,
    };
    // It is about all rows of the request.
    let message = format!("lookup \"{}\": {error}", lookup.name());
    InferError::new(code, message)
}
