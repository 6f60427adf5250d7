//! Why a load test could not begin.

use thiserror::Error;

/// What stops a load test before its first request. Failures of requests are no errors here: they
/// are counted.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum LoadError {
    #[error("{given:?} is no address to send to: {problem}")]
    Address { given: String, problem: String },
    #[error("cannot connect to {address}: {error}: is the server running?")]
    Connect {
        address: String,
        error: std::io::Error,
    },
    #[error("the server does not say what model \"{model}\" takes: {problem}")]
    Metadata { model: String, problem: String },
    #[error("model \"{model}\": {problem}")]
    Inputs { model: String, problem: String },
    #[error("{given:?} is no objective: {problem}")]
    Objective { given: String, problem: String },
    #[error("timestamp {at}: {problem}")]
    Replay { at: usize, problem: String },
    #[error("cannot start the load generator: {0}")]
    Start(#[from] std::io::Error),
}
