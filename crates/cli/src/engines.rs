//! Finding the engines that are installed.

use tidegate_core::EngineChoice;
use tidegate_engines::{EngineStatus, Engines, ONNX_RUNTIME};
use tracing::{info, warn};

use crate::config::EnginesConfig;
use crate::options::Engine;

/// Finds the engines, and logs what is missing without ONNX Runtime.
pub(crate) fn discover(config: &EnginesConfig) -> Engines {
    let engines = Engines::discover(config.onnxruntime.as_deref(), config.default.clone());
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
    Engines::discover(config.onnxruntime.as_deref(), config.default.clone())
}

/// The engines for a command without a configuration.
pub(crate) fn discover_silently(choice: Option<Engine>) -> Engines {
    Engines::discover(None, choice.map_or(EngineChoice::Auto, Into::into))
}
