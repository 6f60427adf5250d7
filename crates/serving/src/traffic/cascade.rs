//! Whether the first version of a cascade may answer, and whether the versions after it agree.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use prometheus::IntCounterVec;
use tidegate_core::Tensor;
use tidegate_delivery::cascade;
use tidegate_delivery::policy::{Cascade, Share};
use tidegate_delivery::sequential::{Counts, LimitTest};

use super::shadow_queue::reads_alike;
use super::shadow_report::leading_numbers;
use crate::Version;
use crate::endpoints::difference;

/// The chance to stop a cascade that agrees often enough.
const ALPHA: f64 = 0.01;
/// Rounding may leave a probability outside of its range by so much.
const ROUNDING: f64 = 1e-6;

/// The cascade of an endpoint at work.
#[derive(Debug)]
pub struct RunningCascade {
    cascade: Cascade,
    counts: Mutex<CascadeCounts>,
    test: Option<Mutex<LimitTest>>,
    is_stopped: AtomicBool,
    /// Whether somebody was told that it has stopped.
    is_told: AtomicBool,
}

/// What a cascade has done since its policy is in force on this server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CascadeCounts {
    /// Requests that the first version has answered.
    pub first: u64,
    /// Those for which it was not confident enough.
    pub unsure: u64,
    /// Those that it could not answer.
    pub failed: u64,
    /// Rows of answers of the first version that were checked.
    pub audited: u64,
    /// Those of them for which the other version named another class.
    pub disagreed: u64,
}

/// What became of a request in the first version of a cascade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FirstOutcome {
    /// It has answered.
    Answered,
    /// It was not confident enough.
    Unsure,
    /// It could not answer.
    Failed,
}

impl FirstOutcome {
    /// The stable name, for metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Answered => "first",
            Self::Unsure => "unsure",
            Self::Failed => "failed",
        }
    }
}

/// The metrics of all cascades.
#[derive(Clone)]
pub(crate) struct CascadeMetrics {
    pub(crate) requests: IntCounterVec,
    pub(crate) audits: IntCounterVec,
}

impl RunningCascade {
    pub(super) fn new(cascade: Cascade) -> Self {
        let test = cascade
            .agreement
            .map(|agreement| LimitTest::new(1.0 - agreement));
        Self {
            cascade,
            counts: Mutex::default(),
            test: test.map(Mutex::new),
            is_stopped: AtomicBool::new(false),
            is_told: AtomicBool::new(false),
        }
    }

    /// What is wanted.
    pub fn cascade(&self) -> &Cascade {
        &self.cascade
    }

    /// Why a version cannot be asked before another one; `None` if it can.
    pub fn problem(&self, first: &Version, other: &Version) -> Option<String> {
        let output = &self.cascade.output;
        let mut outputs = first.signature().outputs.iter();
        if !outputs.any(|spec| spec.name == *output) {
            return Some(format!("it has no output {output:?}"));
        }
        if cascade_checks(&self.cascade) && !reads_alike(first, other) {
            let problem = "other versions cannot check its answers, as their pipelines differ: leave out \
                           audit and agreement";
            return Some(problem.to_owned());
        }
        if first.sequences().is_some() || other.sequences().is_some() {
            return Some("versions with sequences have no cascade".to_owned());
        }
        difference(other.signature(), first.signature())
    }

    /// What it has done.
    pub fn counts(&self) -> CascadeCounts {
        *self.counts.lock()
    }

    /// Whether it was found to agree too rarely: the weights decide everything since then.
    pub fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }

    /// Whether it has stopped, and nobody was told before.
    pub fn tells_stop(&self) -> bool {
        self.is_stopped() && !self.is_told.swap(true, Ordering::Relaxed)
    }

    /// Whether the first version may answer with this output: every row has a class with enough
    /// probability. What is no probability is not confident.
    pub(crate) fn is_confident(&self, output: &Tensor) -> bool {
        let classes = Classes::of(output);
        let least = classes.and_then(|classes| {
            let mut confidences = classes.rows().map(Classes::confidence);
            confidences.try_fold(f64::INFINITY, |least, next| Some(least.min(next?)))
        });
        // A confidence that was fitted on rounded numbers is reached by the number itself.
        let least_wanted = self.cascade.confidence - ROUNDING;
        least.is_some_and(|least| least.is_finite() && least >= least_wanted)
    }

    pub(crate) fn count(&self, outcome: FirstOutcome) {
        let mut counts = self.counts.lock();
        match outcome {
            FirstOutcome::Answered => counts.first += 1,
            FirstOutcome::Unsure => counts.unsure += 1,
            FirstOutcome::Failed => counts.failed += 1,
        }
    }

    /// Notes whether a version of the weights names the same classes; `None` if that cannot be said.
    pub(super) fn audit(
        &self,
        first: &[(String, Tensor)],
        second: &[(String, Tensor)],
    ) -> Option<bool> {
        let found = disagreements(self.output(first)?, self.output(second)?)?;
        let mut counts = self.counts.lock();
        counts.audited += found.requests;
        counts.disagreed += found.events;
        drop(counts);
        if let Some(test) = &self.test {
            let mut test = test.lock();
            test.add(found);
            if test.log_e() >= (1.0 / ALPHA).ln() {
                self.is_stopped.store(true, Ordering::Relaxed);
            }
        }
        Some(found.events == 0)
    }

    fn output<'a>(&self, outputs: &'a [(String, Tensor)]) -> Option<&'a Tensor> {
        let mut outputs = outputs.iter();
        let (_, output) = outputs.find(|(name, _)| *name == self.cascade.output)?;
        Some(output)
    }
}

