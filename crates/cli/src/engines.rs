//! Finding the engines that are installed.

use std::path::Path;
use std::sync::Arc;

use tidegate_core::EngineChoice;
use tidegate_engines::{EngineStatus, Engines, ONNX_RUNTIME};
use tidegate_remote::{RemoteEngine, Remotes};
use tracing::{info, warn};

use crate::config::EnginesConfig;
use crate::options::Engine;

/// Finds the engines, and logs what is missing without ONNX Runtime. `remotes` sees what happens to
/// versions that other servers run.
pub(crate) fn discover(config: &EnginesConfig, remotes: Arc<Remotes>) -> Engines {
    let engines = Engines::discover(config.onnxruntime.as_deref(), config.default.clone());
    let engines = with_remote(engines, remotes, config.remote_credentials.as_deref());
    match engines.status(ONNX_RUNTIME) {
        EngineStatus::BuiltIn => {}
        EngineStatus::Loaded { library, version } => {
            info!(library, version, "ONNX Runtime found")
        }
        // No error, because the portable engine runs most models.
        EngineStatus::Missing { reason } => warn!(
            reason,
            "ONNX Runtime was not found: models run on the portable engine, which is slower and \
             lacks some operators; `pip download onnxruntime` and unpack the wheel to get the \
             library, then set TIDEGATE_ONNXRUNTIME to its path"
        ),
    }
    engines
}

/// Finds the engines without a word.
pub(crate) fn find(config: &EnginesConfig) -> Engines {
    let engines = Engines::discover(config.onnxruntime.as_deref(), config.default.clone());
    let credentials = config.remote_credentials.as_deref();
    with_remote(engines, Arc::default(), credentials)
}

/// The engines for a command without a configuration.
pub(crate) fn discover_silently(choice: Option<Engine>) -> Engines {
    let engines = Engines::discover(None, choice.map_or(EngineChoice::Auto, Into::into));
    with_remote(engines, Arc::default(), None)
}

fn with_remote(engines: Engines, remotes: Arc<Remotes>, credentials: Option<&Path>) -> Engines {
    let remote = RemoteEngine::new(remotes, credentials.map(Path::to_owned));
    engines.with(Arc::new(remote))
}
