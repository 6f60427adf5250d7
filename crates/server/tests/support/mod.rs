//! A server over `digits` on ONNX Runtime, within the test's process, and requests to it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tidegate_core::EngineChoice;
use tidegate_engines::{Engines, ONNX_RUNTIME};
use tidegate_server::{Server, ServerComponents, ServerConfig};
use tidegate_serving::{MetricRegistry, Models, Serving};

/// So long may any run of `digits` take on the thread of its connection, however slow everything
/// is.
const INLINE_RUN: Duration = Duration::from_secs(10);

/// `digits`, loaded.
pub(crate) async fn serve() -> Server {
    let engines = Engines::discover(None, EngineChoice::from(ONNX_RUNTIME));
    assert!(
        !engines.lacks(ONNX_RUNTIME),
        "{:?}",
        engines.status(ONNX_RUNTIME)
    );
    let digits = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/models/digits");
    let registry = Arc::new(MetricRegistry::new());
    let models = Models::new(vec![digits], engines, &registry).with_inline_run(INLINE_RUN);
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = ServerConfig {
        http: any,
        grpc: any,
        ..ServerConfig::default()
    };
    let serving = Arc::new(Serving::new(models));
    let components = ServerComponents::minimal(config, serving, registry).unwrap();
    let server = Server::start(components).await.unwrap();
    let report = server.load_all().await;
    assert_eq!(report.ready, ["digits"], "{report:?}");
    server
}

/// A whole HTTP request with so many rows of `digits` as JSON.
pub(crate) fn json_request(rows: usize) -> Vec<u8> {
    // Sixteenths: up to four digits behind the point.
    let numbers: Vec<String> = (0..64 * rows)
        .map(|at| (f64::from(at as u32 * 7 % 17) / 16.0).to_string())
        .collect();
    let data = numbers.join(",");
    let body = format!(
        r#"{{"inputs":[{{"name":"image","shape":[{rows},64],"datatype":"FP32","data":[{data}]}}]}}"#
    );
    let head = format!(
        "POST /v2/models/digits/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head, body].concat().into_bytes()
}

/// Sends a request as often, each when the last is answered; takes no memory.
pub(crate) fn ask(client: &mut TcpStream, request: &[u8], times: u64) {
    let mut buffer = [0; 16384];
    for _ in 0..times {
        client.write_all(request).unwrap();
        let mut filled = 0;
        // The answer ends with the object that its JSON is.
        while !buffer[..filled].ends_with(b"]}]}") {
            let read = client.read(&mut buffer[filled..]).unwrap();
            assert!(read > 0, "the connection ended");
            filled += read;
        }
        assert!(
            buffer.starts_with(b"HTTP/1.1 200"),
            "{}",
            String::from_utf8_lossy(&buffer[..filled])
        );
    }
}
