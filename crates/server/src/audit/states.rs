//! What a handler tells the audit log about its action.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;
use parking_lot::Mutex;
use serde_json::Value;

/// The states before and after an action, and its resource where the path does not name it. Handlers
/// take it as an argument; what nobody records costs nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct AuditStates(Arc<Mutex<Told>>);

#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    pub(super) resource: Option<String>,
    pub(super) before: Value,
    pub(super) after: Value,
}

impl AuditStates {
    /// Tells which resource it is about.
    pub(crate) fn resource(&self, name: &str) {
        self.0.lock().resource = Some(name.to_owned());
    }

    /// Tells the state before.
    pub(crate) fn before(&self, state: Value) {
        self.0.lock().before = state;
    }

    /// Tells the state after.
    pub(crate) fn after(&self, state: Value) {
        self.0.lock().after = state;
    }

    pub(super) fn told(&self) -> Told {
        self.0.lock().clone()
    }
}

impl<S: Sync> FromRequestParts<S> for AuditStates {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().cloned().unwrap_or_default())
    }
}
