//! The section `[capture]`.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidegate_quality::drift::DriftPolicy;
use tidegate_serving::Capture;

/// Which predictions are captured, and what is watched on them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CaptureConfig {
    /// The endpoints that are captured, each in a section `[[capture.endpoint]]`. None by default.
    pub endpoint: Vec<CapturedEndpoint>,
    /// The folder of the files; `captures` in the data folder by default.
    pub folder: Option<PathBuf>,
    /// The database of labels; that of the registry by default.
    pub database: Option<String>,
    /// How often captured predictions are written, in seconds. What was not written is lost if the
    /// process is killed.
    pub flush_s: u64,
    /// What captured predictions may take of the memory until they are written, in bytes.
    pub max_held_bytes: usize,
    /// What the files may take together, in bytes: the earliest hours are removed.
    pub max_disk_bytes: u64,
    /// How long predictions and their labels are kept, in days.
    pub retention_days: u64,
    /// The time over which the metrics of accuracy are, in hours.
    pub accuracy_window_h: u64,
    /// The labelled predictions that estimates of the accuracy without labels are calibrated on: the
    /// earliest ones of each version.
    pub estimate_labels: u64,
    /// How long each window is that is held against the baseline of its version, in seconds.
    pub drift_window_s: u64,
    /// When a column counts as drifted.
    pub drift: DriftPolicy,
}

/// An endpoint that is captured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CapturedEndpoint {
    /// Its name; `*` is every endpoint without a section of its own.
    pub name: String,
    /// The share of its requests that is captured, from 0 to 1.
    #[serde(default = "all")]
    pub rate: f64,
}

/// A configuration of captures that is not valid.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum CaptureConfigError {
    #[error("capture.endpoint needs a name")]
    NoName,
    #[error("capture.endpoint {0:?} is there twice")]
    Twice(String),
    #[error("capture.endpoint {endpoint:?}: rate is {rate}, it must be from 0 to 1")]
    Rate { endpoint: String, rate: f64 },
    #[error("capture.{key} is {value}, it must be from {least} to {most}")]
    Range {
        key: &'static str,
        value: u64,
        least: u64,
        most: u64,
    },
    #[error("capture.drift.{key} is {value}, it must be {wanted}")]
    Drift {
        key: &'static str,
        value: f64,
        wanted: &'static str,
    },
    #[error("capture.endpoint: captured predictions need a folder: set data_dir or capture.folder")]
    NoFolder,
    #[error("capture.folder: {0}")]
    Folder(String),
    #[error("the thread that writes captured predictions cannot be started: {0}")]
    NoThread(String),
}

const DAY_S: u64 = 24 * 3600;

fn all() -> f64 {
    1.0
}

impl Default for CaptureConfig {
    fn default() -> Self {
        Self {
            endpoint: Vec::new(),
            folder: None,
            database: None,
            flush_s: 30,
            max_held_bytes: 64 << 20,
            max_disk_bytes: 10 << 30,
            retention_days: 30,
            accuracy_window_h: 24,
            estimate_labels: 1000,
            drift_window_s: 3600,
            drift: DriftPolicy::default(),
        }
    }
}

impl CaptureConfig {
    /// What the request path captures; `None` if that is nothing.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn capture(&self) -> Result<Option<Arc<Capture>>, CaptureConfigError> {
        self.check()?;
        let mut rates = HashMap::new();
        for CapturedEndpoint { name, rate } in &self.endpoint {
            if name.is_empty() {
                return Err(CaptureConfigError::NoName);
            }
            if !(0.0..=1.0).contains(rate) {
                let (endpoint, rate) = (name.clone(), *rate);
                return Err(CaptureConfigError::Rate { endpoint, rate });
            }
            if rates.insert(name.clone(), *rate).is_some() {
                return Err(CaptureConfigError::Twice(name.clone()));
            }
        }
        let capture = || Arc::new(Capture::new(rates, self.max_held_bytes));
        Ok((!self.endpoint.is_empty()).then(capture))
    }

    fn check(&self) -> Result<(), CaptureConfigError> {
        for (key, value, least, most) in [
            ("flush_s", self.flush_s, 1, 3600),
            ("retention_days", self.retention_days, 1, 3650),
            ("accuracy_window_h", self.accuracy_window_h, 1, 24 * 90),
            ("estimate_labels", self.estimate_labels, 100, 100_000),
            ("drift_window_s", self.drift_window_s, 1, 30 * DAY_S),
        ] {
            if value < least || value > most {
                return Err(CaptureConfigError::Range {
                    key,
                    value,
                    least,
                    most,
                });
            }
        }
        let rate = self.drift.false_alarm_rate;
        if !(rate > 0.0 && rate < 1.0) {
            return Err(CaptureConfigError::Drift {
                key: "false_alarm_rate",
                value: rate,
                wanted: "above 0 and below 1",
            });
        }
        let effect = self.drift.least_effect;
        if !(0.0..=1.0).contains(&effect) {
            return Err(CaptureConfigError::Drift {
                key: "least_effect",
                value: effect,
                wanted: "from 0 to 1",
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captured(name: &str, rate: f64) -> CaptureConfig {
        let name = name.to_owned();
        CaptureConfig {
            endpoint: vec![CapturedEndpoint { name, rate }],
            ..CaptureConfig::default()
        }
    }

    #[test]
    fn nothing_is_captured_by_default() {
        assert!(CaptureConfig::default().capture().unwrap().is_none());
        let capture = captured("fraud", 0.5).capture().unwrap().unwrap();
        assert_eq!(
            (capture.rate("fraud"), capture.rate("x")),
            (Some(0.5), None)
        );
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let problem = |config: CaptureConfig| config.capture().unwrap_err().to_string();
        assert!(problem(captured("fraud", 1.5)).contains("rate is 1.5"));
        assert!(problem(captured("", 1.0)).contains("needs a name"));
        let twice = [captured("a", 1.0), captured("a", 0.5)];
        let twice = CaptureConfig {
            endpoint: twice.into_iter().flat_map(|one| one.endpoint).collect(),
            ..CaptureConfig::default()
        };
        assert!(problem(twice).contains("twice"));
        let never = CaptureConfig {
            flush_s: 0,
            ..captured("a", 1.0)
        };
        assert!(problem(never).contains("capture.flush_s is 0"));
    }
}
