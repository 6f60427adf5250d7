//! The state that the handlers of the inference protocols share.

use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_serving::{ErrorCode, GivenModel, IndexEntry, InferError, MemoryBudget, Serving};

use crate::audit::AuditLog;
use crate::blocking::run_blocking;
use crate::features::Features;
use crate::lifecycle::Lifecycle;
use crate::listen::{ConnectionMetrics, Tls};
use crate::log_settings::LogSettings;
use crate::platform::PlatformPaths;
use crate::request_memory::GiveBackMemory;
use crate::shared_memory::SharedMemory;
use crate::traces::{TraceSetting, TraceSettingsBody};
use crate::{ServerConfig, Traces};

/// The state of the REST and gRPC front ends.
pub(crate) struct FrontEnd {
    pub(crate) serving: Arc<Serving>,
    pub(crate) config: ServerConfig,
    /// Further paths, which a platform calls.
    pub(crate) platform: Option<PlatformPaths>,
    pub(crate) lifecycle: Arc<Lifecycle>,
    pub(crate) traces: Arc<Traces>,
    pub(crate) audit: AuditLog,
    pub(crate) connections: ConnectionMetrics,
    /// TLS of both ports; it may be off.
    pub(crate) tls: Arc<Tls>,
    /// Where clients on this machine may leave inputs and find outputs.
    pub(crate) shared_memory: Arc<SharedMemory>,
    /// Which lines the log has.
    pub(crate) log: Arc<LogSettings>,
    /// What requests and answers may take together.
    pub(crate) memory: Arc<MemoryBudget>,
    /// Where features are looked up.
    pub(crate) features: Arc<Features>,
    /// Returns free memory to the machine, where the allocator can be told to.
    pub(crate) give_back: Option<GiveBackMemory>,
}

impl FrontEnd {
    /// Every version that is loaded or could be, and models that have none. Reads folders.
    pub(crate) async fn index(&self) -> Result<Vec<IndexEntry>, InferError> {
        let serving = self.serving.clone();
        run_blocking(move || serving.index()).await
    }

    /// The numbers of a model's loaded versions, for the audit log.
    pub(crate) fn versions_of(&self, model: &str) -> Value {
        let loaded = self.serving.model(model);
        let versions = loaded.iter().flat_map(|model| model.versions());
        let numbers: Vec<&str> = versions.map(|version| version.number()).collect();
        json!({"versions": numbers})
    }

    /// Loads a model, or reloads it, from its folder or from what the request has.
    pub(crate) async fn load(&self, model: String, given: GivenModel) -> Result<(), InferError> {
        self.check_model_control()?;
        if let Some(fleet) = self.serving.fleet().filter(|fleet| fleet.manages(&model)) {
            if !given.is_empty() {
                let message =
                    format!("\"{model}\" is from the registry: to change it, push a version");
                return Err(InferError::new(ErrorCode::InvalidParameter, message));
            }
            return fleet.load(&model).await;
        }
        let serving = self.serving.clone();
        // A load takes seconds, in which the other connections of this thread would wait.
        run_blocking(move || {
            if given.is_empty() {
                serving.models().load(&model)
            } else {
                serving.models().load_given(&model, &given)
            }
        })
        .await?
    }

    /// Unloads a model.
    pub(crate) async fn unload(&self, model: String) -> Result<(), InferError> {
        self.check_model_control()?;
        if let Some(fleet) = self.serving.fleet().filter(|fleet| fleet.manages(&model)) {
            return fleet.unload(&model);
        }
        let serving = self.serving.clone();
        run_blocking(move || serving.models().unload(&model)).await?
    }

    /// The trace settings of a model; of all models if the name is empty.
    ///
    /// # Errors
    /// If there is no such model.
    pub(crate) fn trace_settings(&self, model: &str) -> Result<TraceSettingsBody, InferError> {
        let scope = self.trace_scope(model)?;
        Ok(self.traces.settings.show(scope))
    }

    /// Changes the trace settings of a model; of all models if the name is empty.
    ///
    /// # Errors
    /// If there is no such model, or a setting cannot be changed so.
    pub(crate) fn change_traces(
        &self,
        model: &str,
        settings: &[TraceSetting],
    ) -> Result<(), InferError> {
        let scope = self.trace_scope(model)?;
        self.traces.settings.change(scope, settings)
    }

    /// The trace settings, for the audit log.
    pub(crate) fn trace_state(&self, model: &str) -> Value {
        let shown = self.trace_settings(model).ok();
        shown.map_or(Value::Null, |shown| json!(shown))
    }

    fn trace_scope<'a>(&self, model: &'a str) -> Result<Option<&'a str>, InferError> {
        if model.is_empty() {
            return Ok(None);
        }
        match self.serving.would_answer(model, None) {
            // It is known, and may be ready later.
            Ok(()) => Ok(Some(model)),
            Err(error) if error.code == ErrorCode::NotReady => Ok(Some(model)),
            Err(error) => Err(error),
        }
    }

    fn check_model_control(&self) -> Result<(), InferError> {
        if self.config.model_control {
            return Ok(());
        }
        let message = "loading and unloading is switched off: server.model_control is false";
        Err(InferError::new(ErrorCode::MethodNotAllowed, message))
    }
}
