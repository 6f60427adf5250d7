//! The names of the columns of captured predictions that say what a row is.

pub(crate) const PREDICTION_ID: &str = "prediction_id";
pub(crate) const ROW: &str = "row";
pub(crate) const TIME: &str = "time";
pub(crate) const TENANT: &str = "tenant";
pub(crate) const OUTCOME: &str = "outcome";
/// The outcome of a request that did not fail.
pub(crate) const ANSWERED: &str = "answered";
pub(crate) const LATENCY_US: &str = "latency_us";
/// Only of requests of users who take part in an experiment, as the next two.
pub(crate) const EXPERIMENT: &str = "experiment";
pub(crate) const ARM: &str = "arm";
pub(crate) const USER: &str = "user";

/// What an experiment is measured by.
pub(crate) const OF_EXPERIMENTS: [&str; 9] = [
    PREDICTION_ID,
    ROW,
    TIME,
    TENANT,
    OUTCOME,
    LATENCY_US,
    EXPERIMENT,
    ARM,
    USER,
];
