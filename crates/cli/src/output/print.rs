//! The one way to standard output and standard error: no command writes to them itself, which the
//! lints `print_stdout` and `print_stderr` of the crate see to.
//!
//! Nothing that is printed here moves the cursor of a terminal. A closed pipe ends no command: what
//! it still prints is dropped, so that `tidegate push FOLDER | head -1` pushes everything. Any other
//! failure to write is reported when the command ends.

use std::fmt::Arguments;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};
use std::process::ExitCode;
use std::sync::OnceLock;

use serde::Serialize;

use super::escape::{printable, printable_json, printable_lines};

/// Prints a line to standard output. Line ends in its arguments are escaped.
macro_rules! print_line {
    ($($argument:tt)*) => {
        $crate::output::line(format_args!($($argument)*))
    };
}

/// Prints a line to standard error. Line ends in its arguments are escaped.
macro_rules! eprint_line {
    ($($argument:tt)*) => {
        $crate::output::error_line(format_args!($($argument)*))
    };
}

pub(crate) use {eprint_line, print_line};

/// Why standard output takes no more.
static STDOUT_ERROR: OnceLock<io::Error> = OnceLock::new();

pub(crate) fn line(arguments: Arguments<'_>) {
    write_stdout(&format!("{}\n", printable(&arguments.to_string())));
}

pub(crate) fn error_line(arguments: Arguments<'_>) {
    write_stderr(&format!("{}\n", printable(&arguments.to_string())));
}

/// Prints text of several lines. Text from elsewhere within it must be [`printable`] already, or
/// it could begin a line.
pub(crate) fn print_text(text: &str) {
    write_stdout(&printable_lines(text));
}

/// The same on standard error.
pub(crate) fn eprint_text(text: &str) {
    write_stderr(&printable_lines(text));
}

/// Prints a value as JSON, over several lines.
pub(crate) fn print_json(value: &impl Serialize) -> serde_json::Result<()> {
    print_json_text(&serde_json::to_string_pretty(value)?);
    Ok(())
}

/// Prints JSON that is text already.
pub(crate) fn print_json_text(text: &str) {
    write_stdout(&format!("{}\n", printable_json(text.trim_end())));
}

/// Prints data that programs read; see [`DataOutput`].
pub(crate) fn print_data(text: &str) {
    let mut out = DataOutput::new();
    // Recorded by the output itself.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Whether the reader of standard output has gone.
pub(crate) fn is_closed() -> bool {
    STDOUT_ERROR.get().is_some_and(is_reader_gone)
}

/// A closed pipe, or a terminal that hung up.
fn is_reader_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
        || error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

/// What standard output could not take, as the exit status of a command that else has `status`.
pub(crate) fn finish(status: ExitCode) -> ExitCode {
    let _ = recorded(io::stdout().flush());
    match STDOUT_ERROR.get() {
        Some(error) if !is_reader_gone(error) => {
            eprint_line!("error: cannot write to standard output: {error}");
            ExitCode::FAILURE
        }
        _ => status,
    }
}

fn write_stdout(text: &str) {
    if STDOUT_ERROR.get().is_none() {
        let _ = recorded(io::stdout().write_all(text.as_bytes()));
    }
}

/// Errors are ignored: there is no other place to report them.
fn write_stderr(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Standard output for data that programs read. It reaches a file or a pipe as it is; on a terminal
/// control characters are escaped. Its writes fail once the reader has gone.
pub(crate) struct DataOutput {
    stdout: BufWriter<StdoutLock<'static>>,
    is_terminal: bool,
}

impl DataOutput {
    pub(crate) fn new() -> Self {
        let stdout = io::stdout();
        Self {
            is_terminal: stdout.is_terminal(),
            stdout: BufWriter::new(stdout.lock()),
        }
    }

    /// A cell of a table of values, whose line ends would begin a line of a terminal.
    pub(crate) fn cell(&self, text: String) -> String {
        match self.is_terminal {
            true => printable(&text),
            false => text,
        }
    }

    fn pass_on(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.is_terminal {
            return self.stdout.write_all(bytes);
        }
        let text = String::from_utf8_lossy(bytes);
        self.stdout.write_all(printable_lines(&text).as_bytes())
    }
}

impl Write for DataOutput {
    /// `bytes` are whole characters: on a terminal, others are shown as unknown ones.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        recorded(self.pass_on(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        recorded(self.stdout.flush())
    }
}

/// The same error, which the end of the command reports.
fn recorded(written: io::Result<()>) -> io::Result<()> {
    written.inspect_err(|error| {
        let copy = match error.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::from(error.kind()),
        };
        // The first error is the reason; later ones only follow from it.
        let _ = STDOUT_ERROR.set(copy);
    })
}
