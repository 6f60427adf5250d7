//! A command that wraps and unwraps data keys.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::digest::{from_hex, to_hex};
use crate::{Error, ErrorCode, Result};

const PATIENCE: Duration = Duration::from_secs(30);

/// Runs `command… action` with hexadecimal digits on its input and reads such from its output.
pub(super) async fn run(command: &[String], action: &str, bytes: &[u8]) -> Result<Vec<u8>> {
    let shown = command.first().map_or("", String::as_str);
    let fail = |problem: String| {
        Error::new(
            ErrorCode::KeyUnavailable,
            format!("key_command {shown:?} {action}: {problem}"),
        )
    };
    let mut process = Command::new(shown)
        .args(command.iter().skip(1))
        .arg(action)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| fail(error.to_string()))?;
    if let Some(mut input) = process.stdin.take() {
        // A command that does not read its input tells so by its exit status.
        let _ = input
            .write_all(format!("{}\n", to_hex(bytes)).as_bytes())
            .await;
    }
    let ended = tokio::time::timeout(PATIENCE, process.wait_with_output()).await;
    let output = ended.map_err(|_| fail(format!("it did not end within {PATIENCE:?}")))?;
    let output = output.map_err(|error| fail(error.to_string()))?;
    if !output.status.success() {
        let said: String = String::from_utf8_lossy(&output.stderr)
            .trim()
            .chars()
            .take(400)
            .collect();
        return Err(fail(format!("it ended with {}: {said}", output.status)));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let answer = from_hex(text.trim()).filter(|answer| !answer.is_empty());
    answer.ok_or_else(|| fail("it did not answer with hexadecimal digits".to_owned()))
}
