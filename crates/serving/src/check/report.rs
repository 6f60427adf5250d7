//! The results of checking a bundle.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// The results of all checks of a bundle, in the order in which they ran.
///
/// ```
/// use tidegate_serving::{CheckOutcome, CheckReport};
///
/// let mut report = CheckReport::new("fraud");
/// let sum = report.run("addition", || Ok::<_, String>(1 + 1));
/// assert!(report.passed() && sum == Some(2));
/// report.run("division", || Err::<(), _>("by zero".to_owned()));
/// assert_eq!(report.cases[1].outcome, CheckOutcome::Failed("by zero".to_owned()));
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CheckReport {
    /// The model's name.
    pub model: String,
    /// Each check.
    pub cases: Vec<CheckCase>,
}

/// One check.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CheckCase {
    /// What was checked, such as `golden sample golden.json`.
    pub name: String,
    /// The result.
    pub outcome: CheckOutcome,
    /// How long it took.
    pub took: Duration,
}

/// The result of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CheckOutcome {
    /// It passed.
    Passed,
    /// It failed, with the reason.
    Failed(String),
    /// There was nothing to check, with the reason.
    Skipped(String),
}

impl CheckCase {
    /// What failed and why, if it did.
    pub(super) fn failure(self) -> Option<String> {
        match self.outcome {
            CheckOutcome::Failed(why) => Some(format!("{}: {why}", self.name)),
            CheckOutcome::Passed | CheckOutcome::Skipped(_) => None,
        }
    }
}

impl CheckReport {
    /// A report of a model without any checks yet.
    pub fn new(model: &str) -> Self {
        Self {
            model: model.to_owned(),
            cases: Vec::new(),
        }
    }

    /// Whether no check failed.
    pub fn passed(&self) -> bool {
        let mut outcomes = self.cases.iter().map(|case| &case.outcome);
        !outcomes.any(|outcome| matches!(outcome, CheckOutcome::Failed(_)))
    }

    /// Runs one more check. An error is a failure.
    pub fn run<T>(
        &mut self,
        name: impl Into<String>,
        check: impl FnOnce() -> Result<T, String>,
    ) -> Option<T> {
        let started = Instant::now();
        let (outcome, value) = match check() {
            Ok(value) => (CheckOutcome::Passed, Some(value)),
            Err(problem) => (CheckOutcome::Failed(problem), None),
        };
        self.cases.push(CheckCase {
            name: name.into(),
            outcome,
            took: started.elapsed(),
        });
        value
    }

    pub(super) fn skip(&mut self, name: &str, why: &str) {
        self.cases.push(CheckCase {
            name: name.to_owned(),
            outcome: CheckOutcome::Skipped(why.to_owned()),
            took: Duration::ZERO,
        });
    }
}
