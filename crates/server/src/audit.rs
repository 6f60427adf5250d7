//! The audit log of this server: administrative actions, and denials.
//!
//! An action has two rows: one before it begins, without which it is refused, and one with its
//! result. So even an action that the end of the process cut off is in the log.

mod api;
mod metrics;
mod recording;
mod states;

use std::net::IpAddr;
use std::sync::Arc;

use axum::response::Response;
use futures_util::future::BoxFuture;
use tidegate_gateway::{
    Audit, AuditConfig, AuditPlace, Caller, Credentials, Denial, Gateway, Principal,
};
use tidegate_redaction::Redactor;
use tidegate_serving::{ErrorCode, MetricRegistry};
use tokio::task::JoinSet;

pub use self::api::AuditPage;
pub(crate) use self::api::description;
use self::metrics::AuditMetrics;
pub(crate) use self::recording::{Action, OwnedAction};
pub(crate) use self::states::AuditStates;
use crate::component::Component;
use crate::routes::Routes;

/// The audit log, where the server has one.
#[derive(Clone, Default)]
pub(crate) struct AuditLog {
    audit: Option<Arc<Audit>>,
    redactor: Arc<Redactor>,
}

/// The address that a request came from, among the request's extensions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// What was denied to whom, among the extensions of the answer.
#[derive(Clone, Debug)]
pub(crate) struct DeniedAction {
    action: &'static str,
    actor: String,
    tenant: String,
}

impl DeniedAction {
    /// An action that was denied to who has these credentials. Looks at credentials once more, which
    /// only those pay who are denied.
    pub(crate) fn new(
        action: &'static str,
        gateway: &Gateway,
        credentials: Credentials<'_>,
    ) -> Self {
        let caller = gateway.known_caller(credentials);
        Self::of(action, caller.as_ref())
    }

    /// An action that was denied to a caller; `None` for one that could not be authenticated.
    pub(crate) fn of(action: &'static str, caller: Option<&Caller>) -> Self {
        let (actor, tenant) = names_of(caller);
        Self {
            action,
            actor,
            tenant,
        }
    }
}

impl AuditLog {
    /// The log at `place`, if there is one.
    pub(crate) fn new(
        place: Option<AuditPlace>,
        config: &AuditConfig,
        registry: &MetricRegistry,
        redactor: Arc<Redactor>,
    ) -> Self {
        let audit = place.map(|place| Arc::new(Audit::new(place, config)));
        AuditMetrics::register(registry, audit.clone());
        Self { audit, redactor }
    }

    /// Counts the request that was answered so, if it was denied.
    pub(crate) fn note_answer(&self, source: IpAddr, answer: &Response) {
        let extensions = answer.extensions();
        if let (Some(code), Some(denied)) = (extensions.get(), extensions.get()) {
            self.deny(denied, Some(source), *code);
        }
    }

    /// Counts a request that was answered with `code`, if that denies it.
    pub(crate) fn deny(&self, denied: &DeniedAction, source: Option<IpAddr>, code: ErrorCode) {
        if let Some(audit) = self.audit.as_ref().filter(|_| is_denial(code)) {
            audit.deny(Denial {
                actor: &denied.actor,
                tenant: &denied.tenant,
                source: source.map(|source| source.to_canonical()),
                action: denied.action,
                code: code.name(),
            });
        }
    }
}

/// Whether an error says that the caller may not, in place of that the server cannot.
pub(crate) fn is_denial(code: ErrorCode) -> bool {
    matches!(code.http_status(), 401 | 403 | 429) && code != ErrorCode::QueueFull
}

/// The names of a caller and of its tenant in the log.
fn names_of(caller: Option<&Caller>) -> (String, String) {
    match caller {
        Some(caller) => (caller.principal().to_string(), caller.tenant().to_owned()),
        None => (Principal::Anonymous.to_string(), String::new()),
    }
}

impl Component for AuditLog {
    fn name(&self) -> &'static str {
        "audit"
    }

    fn routes(self: Arc<Self>) -> Routes<()> {
        api::routes(self)
    }

    fn start(self: Arc<Self>, background: &mut JoinSet<()>) {
        if let Some(audit) = self.audit.clone() {
            background.spawn(async move { audit.run().await });
        }
    }

    fn problems(&self) -> Vec<String> {
        let problem = self.audit.as_ref().and_then(|audit| audit.problem());
        let problem = problem.map(|problem| format!("the audit log cannot be written: {problem}"));
        problem.into_iter().collect()
    }

    fn finish(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            if let Some(audit) = &self.audit {
                audit.finish().await;
            }
        })
    }
}
