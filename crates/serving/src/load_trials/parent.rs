//! A child as its parent sees it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;

use super::{CHILD_COMMAND, TrialAnswer, TrialRequest};

/// Of what a child writes to standard error, the end is kept: so many bytes.
const WORDS_BYTES: usize = 4096;

/// A process that tries versions, one after the other.
pub(super) struct TrialChild {
    process: Child,
    stdin: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// Reads standard error to its end.
    words: Option<JoinHandle<Vec<u8>>>,
}

impl TrialChild {
    pub(super) fn start() -> io::Result<Self> {
        let mut process = Command::new(program()?)
            .arg(CHILD_COMMAND)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let stdin = process.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let stdout = process.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let stderr = process.stderr.take().ok_or(io::ErrorKind::BrokenPipe)?;
        // On a thread of its own: a child whose pipe is full would wait for ever.
        let words = std::thread::spawn(move || last_bytes(stderr));
        Ok(Self {
            process,
            stdin,
            answers: BufReader::new(stdout),
            words: Some(words),
        })
    }

    /// Asks for one version. `None` if the child ended without an answer.
    pub(super) fn ask(&mut self, request: &TrialRequest) -> Option<TrialAnswer> {
        let mut line = serde_json::to_vec(request).ok()?;
        line.push(b'\n');
        self.stdin.write_all(&line).ok()?;
        self.stdin.flush().ok()?;
        loop {
            let mut line = Vec::new();
            if self.answers.read_until(b'\n', &mut line).ok()? == 0 {
                return None;
            }
            // A library may print lines of its own.
            if let Ok(answer) = serde_json::from_slice(&line) {
                return Some(answer);
            }
        }
    }

    /// How the child ended, and its last words.
    pub(super) fn ending(mut self) -> String {
        let status = self.process.wait();
        let status = status.map_or_else(|error| error.to_string(), status_text);
        let words = self.words.take().and_then(|words| words.join().ok());
        format!("ended by {status}{}", last_line(&words.unwrap_or_default()))
    }
}

impl Drop for TrialChild {
    fn drop(&mut self) {
        // It has ended, or waits for more: nothing is lost.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// This program, also after its file was replaced.
fn program() -> io::Result<PathBuf> {
    let own = PathBuf::from("/proc/self/exe");
    if own.exists() {
        return Ok(own);
    }
    std::env::current_exe()
}

fn last_bytes(mut stderr: impl Read) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut buffer = [0; WORDS_BYTES];
    while let Ok(read @ 1..) = stderr.read(&mut buffer) {
        kept.extend_from_slice(&buffer[..read]);
        let surplus = kept.len().saturating_sub(WORDS_BYTES);
        kept.drain(..surplus);
    }
    kept
}

fn status_text(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(libc::SIGABRT), _) => "signal 6 (abort)".to_owned(),
        (Some(libc::SIGKILL), _) => "signal 9 (kill, as when memory is short)".to_owned(),
        (Some(libc::SIGSEGV), _) => "signal 11 (invalid memory)".to_owned(),
        (Some(signal), _) => format!("signal {signal}"),
        (None, code) => format!("status {}", code.unwrap_or_default()),
    }
}

/// The last line, shortened and escaped, behind a colon.
fn last_line(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let line = text.lines().rev().find(|line| !line.trim().is_empty());
    match line {
        None => String::new(),
        Some(line) => {
            let line: String = line.trim().chars().take(300).collect();
            format!(": {}", line.escape_debug())
        }
    }
}
