//! What objectives have counted, in a file.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tidegate_observe::{BurnAlerts, Ledger, Slo};
use tracing::warn;

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
}

impl Kept {
    /// What a file has; nothing, if there is none or it cannot be read.
    pub(super) fn read(file: &Path) -> Self {
        let bytes = match std::fs::read(file) {
            Ok(bytes) => bytes,
            Err(problem) if problem.kind() == std::io::ErrorKind::NotFound => return Self::default(),
            Err(problem) => {
                warn!(file = %file.display(), %problem, "what objectives had counted cannot be read");
                return Self::default();
            }
        };
        serde_json::from_slice(&bytes).unwrap_or_else(|problem| {
            warn!(file = %file.display(), %problem, "what objectives had counted cannot be understood: they begin anew");
            Self::default()
        })
    }

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

/// Replaces a file, whole or not at all.
pub(crate) fn replace(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let part = file.with_extension("part");
    let mut written = std::fs::File::create(&part)?;
    written.write_all(bytes)?;
    written.sync_all()?;
    std::fs::rename(&part, file)
}

#[cfg(test)]
mod tests {
    use tidegate_observe::Objective;

    use super::*;

    fn slo(endpoint: &str) -> Slo {
        Objective { name: "x".to_owned(), endpoint: endpoint.to_owned(), ..Objective::default() }.parse().unwrap()
    }

    #[test]
    fn what_was_counted_returns_unless_it_measured_something_else() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("objectives.json");
        let mut kept = Kept::read(&file);
        kept.of(&slo("a")).ledger.add(60_000, 9, 10);
        replace(&file, &serde_json::to_vec(&kept).unwrap()).unwrap();
        let mut read = Kept::read(&file);
        assert_eq!(read.of(&slo("a")).ledger.sum(0, 120_000).total, 10);
        assert_eq!(read.of(&slo("b")).ledger.sum(0, 120_000).total, 0);
        std::fs::write(&file, "{").unwrap();
        assert_eq!(Kept::read(&file).of(&slo("a")).ledger.buckets(), 0, "a broken file begins anew");
    }
}
