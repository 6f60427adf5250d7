//! Which lines the log has: what `log.level` says, and what was changed since.

use std::sync::OnceLock;

use anyhow::{Context, Result};
use tidegate_server::{LogControl, LogLevels};
use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::layer::Filter;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// The log of this process.
static LOG: OnceLock<Log> = OnceLock::new();

/// How the server changes the log of this process.
pub(crate) const CONTROL: LogControl = LogControl {
    configured: || LOG.get().map_or(LogLevels::default(), |log| log.configured),
    apply: |levels| match LOG.get() {
        Some(log) => log.apply(levels).map_err(|error| format!("{error:#}")),
        None => Err("the log was not started".to_owned()),
    },
};

struct Log {
    /// `log.level` of the configuration.
    directives: String,
    configured: LogLevels,
    handle: reload::Handle<LogFilter, Registry>,
}

type LogFilter = Box<dyn Filter<Registry> + Send + Sync>;

/// The filter of the log, which [`CONTROL`] changes.
pub(super) fn start(directives: &str) -> Result<reload::Layer<LogFilter, Registry>> {
    let filter = configured_filter(directives)?;
    let configured = levels_of(&filter);
    let (filter, handle) = reload::Layer::new(Box::new(filter) as LogFilter);
    let log = Log {
        directives: directives.to_owned(),
        configured,
        handle,
    };
    // A process has one log, which is started once.
    let _ = LOG.set(log);
    Ok(filter)
}

impl Log {
    fn apply(&self, levels: LogLevels) -> Result<()> {
        let filter = changed_filter(&self.directives, self.configured, levels)?;
        Ok(self.handle.reload(filter)?)
    }
}

fn configured_filter(directives: &str) -> Result<EnvFilter> {
    let filter = EnvFilter::try_new(directives);
    let filter = filter.with_context(|| format!("log.level is {directives:?}"))?;
    // It warns of what is wrong with a file, once or more for each: the request gets an error.
    Ok(filter.add_directive("symphonia_bundle_flac=off".parse()?))
}

/// What a filter lets through of any part.
fn levels_of(filter: &EnvFilter) -> LogLevels {
    let most = filter.max_level_hint().unwrap_or(LevelFilter::TRACE);
    LogLevels {
        error: most >= LevelFilter::ERROR,
        warning: most >= LevelFilter::WARN,
        info: most >= LevelFilter::INFO,
        verbose: u32::from(most >= LevelFilter::DEBUG) + u32::from(most >= LevelFilter::TRACE),
    }
}

/// The configured filter, with more of our own parts if that is wanted, and without the levels that
/// are not.
fn changed_filter(directives: &str, configured: LogLevels, wanted: LogLevels) -> Result<LogFilter> {
    let mut filter = configured_filter(directives)?;
    let most = most_verbose(wanted);
    if most > most_verbose(configured) {
        // Not of the libraries: their debugging lines would bury ours.
        filter = filter.add_directive(format!("tidegate={most}").parse()?);
    }
    let is_wanted = filter_fn(move |line| has_level(wanted, *line.level()));
    let is_wanted = is_wanted.with_max_level_hint(most);
    Ok(Box::new(FilterExt::<Registry>::and(filter, is_wanted)))
}

fn most_verbose(levels: LogLevels) -> LevelFilter {
    let all = [
        (levels.verbose >= 2, LevelFilter::TRACE),
        (levels.verbose >= 1, LevelFilter::DEBUG),
        (levels.info, LevelFilter::INFO),
        (levels.warning, LevelFilter::WARN),
        (levels.error, LevelFilter::ERROR),
    ];
    let wanted = all.into_iter().find(|(is_wanted, _)| *is_wanted);
    wanted.map_or(LevelFilter::OFF, |(_, level)| level)
}

fn has_level(levels: LogLevels, level: Level) -> bool {
    match level {
        Level::ERROR => levels.error,
        Level::WARN => levels.warning,
        Level::INFO => levels.info,
        Level::DEBUG => levels.verbose >= 1,
        Level::TRACE => levels.verbose >= 2,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use tracing::{debug, error, info, trace, warn};
    use tracing_subscriber::Layer;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(line)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// The lines that are logged of one of each level, by our parts and by a library.
    fn logged(directives: &str, wanted: LogLevels) -> String {
        let configured = levels_of(&configured_filter(directives).unwrap());
        let filter = changed_filter(directives, configured, wanted).unwrap();
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .without_time()
            .with_level(false)
            .with_target(false);
        let subscriber = tracing_subscriber::registry().with(layer.with_filter(filter));
        tracing::subscriber::with_default(subscriber, || {
            error!(target: "tidegate_server", "error");
            warn!(target: "tidegate_server", "warning");
            info!(target: "tidegate_server", "info");
            debug!(target: "tidegate_server", "debug");
            trace!(target: "tidegate_server", "trace");
            warn!(target: "h2", "h2-warning");
            debug!(target: "h2", "h2-debug");
        });
        let lines = lines.0.lock().unwrap();
        String::from_utf8_lossy(&lines)
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn levels_are_left_out_one_by_one_and_added_for_our_own_parts() {
        let configured = levels_of(&configured_filter("info").unwrap());
        assert_eq!(logged("info", configured), "error warning info h2-warning");
        let without = LogLevels {
            warning: false,
            ..configured
        };
        assert_eq!(logged("info", without), "error info");
        let verbose = LogLevels {
            verbose: 1,
            ..configured
        };
        assert_eq!(
            logged("info", verbose),
            "error warning info debug h2-warning"
        );
        let all = LogLevels {
            verbose: 2,
            ..configured
        };
        assert_eq!(
            logged("info", all),
            "error warning info debug trace h2-warning"
        );
        let none = LogLevels {
            error: false,
            warning: false,
            info: false,
            verbose: 0,
        };
        assert_eq!(logged("info", none), "");
        assert_eq!(logged("error", configured), "error warning info");
        let less = LogLevels {
            verbose: 0,
            ..levels_of(&configured_filter("debug").unwrap())
        };
        assert_eq!(logged("debug", less), "error warning info h2-warning");
    }

    #[test]
    fn the_levels_of_a_configuration_are_those_of_its_most_verbose_part() {
        let levels = levels_of(&configured_filter("warn,tidegate_serving=debug").unwrap());
        assert_eq!(
            (levels.warning, levels.info, levels.verbose),
            (true, true, 1)
        );
        let levels = levels_of(&configured_filter("off").unwrap());
        assert_eq!(
            levels,
            LogLevels {
                error: false,
                warning: false,
                info: false,
                verbose: 0
            }
        );
    }
}
