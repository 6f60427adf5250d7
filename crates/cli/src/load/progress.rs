//! How a load is getting on, on standard error.

use std::io::{IsTerminal, Write};

use tidegate_load::Progress;

/// One line that is written over in a terminal, and one line after the other elsewhere.
pub(super) struct Line {
    is_quiet: bool,
    is_terminal: bool,
    is_shown: bool,
    /// What the progress is of, such as one of several runs.
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
            "{label}{:.0} s{phase}  {:.0} answers/s  p50 {:.2} ms  p99 {:.2} ms  {} refused  {} errors  {} under way",
            now.elapsed.as_secs_f64(),
            now.answers_per_s,
            now.p50.as_secs_f64() * 1e3,
            now.p99.as_secs_f64() * 1e3,
            now.refusals,
            now.errors,
            now.in_flight
        );
        let mut out = std::io::stderr().lock();
        // Whoever closed standard error does not want to know.
        let _ = if self.is_terminal {
            write!(out, "\r\x1b[2K{line}")
        } else {
            writeln!(out, "{line}")
        };
        let _ = out.flush();
        self.is_shown = true;
    }

    /// Makes room for what comes next.
    pub(super) fn clear(&mut self) {
        if self.is_shown && self.is_terminal {
            let mut out = std::io::stderr().lock();
            let _ = write!(out, "\r\x1b[2K");
            let _ = out.flush();
        }
        self.is_shown = false;
    }
}
