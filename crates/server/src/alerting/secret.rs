//! Reads secrets without holding up other tasks.

use tidegate_redaction::{Secret, SecretSource};

/// The secret of a source.
pub(crate) async fn read(source: &SecretSource) -> Result<Secret, String> {
    let source = source.clone();
    let read = tokio::task::spawn_blocking(move || source.read()).await;
    read.unwrap_or_else(|problem| Err(problem.to_string()))
}
