//! What is compared between the new version and the one before.

use serde::{Deserialize, Serialize};

use super::written_check::WrittenCheck;
use crate::sequential::{MAX_BINS, Unit};

/// One comparison. Its test may be looked at all the time: the probability that it ever fails while the
/// new version is worse by no more than `min_effect` is at most `alpha`.
///
/// Its written form has the keys of its kind beside the others:
///
/// ```
/// use tidegate_delivery::rollout::{Check, CheckKind};
///
/// let check: Check = toml::from_str(
///     r#"
///     name = "p99"
///     metric = "latency_ms"
///     kind = "quantile"
///     quantile = 0.99
///     min_effect = 0.1
///     "#,
/// )?;
/// assert!(matches!(check.kind, CheckKind::Quantile { quantile: 0.99, .. }));
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "WrittenCheck", into = "WrittenCheck")]
pub struct Check {
    /// Its name in reports; unique in the rollout.
    pub name: String,
    /// What is measured, by the name in the evidence, e.g. `errors`.
    pub metric: String,
    /// How it is compared.
    pub kind: CheckKind,
    /// Its probability of a false alarm; without it, it gets its part of the rollout's.
    pub alpha: Option<f64>,
    /// What happens when it fails.
    pub action: CheckAction,
}

/// How a metric is compared.
#[derive(Clone, Debug, PartialEq)]
pub enum CheckKind {
    /// The share of requests that have an event, such as an error or a missing output.
    Share {
        /// The difference of shares that is accepted, from 0 to below 1.
        min_effect: f64,
        /// Whether events are good, such as conversions.
        higher_is_better: bool,
        /// What counts as one observation: a request if it is not written.
        unit: Unit,
    },
    /// A quantile of a histogram, such as the p99 of latency; larger is worse.
    Quantile {
        /// Which, e.g. 0.99.
        quantile: f64,
        /// How many times as wide a bin is as the one before; 1.1 if it is not written.
        growth: f64,
        /// The increase that is accepted, as a part of the control's: 0.1 for 10 %.
        min_effect: f64,
        /// What counts as one observation: a block if it is not written, as versions have pauses of
        /// their own.
        unit: Unit,
    },
    /// The distribution of outputs over bins; any difference is worse.
    Distribution {
        /// How many bins the histograms have.
        bins: usize,
        /// Whether the bins are classes, which have no order.
        classes: bool,
        /// How much more or less often a bin may come up: 0.1 for 10 %.
        min_effect: f64,
    },
    /// The mean of a value, such as the cost of a request.
    Mean {
        /// The difference that is accepted, in the value's unit.
        min_effect: f64,
        /// Whether large values are good.
        higher_is_better: bool,
    },
    /// The share of paired requests on which the versions disagree, such as mirrored ones.
    Limit {
        /// The share that is accepted, from 0 to below 1.
        limit: f64,
    },
    /// A verdict from outside: a query or a webhook. It has no probability of error of ours.
    External,
}

/// What happens when a check fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckAction {
    /// Traffic goes back.
    #[default]
    Abort,
    /// Traffic stays as it is until somebody decides.
    Hold,
    /// Somebody is told.
    Warn,
}

impl Check {
    /// Whether its numbers make sense.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.name.is_empty() || self.metric.is_empty() {
            return Err("it needs a name and a metric".to_owned());
        }
        if let Some(alpha) = self.alpha
            && !(alpha > 0.0 && alpha <= 0.5)
        {
            return Err(format!(
                "alpha is {alpha}, it must be above 0 and at most 0.5"
            ));
        }
        self.kind.check()
    }
}

impl CheckKind {
    fn check(&self) -> Result<(), String> {
        match self {
            Self::Share { min_effect, .. } => within("min_effect", *min_effect, 0.0, 0.999),
            Self::Quantile {
                quantile,
                growth,
                min_effect,
                ..
            } => {
                within("quantile", *quantile, 0.01, 0.9999)?;
                within("growth", *growth, 1.001, 4.0)?;
                within("min_effect", *min_effect, 0.0, 100.0)
            }
            Self::Distribution {
                bins, min_effect, ..
            } => {
                within("bins", *bins as f64, 2.0, MAX_BINS as f64)?;
                within("min_effect", *min_effect, 0.0, 100.0)
            }
            Self::Mean { min_effect, .. } => within("min_effect", *min_effect, 0.0, f64::MAX),
            Self::Limit { limit } => within("limit", *limit, 0.0, 0.999),
            Self::External => Ok(()),
        }
    }
}

fn within(key: &str, value: f64, least: f64, most: f64) -> Result<(), String> {
    if value >= least && value <= most {
        return Ok(());
    }
    Err(format!(
        "{key} is {value}, it must be from {least} to {most}"
    ))
}
