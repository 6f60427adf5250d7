//! How rows are hashed.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sqlx::Row;
use sqlx::any::AnyRow;

use super::{AuditEntry, AuditRecord};
use crate::StoreError;

/// Longest text of a row, in bytes, beside the two states.
const MAX_TEXT_BYTES: usize = 512;
/// The first thing that is hashed: another encoding would have another name.
const ENCODING: &str = "tidegate-audit-1";

/// The number and the hash of a row, kept outside the log: the log must still have this row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditAnchor {
    /// The row's number.
    pub number: i64,
    /// The row's hash, in hexadecimal digits.
    pub hash: String,
}

impl AuditAnchor {
    pub(super) fn read(row: &AnyRow) -> Result<Self, StoreError> {
        Ok(Self {
            number: row.try_get("number")?,
            hash: row.try_get("hash")?,
        })
    }
}

impl AuditRecord {
    /// The hash that the row should have: SHA-256 over all its other values, each as a netstring
    /// (<https://cr.yp.to/proto/netstrings.txt>), so that no two rows have the same encoding.
    pub fn computed_hash(&self) -> String {
        let entry = &self.entry;
        let (number, at_ms) = (self.number.to_string(), self.at_ms.to_string());
        let occurrences = entry.occurrences.to_string();
        let values = [
            ENCODING,
            &number,
            &at_ms,
            &entry.actor,
            &entry.tenant,
            &entry.action,
            &entry.resource_kind,
            &entry.resource,
            &entry.source,
            &entry.result,
            &entry.code,
            &occurrences,
            &entry.state_before,
            &entry.state_after,
            &self.previous_hash,
        ];
        let mut encoded = String::new();
        for value in values {
            encoded.push_str(&format!("{}:{value},", value.len()));
        }
        sha256_hex(encoded.as_bytes())
    }
}

pub(super) fn sha256_hex(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The entry as a database stores it: what is hashed must be what is read.
pub(super) fn stored(entry: &AuditEntry) -> AuditEntry {
    AuditEntry {
        actor: text(&entry.actor),
        tenant: text(&entry.tenant),
        action: text(&entry.action),
        resource_kind: text(&entry.resource_kind),
        resource: text(&entry.resource),
        source: text(&entry.source),
        result: text(&entry.result),
        code: text(&entry.code),
        occurrences: entry.occurrences,
        state_before: without_nul(&entry.state_before),
        state_after: without_nul(&entry.state_after),
    }
}

fn text(text: &str) -> String {
    let end = text.floor_char_boundary(MAX_TEXT_BYTES);
    without_nul(&text[..end])
}

/// PostgreSQL's texts cannot have a NUL.
fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
