//! Which engine runs a model.

use clap::ValueEnum;
use tidegate_core::EngineChoice;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    /// ONNX Runtime if its library is found, else portable
    Auto,
    /// ONNX Runtime, from its shared library
    Onnxruntime,
    /// Pure Rust: no shared library, but fewer operators
    Portable,
}

impl From<Engine> for EngineChoice {
    fn from(engine: Engine) -> Self {
        match engine {
            Engine::Auto => Self::Auto,
            Engine::Onnxruntime => Self::OnnxRuntime,
            Engine::Portable => Self::Portable,
        }
    }
}
