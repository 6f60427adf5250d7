//! The attempts of a request: on one server, on another one if that fails, on two if one is slow.

use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::future::{Either, select};
use tidegate_core::Tensor;

use super::RemoteVersion;
use crate::call::Call;
use crate::failure::CallFailure;
use crate::reporter::Further;

/// The longest wait before a further attempt.
const MAX_BACKOFF: Duration = Duration::from_secs(1);

type Outcome = Result<Vec<Tensor>, CallFailure>;

impl RemoteVersion {
    /// Tries until an attempt succeeds, or no other one is allowed.
    pub(super) async fn attempts(&self, call: &Call) -> Outcome {
        self.budget.lock().count_request(Instant::now());
        let mut tried = Vec::new();
        let mut retries = 0;
        let mut has_run = false;
        loop {
            let failure = match self.attempt_or_hedge(call, &mut tried).await {
                Ok(outputs) => return Ok(outputs),
                Err(failure) => failure,
            };
            has_run |= failure.has_run;
            let failure = CallFailure { has_run, ..failure };
            let is_last = retries == self.config.max_retries;
            if is_last || !failure.may_retry || !self.may_try_again(Further::Retry) {
                return Err(failure);
            }
            let pause = backoff(self.config.retry_backoff, retries);
            // The failure tells the client more than a deadline that passes in a pause.
            if Instant::now() + pause >= call.deadline {
                return Err(failure);
            }
            tokio::time::sleep(pause).await;
            retries += 1;
        }
    }

    fn may_try_again(&self, kind: Further) -> bool {
        let is_allowed = self.budget.lock().take(Instant::now());
        self.reporter.further_attempt(kind, is_allowed);
        is_allowed
    }

    /// One attempt, or two side by side if the first one takes longer than most.
    async fn attempt_or_hedge(&self, call: &Call, tried: &mut Vec<usize>) -> Outcome {
        let first = self.balancer.pick(&self.addresses, tried, Instant::now())?;
        tried.push(first);
        let p95 = self.latencies.lock().p95().filter(|_| self.config.hedge);
        let Some(patience) = p95 else {
            return self.attempt(first, call).await;
        };
        let mut one = pin!(self.attempt(first, call));
        if let Ok(outcome) = tokio::time::timeout(patience, &mut one).await {
            return outcome;
        }
        let other = self
            .balancer
            .pick_other(&self.addresses, tried, Instant::now());
        let Some(second) = other.filter(|_| self.may_try_again(Further::Hedge)) else {
            return one.await;
        };
        tried.push(second);
        let two = pin!(self.attempt(second, call));
        // The first answer counts; the other attempt is given up by being dropped.
        match select(one, two).await {
            Either::Left((Ok(outputs), _)) | Either::Right((Ok(outputs), _)) => Ok(outputs),
            Either::Left((Err(one), other)) => other.await.map_err(|two| two.after(&one)),
            Either::Right((Err(two), other)) => other.await.map_err(|one| one.after(&two)),
        }
    }

    /// One attempt on one server. Its answer is checked: a wrong one is a failure of the server.
    async fn attempt(&self, at: usize, call: &Call) -> Outcome {
        let address = &self.addresses[at];
        let began = Instant::now();
        let attempt = address.begin(&self.reporter);
        let answered = tokio::time::timeout_at(call.deadline.into(), address.transport.infer(call));
        let outcome = match answered.await {
            // Whether the server has got the request is not known.
            Err(_) => Err(CallFailure::timed_out("did not answer in time").after_run()),
            Ok(Err(failure)) => Err(failure),
            Ok(Ok(answer)) => answer.check(call, self.config.version.as_deref()),
        };
        let outcome = outcome.map_err(|failure| address.failed(failure));
        let took = began.elapsed();
        attempt.end(&outcome, self.is_blamed(took));
        if outcome.is_ok() {
            self.latencies.lock().record(took);
        }
        outcome
    }
}

/// How long the next attempt waits: twice as long each time, and a random share of that, so that
/// requests that failed together do not come again together.
fn backoff(first: Duration, retries: u32) -> Duration {
    let most = first
        .saturating_mul(2u32.saturating_pow(retries))
        .min(MAX_BACKOFF);
    most.mul_f64(0.5 + fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_differ_and_are_bounded() {
        let first = Duration::from_millis(10);
        for _ in 0..100 {
            let pause = backoff(first, 2);
            assert!(pause >= first * 2 && pause <= first * 4, "{pause:?}");
        }
        assert!(backoff(first, 1000) <= MAX_BACKOFF);
        assert_ne!(backoff(first, 3), backoff(first, 3));
    }
}
