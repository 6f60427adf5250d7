//! How long, why and by whom: for silences, and for rollouts that go on without error budget.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::period;
use crate::environment::actor;

#[derive(Debug, Args)]
pub(crate) struct TemporaryOverride {
    /// For how long: 30s, 15m, 2h, 1d
    #[arg(long = "for", value_name = "TIME", value_parser = period)]
    duration: Duration,
    /// The reason
    #[arg(long)]
    comment: String,
    /// Your name [default: USER@HOST]
    #[arg(long)]
    author: Option<String>,
}

impl TemporaryOverride {
    /// The body of the request.
    pub(crate) fn body(&self) -> Value {
        let author = self.author.clone().unwrap_or_else(actor);
        json!({"duration_s": self.duration.as_secs(), "author": author, "comment": self.comment})
    }
}
