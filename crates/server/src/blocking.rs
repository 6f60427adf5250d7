//! Work that must not run on the threads that serve connections.

use tidegate_serving::{ErrorCode, InferError};

/// Runs something that reads files or takes longer than a request, on a thread for such work.
///
/// # Errors
/// [`ErrorCode::Internal`] if it panicked.
pub(crate) async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, InferError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| InferError::new(ErrorCode::Internal, error.to_string()))
}
