//! The least that an HTTP server can do for a request: read its body and answer one of the right
//! size.

use std::path::Path;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::post;
use bytes::Bytes;

use crate::listen::listen;

/// Serves until killed.
pub(crate) fn run(answer: &Path, content_type: &str) -> anyhow::Result<()> {
    let answer = Bytes::from(std::fs::read(answer)?);
    let content_type = content_type.to_owned();
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(async move {
            let router = Router::new()
                .route("/v2/models/{model}/infer", post(echo))
                .with_state((answer, content_type));
            axum::serve(listen().await?, router).await?;
            Ok(())
        })
}

async fn echo(
    State((answer, content_type)): State<(Bytes, String)>,
    body: Bytes,
) -> impl IntoResponse {
    // Read whole, and not optimized away.
    std::hint::black_box(body);
    ([(header::CONTENT_TYPE, content_type)], answer)
}
