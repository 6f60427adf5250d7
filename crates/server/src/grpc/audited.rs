//! Administrative actions over gRPC, each with its rows in the audit log.

use serde_json::{Map, Value};
use tidegate_gateway::Caller;
use tidegate_serving::InferError;
use tonic::{Extensions, Status};

use super::service::{Service, source};
use super::status;
use crate::audit::{AuditStates, OwnedAction};
use crate::log_settings::LogSettings;
use crate::shared_memory::SharedMemory;
use crate::traces::{TraceSetting, TraceSettings};

impl Service {
    /// Loads or unloads a model.
    pub(super) async fn change_model(
        &self,
        name: &'static str,
        model: &str,
        extensions: &Extensions,
        work: impl Future<Output = Result<(), InferError>> + Send + 'static,
    ) -> Result<(), Status> {
        let (front_end, named) = (self.front_end.clone(), model.to_owned());
        let state = move || front_end.versions_of(&named);
        self.run_audited((name, "model", model), extensions, state, work)
            .await
    }

    /// Changes which regions of shared memory are registered.
    pub(super) async fn change_shared_memory(
        &self,
        (name, region): (&'static str, &str),
        extensions: &Extensions,
        work: impl Future<Output = Result<(), InferError>> + Send + 'static,
    ) -> Result<(), Status> {
        let memory = self.front_end.shared_memory.clone();
        let state = move || memory.audit_state();
        let action = (name, SharedMemory::RESOURCE_KIND, region);
        self.run_audited(action, extensions, state, work).await
    }

    /// Changes which traces are kept, of a model or of all of them.
    pub(super) async fn change_traces(
        &self,
        model: &str,
        settings: Vec<TraceSetting>,
        extensions: &Extensions,
    ) -> Result<(), Status> {
        let (front_end, named) = (self.front_end.clone(), model.to_owned());
        let work = async move { front_end.change_traces(&named, &settings) };
        let (front_end, named) = (self.front_end.clone(), model.to_owned());
        let state = move || front_end.trace_state(&named);
        let action = ("trace-settings.change", TraceSettings::RESOURCE_KIND, model);
        self.run_audited(action, extensions, state, work).await
    }

    /// Changes which lines the log has.
    pub(super) async fn change_log(
        &self,
        settings: Map<String, Value>,
        extensions: &Extensions,
    ) -> Result<(), Status> {
        let (log, changed) = (self.front_end.log.clone(), self.front_end.log.clone());
        let state = move || log.audit_state();
        let work = async move { changed.change(&settings) };
        let action = ("log-settings.change", LogSettings::RESOURCE_KIND, "");
        self.run_audited(action, extensions, state, work).await
    }

    /// Runs an administrative action, given by its name and the kind and name of its resource, with a
    /// row of the audit log before and after it.
    async fn run_audited(
        &self,
        (name, kind, resource): (&'static str, &'static str, &str),
        extensions: &Extensions,
        state: impl Fn() -> Value + Send + 'static,
        work: impl Future<Output = Result<(), InferError>> + Send + 'static,
    ) -> Result<(), Status> {
        let action = OwnedAction {
            caller: extensions.get::<Caller>().cloned(),
            source: source(extensions),
            name,
            kind,
            resource: resource.to_owned(),
        };
        let states = AuditStates::default();
        let told = states.clone();
        let work = async move {
            told.before(state());
            let outcome = work.await;
            told.after(state());
            outcome
        };
        let audit = self.front_end.audit.clone();
        let outcome = audit.run(action, states, work, failure).await;
        outcome.flatten().map_err(|error| status(&error))
    }
}

/// The code of the error that an action has ended with.
fn failure(outcome: &Result<(), InferError>) -> Option<&'static str> {
    outcome.as_ref().err().map(|error| error.code.name())
}