fn cascade_checks(cascade: &Cascade) -> bool {
    cascade.audit > Share::NONE
}

/// The rows of two outputs, and in how many of them they name different classes; `None` if they are no
/// probabilities.
fn disagreements(first: &Tensor, second: &Tensor) -> Option<Counts> {
    let (first, second) = (Classes::of(first)?, Classes::of(second)?);
    if first.numbers.len() != second.numbers.len() {
        return None;
    }
    let rows = first.rows().zip(second.rows());
    let differ = rows.filter(|(one, other)| cascade::class(one) != cascade::class(other));
    let rows = first.rows().count() as u64;
    Some(Counts::new(differ.count() as u64, rows))
}

/// Probabilities by row.
struct Classes {
    numbers: Vec<f64>,
    /// The classes of a row; 1 if there is the probability of one class alone.
    count: usize,
}

impl Classes {
    fn of(output: &Tensor) -> Option<Self> {
        let numbers = leading_numbers(output, usize::MAX)?;
        let shape = output.shape();
        let count = match shape.len() {
            0 | 1 => 1,
            dimensions => shape[dimensions - 1],
        };
        let is_whole = count > 0 && !numbers.is_empty() && numbers.len() % count == 0;
        is_whole.then_some(Self { numbers, count })
    }

    fn rows(&self) -> impl Iterator<Item = &[f64]> {
        self.numbers.chunks_exact(self.count)
    }

    /// The largest probability; `None` if a number is none.
    fn confidence(row: &[f64]) -> Option<f64> {
        let is_probability = |value: &f64| (-ROUNDING..=1.0 + ROUNDING).contains(value);
        if !row.iter().all(is_probability) {
            return None;
        }
        Some(cascade::confidence(row))
    }
}

#[cfg(test)]
mod tests {
    use tidegate_core::Shape;

    use super::*;

    fn running(confidence: f64, agreement: Option<f64>) -> RunningCascade {
        RunningCascade::new(Cascade {
            first: "1".parse().unwrap(),
            output: "p".to_owned(),
            confidence,
            audit: "10%".parse().unwrap(),
            agreement,
        })
    }

    fn tensor(shape: &[usize], values: &[f32]) -> Tensor {
        Tensor::from_vec(Shape::new(shape).unwrap(), values.to_vec()).unwrap()
    }

    #[test]
    fn every_row_must_be_confident() {
        let cascade = running(0.9, None);
        for (shape, values, confident) in [
            (&[2, 2][..], &[0.95, 0.05, 0.1, 0.9][..], true),
            (&[2, 2], &[0.95, 0.05, 0.4, 0.6], false),
            // The probability of one class: far from both is unsure.
            (&[2, 1], &[0.05, 0.97], true),
            (&[2], &[0.05, 0.5], false),
            // Logits and gaps are no probabilities.
            (&[1, 2], &[4.0, -4.0], false),
            (&[1, 2], &[f32::NAN, 1.0], false),
        ] {
            let output = tensor(shape, values);
            assert_eq!(cascade.is_confident(&output), confident, "{values:?}");
        }
    }

    #[test]
    fn a_cascade_that_disagrees_too_often_stops() {
        let cascade = running(0.9, Some(0.95));
        let output = |values: &[f32]| vec![("p".to_owned(), tensor(&[1, 2], values))];
        let (one, other) = (output(&[0.9, 0.1]), output(&[0.2, 0.8]));
        for _ in 0..200 {
            assert_eq!(cascade.audit(&one, &one), Some(true));
        }
        assert!(!cascade.is_stopped());
        for _ in 0..200 {
            assert_eq!(cascade.audit(&one, &other), Some(false));
        }
        assert!(cascade.is_stopped());
        let counts = cascade.counts();
        assert_eq!((counts.audited, counts.disagreed), (400, 200));
        assert_eq!(cascade.audit(&one, &[]), None);
    }
}
