//! A line about a job that runs, on a terminal.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use tidegate_batch::Progress;

const INTERVAL: Duration = Duration::from_millis(200);

/// Shows the progress of a job until it is dropped.
pub(super) struct ProgressLine {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ProgressLine {
    /// Shows nothing if standard error is no terminal: in the log of a job each update would be a line.
    pub(super) fn start(progress: Arc<Progress>) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self {
                stop: None,
                thread: None,
            };
        }
        let (stop, stopped) = channel();
        let thread = std::thread::spawn(move || {
            let began = Instant::now();
            let style = ProgressStyle::with_template("{bar:30} {percent:>3} %  {msg}");
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = ProgressBar::new(0).with_style(style);
            while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                bar.set_length(progress.rows());
                bar.set_position(progress.done_before() + progress.done());
                bar.set_message(message(&progress, began.elapsed()));
            }
            bar.finish_and_clear();
        });
        Self {
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It only shows numbers.
            let _ = thread.join();
        }
    }
}

fn message(progress: &Progress, elapsed: Duration) -> String {
    let rate = progress.done() as f64 / elapsed.as_secs_f64().max(1e-9);
    let left = progress
        .rows()
        .saturating_sub(progress.done_before() + progress.done());
    let mut message = format!("{rate:.0} rows/s");
    if rate >= 1.0 {
        message.push_str(&format!("  {} left", seconds(left as f64 / rate)));
    }
    if progress.bad() > 0 {
        message.push_str(&format!("  {} without prediction", progress.bad()));
    }
    message
}

/// A time for people, such as `2 min 5 s`.
pub(super) fn seconds(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0 => format!("{seconds:.2} s"),
        1..60 => format!("{whole} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_as_long_as_people_need() {
        let shown = [0.014, 7.4, 125.0, 7260.0].map(seconds);
        assert_eq!(shown, ["0.01 s", "7 s", "2 min 5 s", "2 h 1 min"]);
    }
}
