//! The two rows of an administrative action.

use std::net::IpAddr;
use std::sync::Arc;

use tidegate_gateway::{Audit, Caller};
use tidegate_redaction::Redactor;
use tidegate_serving::{ErrorCode, InferError};
use tidegate_store::AuditEntry;
use tracing::warn;

use super::{AuditLog, AuditStates, names_of};
use crate::request_memory::for_same_client;

/// Longest name of a resource that is looked through, in bytes.
const MAX_RESOURCE_BYTES: usize = 4096;

/// An administrative action that is about to begin.
pub(crate) struct Action<'a> {
    /// Who asks for it.
    pub(crate) caller: Option<&'a Caller>,
    /// The address that the request came from.
    pub(crate) source: Option<IpAddr>,
    /// Its stable name, such as `model.load`.
    pub(crate) name: &'a str,
    /// The kind of its resource.
    pub(crate) kind: &'a str,
    /// The name of its resource.
    pub(crate) resource: &'a str,
}

/// An administrative action that goes on if who asked for it goes away.
pub(crate) struct OwnedAction {
    /// Who asks for it.
    pub(crate) caller: Option<Caller>,
    /// The address that the request came from.
    pub(crate) source: Option<IpAddr>,
    /// Its stable name, such as `model.load`.
    pub(crate) name: &'static str,
    /// The kind of its resource.
    pub(crate) kind: &'static str,
    /// The name of its resource.
    pub(crate) resource: String,
}

/// An action that has begun, and whose result will be recorded.
struct Recording(Option<Begun>);

struct Begun {
    audit: Arc<Audit>,
    redactor: Arc<Redactor>,
    entry: AuditEntry,
}

/// As much of a name as can be one: a client may send megabytes, which are not worth looking through.
fn beginning(name: &str) -> &str {
    &name[..name.floor_char_boundary(MAX_RESOURCE_BYTES)]
}

impl AuditLog {
    /// Does an administrative action, with a row of the log before and after it. `failure` gives the
    /// code of its error, if its outcome has one.
    ///
    /// # Errors
    /// [`ErrorCode::AuditUnavailable`] if it cannot be recorded and must be.
    pub(crate) async fn run<T: Send + 'static>(
        self,
        action: OwnedAction,
        states: AuditStates,
        work: impl Future<Output = T> + Send + 'static,
        failure: fn(&T) -> Option<&'static str>,
    ) -> Result<T, InferError> {
        let running = async move {
            let action = Action {
                caller: action.caller.as_ref(),
                source: action.source,
                name: action.name,
                kind: action.kind,
                resource: &action.resource,
            };
            let recording = self.begin(action).await?;
            let outcome = work.await;
            recording.end(failure(&outcome), &states).await?;
            Ok::<_, InferError>(outcome)
        };
        // A task of its own: a client that hangs up must not keep the result from being recorded.
        match tokio::spawn(for_same_client(running)).await {
            Ok(outcome) => outcome,
            Err(panic) => Err(InferError::new(ErrorCode::Internal, panic.to_string())),
        }
    }

    /// Records that an action begins.
    ///
    /// # Errors
    /// [`ErrorCode::AuditUnavailable`] if it cannot be recorded and must be: then it must not begin.
    async fn begin(&self, action: Action<'_>) -> Result<Recording, InferError> {
        let Some(audit) = self.audit.clone() else {
            return Ok(Recording(None));
        };
        let entry = self.entry(&action, "started");
        record(&audit, entry.clone(), "nothing was done").await?;
        Ok(Recording(Some(Begun {
            audit,
            redactor: self.redactor.clone(),
            entry,
        })))
    }

    /// Records something that is about to happen and cannot fail, in one row.
    ///
    /// # Errors
    /// [`ErrorCode::AuditUnavailable`] if it cannot be recorded and must be: then it must not happen.
    pub(crate) async fn record(&self, action: Action<'_>) -> Result<(), InferError> {
        let Some(audit) = &self.audit else {
            return Ok(());
        };
        record(audit, self.entry(&action, "ok"), "nothing was done").await
    }

    fn entry(&self, action: &Action<'_>, result: &str) -> AuditEntry {
        let (actor, tenant) = names_of(action.caller);
        let mut entry = AuditEntry::new(&actor, action.name, result)
            .about(action.kind, &self.redactor.text(beginning(action.resource)));
        entry.tenant = tenant;
        if let Some(source) = action.source {
            entry.source = source.to_canonical().to_string();
        }
        entry
    }
}

impl Recording {
    /// Records the result: the code of the error, if it failed.
    ///
    /// # Errors
    /// [`ErrorCode::AuditUnavailable`] if it cannot be recorded and must be.
    async fn end(self, failure: Option<&str>, states: &AuditStates) -> Result<(), InferError> {
        let Some(begun) = self.0 else {
            return Ok(());
        };
        let mut told = states.told();
        begun.redactor.json(&mut told.before);
        begun.redactor.json(&mut told.after);
        let mut entry = begun.entry;
        entry.result = if failure.is_some() { "failed" } else { "ok" }.to_owned();
        entry.code = failure.unwrap_or_default().to_owned();
        if let Some(resource) = told.resource {
            entry.resource = begun.redactor.text(&resource).into_owned();
        }
        let entry = entry.with_states(&told.before, &told.after);
        record(
            &begun.audit,
            entry,
            "the action was done, and only its beginning is recorded",
        )
        .await
    }
}

async fn record(audit: &Audit, entry: AuditEntry, outcome: &str) -> Result<(), InferError> {
    let Err(error) = audit.record(entry).await else {
        return Ok(());
    };
    if audit.is_required() {
        let message = format!("{error}; {outcome} (audit.required)");
        return Err(InferError::new(ErrorCode::AuditUnavailable, message));
    }
    warn!(%error, "an administrative action is not in the audit log");
    Ok(())
}
