//! Errors that stop a load test before it begins.

use thiserror::Error;

/// Why a load test did not begin. Failed requests are not errors here: they are counted.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum LoadError {
    #[error("{given:?} is not a server address: {problem}")]
    Address { given: String, problem: String },
    #[error("cannot connect to {address}: {error}: is the server running?")]
    Connect {
        address: String,
        error: std::io::Error,
    },
    #[error("cannot get the signature of model \"{model}\": {problem}")]
    Metadata { model: String, problem: String },
    #[error("model \"{model}\": {problem}")]
    Inputs { model: String, problem: String },
    #[error("{given:?} is not an objective: {problem}")]
    Objective { given: String, problem: String },
    #[error("timestamp {at}: {problem}")]
    Replay { at: usize, problem: String },
    #[error("cannot start the load generator: {0}")]
    Start(#[from] std::io::Error),
}
