//! A command that wraps and unwraps data keys.

use std::fmt::Display;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::digest::{from_hex, to_hex};
use crate::{Error, ErrorCode, Result};

// Long enough for a key service over the network; a push or a load waits for it.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Runs `command… action` with hexadecimal digits on its input, and reads hexadecimal digits from
/// its output.
pub(super) async fn run(command: &[String], action: &str, bytes: &[u8]) -> Result<Vec<u8>> {
    let shown = command.first().map_or("", String::as_str);
    let mut process = Command::new(shown)
        .args(command.iter().skip(1))
        .arg(action)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // After a timeout, the command must not stay behind with a key on its input.
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(shown, action, &error))?;
    if let Some(mut input) = process.stdin.take() {
        // A command that does not read its input says so by its exit status.
        let _ = input
            .write_all(format!("{}\n", to_hex(bytes)).as_bytes())
            .await;
    }
    let ended = tokio::time::timeout(TIMEOUT, process.wait_with_output()).await;
    let output = ended.map_err(|_| {
        let problem = format!("it did not end within {TIMEOUT:?}");
        failed(shown, action, &problem)
    })?;
    let output = output.map_err(|error| failed(shown, action, &error))?;
    if !output.status.success() {
        let said: String = String::from_utf8_lossy(&output.stderr)
            .trim()
            .chars()
            .take(400)
            .collect();
        let problem = format!("it ended with {}: {said}", output.status);
        return Err(failed(shown, action, &problem));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let answer = from_hex(text.trim()).filter(|answer| !answer.is_empty());
    answer.ok_or_else(|| failed(shown, action, &"it did not answer with hexadecimal digits"))
}

fn failed(command: &str, action: &str, problem: &dyn Display) -> Error {
    Error::new(
        ErrorCode::KeyUnavailable,
        format!("key_command {command:?} {action}: {problem}"),
    )
}
