//! Why an artifact cannot be loaded or run.

use std::path::PathBuf;

use thiserror::Error;

/// Why an artifact cannot be served.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The manifest or the configuration names an engine that this build does not have.
    #[error("engine \"{name}\" is unknown: use {known}")]
    UnknownEngine {
        /// The name, escaped.
        name: String,
        /// The names that can be used.
        known: String,
    },
    /// The engine cannot be used on this machine.
    #[error("engine \"{engine}\" is not available: {reason}")]
    Unavailable {
        /// The engine's name.
        engine: String,
        /// Where its library was searched, or why it cannot be used.
        reason: String,
    },
    /// The kind of an input or output is not supported.
    #[error("{side} \"{name}\" {problem}")]
    Unsupported {
        /// `input` or `output`.
        side: &'static str,
        /// Its name.
        name: String,
        /// What kind it is, and what to do.
        problem: String,
    },
    /// The engine refuses the artifact.
    #[error("the {engine} engine cannot load the model: {message}")]
    Engine {
        /// The engine's name.
        engine: &'static str,
        /// The engine's own message.
        message: String,
    },
}

/// Why a batch has no outputs.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RunError {
    /// The engine cannot take these values.
    #[error("input \"{name}\" {problem}")]
    Input {
        /// The input.
        name: String,
        /// What is wrong with its values.
        problem: String,
    },
    /// The engine failed.
    #[error("the model failed: {0}")]
    Engine(String),
    /// Another server has no answer.
    #[error("{message}")]
    Upstream {
        /// What kind of failure it is.
        failure: UpstreamFailure,
        /// What was wrong, and with which server.
        message: String,
        /// Whether a server has run the request, or may have.
        has_run: bool,
    },
}

/// Why another server that runs a version has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamFailure {
    /// It cannot be reached, is not ready, or is not asked because it would fail.
    Unavailable,
    /// It did not answer in time.
    TimedOut,
    /// Its answer cannot be read, or is not what the signature says.
    Invalid,
    /// It failed.
    Failed,
    /// It refuses these inputs.
    Rejected,
    /// Too many requests are under way.
    Overloaded,
}

impl RunError {
    /// The input `name` cannot be used: it `problem`.
    pub(crate) fn input(name: &str, problem: impl Into<String>) -> Self {
        Self::Input {
            name: name.to_owned(),
            problem: problem.into(),
        }
    }

    /// An output of the engine cannot be read.
    pub(crate) fn unreadable_output(error: impl std::fmt::Display) -> Self {
        Self::Engine(format!("an output cannot be read: {error}"))
    }
}
