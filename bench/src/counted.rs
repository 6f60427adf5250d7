//! Tidegate in a process whose instructions are counted: `cargo xtask bench instructions` runs it
//! under callgrind.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use tidegate_core::EngineChoice;
use tidegate_engines::{Engines, ONNX_RUNTIME};
use tidegate_server::{Server, ServerComponents, ServerConfig};
use tidegate_serving::{MetricRegistry, Models, Serving};

use crate::callgrind;

/// Everything is some fifty times slower than it would be: runs must stay where they would be else.
const INLINE_RUN: Duration = Duration::from_secs(10);

/// Serves a model, and tells callgrind what the lines on its standard input say.
pub(crate) fn run(model: &Path) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let server = runtime.block_on(serve(model))?;
    println!("listening http://{}", server.http());
    for line in std::io::stdin().lines() {
        let line = line?;
        match line.as_str() {
            "start" => callgrind::start(),
            "zero" => callgrind::zero(),
            "dump" => callgrind::dump(),
            other => bail!("callgrind is to {other}"),
        }
        println!("done {line}");
    }
    runtime.block_on(server.stop());
    Ok(())
}

async fn serve(model: &Path) -> Result<Server> {
    let engines = Engines::discover(None, EngineChoice::from(ONNX_RUNTIME));
    let registry = Arc::new(MetricRegistry::new());
    let models =
        Models::new(vec![model.to_owned()], engines, &registry).with_inline_run(INLINE_RUN);
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = ServerConfig {
        http: any,
        grpc: any,
        ..ServerConfig::default()
    };
    let serving = Arc::new(Serving::new(models));
    let server = Server::start(ServerComponents::minimal(config, serving, registry)?).await?;
    let report = server.load_all().await;
    ensure!(
        report.failed.is_empty(),
        "a model was not loaded: {:?}",
        report.failed
    );
    Ok(server)
}
