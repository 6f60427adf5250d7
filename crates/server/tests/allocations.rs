//! The budget of the single-row path: how often answering one request may take memory.
//!
//! Allocations are counted over the whole way, from the bytes on a connection to the bytes of the answer, with a client
//! that takes none. The budget is what the path takes today, so that it can only get better.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tidegate_core::EngineChoice;
use tidegate_engines::{Engines, OnnxRuntimeStatus};
use tidegate_server::{
    Alerting, AlertsConfig, ConsoleConfig, Costs, Gpus, Objectives, Observers, Server, ServerConfig, Traces,
};
use tidegate_serving::{Metrics, Models, Serving};
use tidegate_traces::TracesConfig;

/// Most allocations for one row of `digits` as JSON.
const BUDGET: u64 = 32;
const REQUESTS: u64 = 2000;

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is handed to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_row_is_answered_within_the_budget_of_allocations() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (server, address) = runtime.block_on(serve());
    let data = vec!["0.5"; 64].join(",");
    let body = format!(r#"{{"inputs":[{{"name":"image","shape":[1,64],"datatype":"FP32","data":[{data}]}}]}}"#);
    let request =
        format!("POST /v2/models/digits/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let mut client = TcpStream::connect(address).unwrap();
    ask(&mut client, request.as_bytes(), REQUESTS);
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    ask(&mut client, request.as_bytes(), REQUESTS);
    let each = (ALLOCATIONS.load(Ordering::Relaxed) - before).div_ceil(REQUESTS);
    assert!(each > 5, "{each} allocations a request: the count does not see the server");
    assert!(each <= BUDGET, "{each} allocations a request, the budget is {BUDGET}");
    drop(client);
    runtime.block_on(server.stop());
}

/// `digits` on ONNX Runtime, loaded.
async fn serve() -> (Server, SocketAddr) {
    let engines = Engines::discover(None, EngineChoice::OnnxRuntime);
    assert!(matches!(engines.onnxruntime(), OnnxRuntimeStatus::Loaded { .. }), "{:?}", engines.onnxruntime());
    let digits: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/models/digits");
    let metrics = Arc::new(Metrics::new());
    let models = Models::new(vec![digits], engines, metrics.clone());
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = ServerConfig { http: any, grpc: any, ..ServerConfig::default() };
    let observers = Observers {
        console: ConsoleConfig::default(),
        objectives: Objectives::new(Vec::new(), metrics.clone(), None, None),
        alerting: Alerting::new(&AlertsConfig::default(), metrics.clone(), None, false).unwrap(),
        costs: Costs::default(),
        traces: Traces::start(&TracesConfig::default(), &metrics).unwrap(),
        replicas: None,
        data: None,
        allocator: None,
        gpus: Gpus::default(),
    };
    let server = Server::start(config, Arc::new(Serving::new(models, metrics)), observers).await.unwrap();
    let report = server.load_all().await;
    assert_eq!(report.ready, ["digits"], "{report:?}");
    let address = server.http();
    (server, address)
}

/// Sends a request as often, each when the last is answered; takes no memory.
fn ask(client: &mut TcpStream, request: &[u8], times: u64) {
    let mut buffer = [0; 4096];
    for _ in 0..times {
        client.write_all(request).unwrap();
        let mut filled = 0;
        // The answer ends with the object that its JSON is.
        while !buffer[..filled].ends_with(b"]}]}") {
            let read = client.read(&mut buffer[filled..]).unwrap();
            assert!(read > 0, "the connection ended");
            filled += read;
        }
        assert!(buffer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&buffer[..filled]));
    }
}
