//! An inference server as one would write it in an afternoon: a struct for the body, `serde_json`
//! both ways, a pool of sessions behind locks, no batching, no limits, no deadlines, no metrics.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use ort::session::Session;
use ort::value::{TensorElementType, TensorRef, ValueType};
use serde::{Deserialize, Serialize};

use crate::listen::listen;
use crate::runtime::sessions;

#[derive(Deserialize)]
struct Request {
    inputs: Vec<Input>,
}

#[derive(Deserialize)]
struct Input {
    shape: Vec<i64>,
    data: Vec<f32>,
}

#[derive(Serialize)]
struct Answer {
    model_name: &'static str,
    model_version: &'static str,
    outputs: Vec<Output>,
}

#[derive(Serialize)]
struct Output {
    name: String,
    datatype: &'static str,
    shape: Vec<i64>,
    data: serde_json::Value,
}

struct Pool {
    sessions: Vec<Mutex<Session>>,
    next: AtomicUsize,
}

/// Serves until killed.
pub(crate) fn run(model: &Path) -> Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let sessions = sessions(model, cores, 1)?
        .into_iter()
        .map(Mutex::new)
        .collect();
    let pool = Arc::new(Pool {
        sessions,
        next: AtomicUsize::new(0),
    });
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(async move {
            let router = Router::new()
                .route("/v2/models/{model}/infer", post(infer))
                .with_state(pool);
            axum::serve(listen().await?, router).await?;
            Ok(())
        })
}

async fn infer(
    State(pool): State<Arc<Pool>>,
    Json(request): Json<Request>,
) -> Result<Json<Answer>, StatusCode> {
    let outputs = predict(&pool, request).map_err(|_| StatusCode::BAD_REQUEST)?;
    Ok(Json(Answer {
        model_name: "model",
        model_version: "1",
        outputs,
    }))
}

fn predict(pool: &Pool, request: Request) -> Result<Vec<Output>> {
    let input = request.inputs.into_iter().next().context("no input")?;
    let at = pool.next.fetch_add(1, Ordering::Relaxed) % pool.sessions.len();
    let mut session = pool.sessions[at]
        .lock()
        .map_err(|_| anyhow::anyhow!("a run panicked"))?;
    let value = TensorRef::from_array_view((input.shape, input.data.as_slice()))?;
    let outputs = session.run(ort::inputs![value])?;
    let answer = outputs.iter().map(|(name, value)| {
        let ValueType::Tensor { ty, shape, .. } = value.dtype() else {
            anyhow::bail!("no tensor")
        };
        let (datatype, data) = match ty {
            TensorElementType::Int64 => (
                "INT64",
                serde_json::to_value(value.try_extract_tensor::<i64>()?.1)?,
            ),
            TensorElementType::Float32 => (
                "FP32",
                serde_json::to_value(value.try_extract_tensor::<f32>()?.1)?,
            ),
            _ => (
                "BYTES",
                serde_json::to_value(value.try_extract_strings()?.1)?,
            ),
        };
        Ok(Output {
            name: name.to_owned(),
            datatype,
            shape: shape.to_vec(),
            data,
        })
    });
    answer.collect()
}
