//! A server over `digits` on ONNX Runtime, within the test's process, and requests to it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tidegate_core::EngineChoice;
use tidegate_engines::{Engines, OnnxRuntimeStatus};
use tidegate_server::{Observers, Server, ServerConfig};
use tidegate_serving::{Metrics, Models, Serving};

/// So long may any run of `digits` take on the thread of its connection, however slow everything is.
const INLINE_RUN: Duration = Duration::from_secs(10);

/// `digits`, loaded.
pub(crate) async fn serve() -> Server {
    let engines = Engines::discover(None, EngineChoice::OnnxRuntime);
    assert!(matches!(engines.onnxruntime(), OnnxRuntimeStatus::Loaded { .. }), "{:?}", engines.onnxruntime());
    let digits = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/models/digits");
    let metrics = Arc::new(Metrics::new());
    let models = Models::new(vec![digits], engines, metrics.clone()).with_inline_run(INLINE_RUN);
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = ServerConfig { http: any, grpc: any, ..ServerConfig::default() };
    let observers = Observers::fewest(&metrics).unwrap();
    let server = Server::start(config, Arc::new(Serving::new(models, metrics)), observers).await.unwrap();
    let report = server.load_all().await;
    assert_eq!(report.ready, ["digits"], "{report:?}");
    server
}

/// A whole HTTP request with so many rows of `digits` as JSON.
pub(crate) fn json_request(rows: usize) -> Vec<u8> {
    // Sixteenths: up to four digits behind the point.
    let numbers: Vec<String> = (0..64 * rows).map(|at| (f64::from(at as u32 * 7 % 17) / 16.0).to_string()).collect();
    let data = numbers.join(",");
    let body = format!(r#"{{"inputs":[{{"name":"image","shape":[{rows},64],"datatype":"FP32","data":[{data}]}}]}}"#);
    let head = format!("POST /v2/models/digits/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
    [head, body].concat().into_bytes()
}
