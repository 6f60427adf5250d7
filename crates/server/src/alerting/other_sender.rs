//! Which replica sends the alerts that all replicas of a group have.

use std::time::Instant;

use super::Alerting;

/// Another replica that sends the alerts of the group.
pub(crate) struct OtherSender {
    pub(crate) name: String,
    /// Until when it has the lease: from then on this server sends them itself.
    pub(crate) until: Instant,
}

impl Alerting {
    /// Says which other replica sends the alerts of the group; `None` if this server does.
    pub(crate) fn set_other_sender(&self, sender: Option<OtherSender>) {
        *self.other_sender.lock() = sender;
    }

    /// The other replica that sends the alerts of the group; `None` if this server does, or it is
    /// not certain.
    pub(super) fn other_sender(&self) -> Option<String> {
        self.other_sender
            .lock()
            .as_ref()
            .filter(|sender| Instant::now() < sender.until)
            .map(|sender| sender.name.clone())
    }
}
