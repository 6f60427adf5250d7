//! Notices: settings of an objective that are valid, but may not be what its author expects.

use std::fmt;

use crate::alerts::BURN_ALERTS;
use crate::sli::Sli;
use crate::slo::Slo;

/// Something that the author of an objective should know.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// The threshold is not a bucket boundary of the histogram.
    ThresholdMoved {
        /// The threshold as written, in milliseconds.
        written_ms: f64,
        /// The boundary that is measured, in milliseconds.
        used_ms: f64,
    },
    /// The target is so low that an alert cannot fire.
    NeverFires {
        /// The alert's windows.
        alert: &'static str,
        /// The burn rate above which it would fire.
        factor: f64,
        /// The burn rate when every request fails.
        max_rate: f64,
    },
}

impl Slo {
    /// What the author of the objective should know.
    pub fn notices(&self) -> Vec<Notice> {
        let mut notices = Vec::new();
        notices.extend(self.moved_threshold());
        // An error rate of 1 is the worst there is, so this is the highest burn rate.
        let max_rate = 1.0 / self.error_budget();
        for alert in BURN_ALERTS.iter().filter(|alert| max_rate <= alert.factor) {
            notices.push(Notice::NeverFires {
                alert: alert.id,
                factor: alert.factor,
                max_rate,
            });
        }
        notices
    }

    fn moved_threshold(&self) -> Option<Notice> {
        let Sli::Latency(bound) = self.sli() else {
            return None;
        };
        let written_ms = self.objective().threshold_ms?;
        let used_ms = bound.ms();
        (used_ms != written_ms).then_some(Notice::ThresholdMoved {
            written_ms,
            used_ms,
        })
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ThresholdMoved {
                written_ms,
                used_ms,
            } => write!(
                f,
                "{written_ms} ms is not a histogram boundary; {used_ms} ms is measured"
            ),
            Self::NeverFires {
                alert,
                factor,
                max_rate,
            } => write!(
                f,
                "the alert {alert} never fires: it needs a burn rate above {factor}, and with this target the rate is at \
                 most {max_rate:.1}"
            ),
        }
    }
}
