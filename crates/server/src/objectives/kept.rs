//! What objectives have counted, in a file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidegate_observe::{BurnAlerts, Freeze, Ledger, Slo};

/// By the objectives' names. Those that are no longer configured stay, and are pruned by their age of 90 days at most.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Kept {
    slos: BTreeMap<String, KeptSlo>,
}

/// What is kept of one objective.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct KeptSlo {
    /// What it measured: a ledger of other requests says nothing of these.
    measures: String,
    pub(super) ledger: Ledger,
    pub(super) alerts: BurnAlerts,
    #[serde(default)]
    pub(super) freeze: Freeze,
}

impl Kept {
    /// What was counted for an objective, begun anew if it measures something else by now.
    pub(super) fn of(&mut self, slo: &Slo) -> &mut KeptSlo {
        let measures = format!("{} {:?}", slo.endpoint().unwrap_or("*"), slo.sli());
        let own = self.slos.entry(slo.name().to_owned()).or_default();
        if own.measures != measures {
            *own = KeptSlo { measures, ..KeptSlo::default() };
        }
        own
    }
}

#[cfg(test)]
mod tests {
    use tidegate_observe::Objective;

    use super::*;
    use crate::kept::KeptFile;

    fn slo(endpoint: &str) -> Slo {
        Objective { name: "x".to_owned(), endpoint: endpoint.to_owned(), ..Objective::default() }.parse().unwrap()
    }

    #[tokio::test]
    async fn what_was_counted_returns_unless_it_measured_something_else() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("objectives.json");
        let (kept_file, mut kept): (_, Kept) = KeptFile::open(file.clone());
        kept.of(&slo("a")).ledger.add(60_000, 9, 10);
        kept_file.write(|| serde_json::to_vec(&kept)).await;
        let (_, mut read): (_, Kept) = KeptFile::open(file.clone());
        assert_eq!(read.of(&slo("a")).ledger.sum(0, 120_000).total, 10);
        assert_eq!(read.of(&slo("b")).ledger.sum(0, 120_000).total, 0);
        std::fs::write(&file, "{").unwrap();
        let (_, mut broken): (_, Kept) = KeptFile::open(file);
        assert_eq!(broken.of(&slo("a")).ledger.buckets(), 0, "a broken file begins anew");
    }
}
