//! The log on standard error.

mod levels;

use std::borrow::Cow;
use std::io::{self, IsTerminal, Stderr, Write};
use std::sync::Arc;

use anyhow::Result;
use tidegate_redaction::Redactor;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

pub(crate) use self::levels::CONTROL;
use crate::config::{LogConfig, LogFormat};

/// Starts logging to standard error, without what the redactor finds.
pub(crate) fn start(config: &LogConfig, redactor: Redactor) -> Result<()> {
    let redactor = Arc::new(redactor);
    let filter = levels::start(&config.level)?;
    let format = config.format;
    let lines = tracing_subscriber::fmt::layer::<Registry>()
        // Standard output is for the results of commands.
        .with_writer(move || RedactedLog {
            redactor: redactor.clone(),
            format,
            out: io::stderr(),
        });
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match config.format {
        // Colours are escape sequences: in a file they only get in the way.
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
        // Flat: `model` and not `fields.model`, so that every field has a short name in queries.
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let subscriber = tracing_subscriber::registry();
    subscriber.with(lines.with_filter(filter)).init();
    Ok(())
}

/// Logs warnings and errors alone, for commands whose output is something else.
pub(crate) fn start_with_warnings() -> Result<()> {
    let config = LogConfig {
        level: "warn".to_owned(),
        ..LogConfig::default()
    };
    start(&config, Redactor::default())
}

/// The log, behind the redactor: whatever wrote a line, it passes here.
struct RedactedLog<W = Stderr> {
    redactor: Arc<Redactor>,
    format: LogFormat,
    out: W,
}

impl<W: Write> Write for RedactedLog<W> {
    /// Takes a whole line: `tracing_subscriber` writes each event at once.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let redacted = match self.format {
            LogFormat::Json => redacted_json(&self.redactor, &text),
            LogFormat::Text => self.redactor.text(&text),
        };
        self.out.write_all(redacted.as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn redacted_json<'a>(redactor: &Redactor, line: &'a str) -> Cow<'a, str> {
    let Ok(mut event) = serde_json::from_str(line) else {
        return redactor.text(line);
    };
    redactor.json(&mut event);
    Cow::Owned(format!("{event}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logged(format: LogFormat, line: &str) -> String {
        let mut log = RedactedLog {
            redactor: Arc::default(),
            format,
            out: Vec::new(),
        };
        log.write_all(line.as_bytes()).unwrap();
        String::from_utf8(log.out).unwrap()
    }

    #[test]
    fn a_line_is_logged_without_secrets() {
        let line = "INFO no user id=\"ada@example.org\" password=\"x\" model=fraud\n";
        let expected = "INFO no user id=\"[redacted]\" password=\"[redacted]\" model=fraud\n";
        assert_eq!(logged(LogFormat::Text, line), expected);
    }

    #[test]
    fn a_line_of_json_stays_json() {
        let line = "{\"card\":4111111111111111,\"took_ms\":12,\"token\":\"a\\\"b\"}\n";
        let expected = "{\"card\":\"[redacted]\",\"took_ms\":12,\"token\":\"[redacted]\"}\n";
        assert_eq!(logged(LogFormat::Json, line), expected);
    }
}
