//! The certificate of a client, as far as it says who the client is.

use std::sync::Arc;

/// A client certificate that was verified when the connection was opened. Front ends put it among the
/// extensions of the requests of the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    name: Arc<str>,
    expires_ms: i64,
}

impl ClientCertificate {
    /// The certificate of this name, valid until a time in milliseconds since 1970.
    pub fn new(name: impl Into<Arc<str>>, expires_ms: i64) -> Self {
        Self {
            name: name.into(),
            expires_ms,
        }
    }

    /// Its SPIFFE id, or else another name of its subject.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Until when it is valid, in milliseconds since 1970.
    pub fn expires_ms(&self) -> i64 {
        self.expires_ms
    }

    /// Whether its time is over. A connection may live longer.
    pub fn has_expired(&self, now_ms: i64) -> bool {
        self.expires_ms <= now_ms
    }
}
