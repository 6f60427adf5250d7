//! What the registry leaves in the audit log, in the transaction of each change.

use serde_json::Value;
use tidegate_store::{AuditEntry, Write};

use crate::Result;

/// Records an action on a resource, given as kind and name, with the state before and after.
pub(crate) async fn audit(
    write: &mut Write,
    action: &str,
    (kind, name): (&str, &str),
    (before, after): (Value, Value),
) -> Result<()> {
    let entry = AuditEntry::new(write.actor(), action, "ok").about(kind, name);
    write
        .append_audit(&entry.with_states(&before, &after))
        .await?;
    Ok(())
}
