//! Reading everything again, to find damaged contents.

use std::collections::BTreeMap;

use futures_util::{StreamExt, stream};

use crate::{Digest, Error, Registry, Result, VersionRecord};

/// Contents that are read at once.
const AT_ONCE: usize = 2;

/// The result of a verification.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Versions whose files and signatures were checked against their digest.
    pub versions: usize,
    /// Contents that were read.
    pub objects: usize,
    /// Their plain bytes.
    pub bytes: u64,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The versions that cannot be used because of it, such as `fraud:7`.
    pub versions: Vec<String>,
    /// What is wrong.
    pub error: Error,
}

impl Registry {
    /// Reads every content and holds it against its digest, and every version against its digest,
    /// its signatures and its manifest; also what the cache of this machine has. `progress` is called
    /// with the contents done and in all.
    ///
    /// # Errors
    /// [`Error`] of the database; problems of versions and contents are in the report.
    pub async fn verify(&self, progress: &(dyn Fn(usize, usize) + Sync)) -> Result<Verified> {
        let versions = self.versions(None).await?;
        let mut report = Verified {
            versions: versions.len(),
            ..Verified::default()
        };
        let mut users: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for version in &versions {
            // Collected and not returned: one bad version must not hide the others.
            if let Err(error) = self.verify_version(version, &mut users).await {
                report.problems.push(Problem {
                    versions: vec![version.name()],
                    error,
                });
            }
        }
        let objects = self.store.objects().await?;
        let total = objects.len();
        let read = objects.into_iter().map(|object| async move {
            let digest: Digest = object.digest.parse()?;
            let outcome = self.read_content(&digest, std::io::sink()).await;
            Ok::<_, Error>((object, outcome.err()))
        });
        let mut read = stream::iter(read).buffer_unordered(AT_ONCE);
        while let Some(outcome) = read.next().await {
            let (object, error) = outcome?;
            report.objects += 1;
            report.bytes += u64::try_from(object.bytes).unwrap_or(0);
            if let Some(error) = error {
                let versions = users.get(&object.digest).cloned().unwrap_or_default();
                report.problems.push(Problem { versions, error });
            }
            progress(report.objects, total);
        }
        // Contents are read in parallel, so that problems come in any order.
        report
            .problems
            .sort_by(|one, two| one.versions.cmp(&two.versions));
        Ok(report)
    }

    async fn verify_version(
        &self,
        version: &VersionRecord,
        users: &mut BTreeMap<String, Vec<String>>,
    ) -> Result<()> {
        let entry = self.entry(version).await?;
        for file in &entry.files {
            users
                .entry(file.digest.clone())
                .or_default()
                .push(version.name());
        }
        self.cache.trust(&entry)?;
        self.check_manifest(&entry).await?;
        self.cache.check_files(&entry).await
    }
}
