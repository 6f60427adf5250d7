//! Work that must not run on the threads that serve connections.

use tidegate_serving::{ErrorCode, InferError};
use tokio::sync::Semaphore;

/// Pages that are written at once. Each reads the statistics of every model and holds memory; more
/// at once would only take turns.
static PAGES: Semaphore = Semaphore::const_new(4);

/// Runs the writing of a page, or of all metrics, when there is a place for it.
///
/// # Errors
/// [`ErrorCode::Internal`] if it panicked.
pub(crate) async fn run_page<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, InferError> {
    run_in_place(&PAGES, work).await
}

/// Runs work as [`run_blocking`] does, once one of these places is free. The place is free again when
/// the work has ended, even if nobody waits for it any more: it cannot be stopped.
///
/// # Errors
/// [`ErrorCode::Internal`] if it panicked.
pub(crate) async fn run_in_place<T: Send + 'static>(
    places: &'static Semaphore,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, InferError> {
    let place = places.acquire().await;
    run_blocking(move || {
        let done = work();
        drop(place);
        done
    })
    .await
}

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

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures_util::FutureExt;

    use super::*;

    static ONE: Semaphore = Semaphore::const_new(1);

    #[tokio::test]
    async fn work_keeps_its_place_when_nobody_waits_for_it() {
        let (release, released) = mpsc::channel::<()>();
        let mut work = Box::pin(run_in_place(&ONE, move || released.recv().is_ok()));
        assert!(work.as_mut().now_or_never().is_none());
        drop(work);
        assert_eq!(ONE.available_permits(), 0);
        release.send(()).unwrap();
        drop(ONE.acquire().await.unwrap());
    }
}
