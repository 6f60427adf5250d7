//! The progress of a load, on standard error.

use std::io::{IsTerminal, Write};

use tidegate_load::Progress;

/// On a terminal one line that is overwritten, elsewhere one line after the other.
pub(super) struct Line {
    is_quiet: bool,
    is_terminal: bool,
    is_shown: bool,
    /// The run, if there are several.
    pub(super) label: String,
}

impl Line {
    pub(super) fn new(is_quiet: bool) -> Self {
        Self {
            is_quiet,
            is_terminal: std::io::stderr().is_terminal(),
            is_shown: false,
            label: String::new(),
        }
    }

    pub(super) fn show(&mut self, now: &Progress) {
        if self.is_quiet {
            return;
        }
        let phase = if now.is_warming_up { " warming up" } else { "" };
        let label = if self.label.is_empty() {
            String::new()
        } else {
            format!("{}  ", self.label)
        };
        let line = format!(
            "{label}{:.0} s{phase}  {:.0} responses/s  p50 {:.2} ms  p99 {:.2} ms  {} refused  {} errors  {} in flight",
            now.elapsed.as_secs_f64(),
            now.answers_per_s,
            now.p50.as_secs_f64() * 1e3,
            now.p99.as_secs_f64() * 1e3,
            now.refusals,
            now.errors,
            now.in_flight
        );
        let mut out = std::io::stderr().lock();
        // Standard error may be closed: then nobody reads the progress.
        let _ = if self.is_terminal {
            // Erased first, because the new line may be shorter than the old one.
            write!(out, "\r\x1b[2K{line}")
        } else {
            writeln!(out, "{line}")
        };
        let _ = out.flush();
        self.is_shown = true;
    }

    /// Removes the line, so that the report can follow.
    pub(super) fn clear(&mut self) {
        if self.is_shown && self.is_terminal {
            let mut out = std::io::stderr().lock();
            let _ = write!(out, "\r\x1b[2K");
            let _ = out.flush();
        }
        self.is_shown = false;
    }
}
