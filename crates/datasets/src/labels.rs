//! The labels of captured rows.

use std::collections::HashMap;

use serde_json::Value;
use tidegate_store::{Feedback, Store};
use tokio::runtime::Handle;
use uuid::Uuid;

use crate::DatasetError;

/// Labels that are in memory at once.
const PAGE: i64 = 20_000;

/// A label, with the tenant that has given it.
#[derive(Clone, Debug, PartialEq)]
pub struct GivenLabel {
    /// The tenant; empty for those who act for all.
    pub tenant: String,
    /// The label.
    pub label: Value,
    /// When it came true, in milliseconds since 1970.
    pub at_ms: i64,
}

/// The label that counts for a prediction of a tenant: that of the tenant, or else of those who act for
/// all.
pub fn label_of<'l>(given: &'l [GivenLabel], tenant: &str) -> Option<&'l GivenLabel> {
    let own = given.iter().find(|given| given.tenant == tenant);
    own.or_else(|| given.iter().find(|given| given.tenant.is_empty()))
}

/// Labels by prediction and row.
pub(crate) type Labels = HashMap<(Uuid, u32), Vec<GivenLabel>>;

/// Reads labels from a thread that may wait.
pub(crate) struct LabelReader {
    pub(crate) store: Store,
    pub(crate) endpoint: String,
    pub(crate) runtime: Handle,
}

impl LabelReader {
    /// The labels of these rows. Rows are in the order of time as far as that is cheap: so are their ids,
    /// and few other labels lie between the first and the last.
    pub(crate) fn of(&self, rows: &[(Uuid, u32)]) -> Result<Labels, DatasetError> {
        let ids: Vec<Uuid> = rows.iter().map(|(id, _)| *id).collect();
        let (Some(&first), Some(&last)) = (ids.iter().min(), ids.iter().max()) else {
            return Ok(Labels::new());
        };
        let mut labels: Labels = rows.iter().map(|row| (*row, Vec::new())).collect();
        let time_ms = milliseconds(first)..milliseconds(last).saturating_add(1);
        let mut after = (first.to_string(), -1, String::new());
        loop {
            let from = (after.0.as_str(), after.1, after.2.as_str());
            let page = self
                .store
                .feedback(&self.endpoint, time_ms.clone(), Some(from), PAGE);
            let page = self.runtime.block_on(page)?;
            let is_last = page.len() < PAGE as usize;
            if let Some(last) = page.last() {
                after = (last.prediction_id.clone(), last.row, last.tenant.clone());
            }
            for one in page {
                add(&mut labels, one);
            }
            if is_last || after.0 > last.to_string() {
                return Ok(labels);
            }
        }
    }
}

/// Keeps a label if its row was asked for.
fn add(labels: &mut Labels, one: Feedback) {
    let (Ok(id), Ok(row), Ok(label)) = (
        one.prediction_id.parse::<Uuid>(),
        u32::try_from(one.row),
        serde_json::from_str(&one.label),
    ) else {
        return;
    };
    if let Some(given) = labels.get_mut(&(id, row)) {
        given.push(GivenLabel {
            tenant: one.tenant,
            label,
            at_ms: one.event_ms.unwrap_or(one.received_ms),
        });
    }
}

/// The time in the id of a prediction (RFC 9562, section 5.7), in milliseconds since 1970.
fn milliseconds(id: Uuid) -> i64 {
    // 48 bits, which fit.
    (id.as_u128() >> 80) as i64
}
