//! The log on standard error.

use std::io::IsTerminal;

use anyhow::{Context, Result};
use tracing_subscriber::EnvFilter;

use crate::config::{LogConfig, LogFormat};

/// Starts logging to standard error.
pub(crate) fn start(config: &LogConfig) -> Result<()> {
    let filter = EnvFilter::try_new(&config.level)
        .with_context(|| format!("log.level is {:?}", config.level))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // Standard output is for the results of commands.
        .with_writer(std::io::stderr);
    match config.format {
        // Colours are escape sequences: in a file they only get in the way.
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).init(),
        // Flat: `model` and not `fields.model`, so that every field has a short name in queries.
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
}

/// Logs warnings and errors alone, for commands whose output is something else.
pub(crate) fn start_with_warnings() -> Result<()> {
    start(&LogConfig {
        level: "warn".to_owned(),
        ..LogConfig::default()
    })
}
