//! The accuracy of versions, by hour and over a window.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use tidegate_capture::{CaptureFolder, Hour, Partition, PartitionKey};
use tidegate_core::QualityTask;
use tidegate_datasets::LabelTarget;
use tidegate_store::{FeedbackMark, Store};

use super::counts::AccuracyCounts;
use super::estimate::{EstimatedMetric, Reference};
use super::join::{self, Comparison, Counted};
use super::read_files;
use super::references::References;

/// Hours whose counts are remembered, at most.
const MAX_REMEMBERED: usize = 4096;

/// Counts labelled predictions, and remembers those of hours that have not changed since.
pub(super) struct Accuracy {
    folder: CaptureFolder,
    references: References,
    remembered: Mutex<HashMap<PartitionKey, Remembered>>,
    /// One counting at a time: a second one would read the same files.
    counting: tokio::sync::Mutex<()>,
}

/// The counts of a partition, as long as its files and labels are the same.
struct Remembered {
    files: usize,
    bytes: u64,
    mark: FeedbackMark,
    target: LabelTarget,
    /// The end of the reference of its estimates.
    reference_ms: Option<u64>,
    counts: AccuracyCounts,
}

/// A version over a window.
#[derive(Default)]
pub(super) struct VersionAccuracy {
    /// Why its labels are not compared.
    pub(super) problem: Option<String>,
    /// What labels are compared with.
    pub(super) target: Option<LabelTarget>,
    /// What its estimates rest on, or why there are none.
    pub(super) reference: Option<Result<Arc<Reference>, String>>,
    pub(super) counts: AccuracyCounts,
    /// By the values of a column, if one was named.
    pub(super) by_segment: Counted,
    /// The hours with predictions, the earliest first.
    pub(super) hours: Vec<(Hour, AccuracyCounts)>,
}

impl Accuracy {
    /// Of the captured predictions of a folder. Estimates rest on so many labels.
    pub(super) fn new(folder: CaptureFolder, estimate_labels: u64) -> Self {
        Self {
            references: References::new(folder.clone(), estimate_labels),
            folder,
            remembered: Mutex::default(),
            counting: tokio::sync::Mutex::default(),
        }
    }

    /// The endpoints that have captured predictions.
    pub(super) async fn endpoints(&self) -> Result<Vec<String>, String> {
        let folder = self.folder.clone();
        read_files(move || folder.endpoints()).await
    }

    /// The accuracy of each version of an endpoint over some hours, both included; by the values of a
    /// captured column too, if one is named.
    ///
    /// # Errors
    /// Why predictions or labels cannot be read.
    pub(super) async fn of_endpoint(
        &self,
        store: &Store,
        endpoint: &str,
        (from, to): (Hour, Hour),
        segment: Option<&str>,
    ) -> Result<BTreeMap<String, VersionAccuracy>, String> {
        let _counting = self.counting.lock().await;
        let mut versions: BTreeMap<String, VersionAccuracy> = BTreeMap::new();
        for partition in self.partitions(endpoint, from, to).await? {
            let version = match versions.get_mut(&partition.key.version) {
                Some(version) => version,
                None => {
                    let version = self.version(store, &partition.key).await?;
                    versions
                        .entry(partition.key.version.clone())
                        .or_insert(version)
                }
            };
            let Some(comparison) = version.comparison() else {
                continue;
            };
            let counts = match segment {
                None => self.counts(store, &partition, &comparison).await?,
                Some(_) => {
                    let key = &partition.key;
                    let counting = join::count(store, &self.folder, key, &comparison, segment);
                    let counted = counting.await?;
                    version.by_segment.merge(&counted);
                    counted.all
                }
            };
            version.counts.merge(&counts);
            version.hours.push((partition.key.hour, counts));
        }
        Ok(versions)
    }

    async fn partitions(
        &self,
        endpoint: &str,
        from: Hour,
        to: Hour,
    ) -> Result<Vec<Partition>, String> {
        let (folder, endpoint) = (self.folder.clone(), endpoint.to_owned());
        read_files(move || folder.partitions_of(&endpoint, from, to)).await
    }

    async fn version(&self, store: &Store, key: &PartitionKey) -> Result<VersionAccuracy, String> {
        let (folder, of) = (self.folder.clone(), key.clone());
        let note = read_files(move || folder.read_note(&of)).await?;
        let target: Result<LabelTarget, String> = match note {
            None => Err("it is not known what its labels are compared with".to_owned()),
            Some(note) => serde_json::from_slice(&note)
                .map_err(|error| error.to_string())
                .and_then(|target| target),
        };
        let (target, problem) = match target {
            Ok(target) => (Some(target), None),
            Err(problem) => (None, Some(problem)),
        };
        let reference = match &target {
            // Numbers are not estimated.
            Some(target) if target.task != QualityTask::Number => {
                Some(self.references.of(store, key, target).await?)
            }
            _ => None,
        };
        Ok(VersionAccuracy {
            problem,
            target,
            reference,
            ..VersionAccuracy::default()
        })
    }

    async fn counts(
        &self,
        store: &Store,
        partition: &Partition,
        comparison: &Comparison,
    ) -> Result<AccuracyCounts, String> {
        let key = &partition.key;
        let time_ms = join::milliseconds(key);
        let mark = store.feedback_mark(&key.endpoint, time_ms).await;
        let mark = mark.map_err(|error| error.to_string())?;
        if let Some(remembered) = self.remembered.lock().get(key)
            && remembered.is_of(partition, mark, comparison)
        {
            return Ok(remembered.counts.clone());
        }
        let counting = join::count(store, &self.folder, key, comparison, None);
        let counts = counting.await?.all;
        let mut all = self.remembered.lock();
        if all.len() >= MAX_REMEMBERED {
            all.clear();
        }
        let remembered = Remembered {
            files: partition.files,
            bytes: partition.bytes,
            mark,
            target: comparison.target.clone(),
            reference_ms: comparison.reference_ms(),
            counts: counts.clone(),
        };
        all.insert(key.clone(), remembered);
        Ok(counts)
    }
}

impl VersionAccuracy {
    /// What its rows are compared with, if that is known.
    fn comparison(&self) -> Option<Comparison> {
        let reference = self.reference.as_ref();
        Some(Comparison {
            target: self.target.clone()?,
            reference: reference.and_then(|found| found.as_ref().ok()).cloned(),
        })
    }

    /// What is expected of its answers after the reference, labelled or not.
    pub(super) fn estimated(&self, counts: &AccuracyCounts) -> Vec<EstimatedMetric> {
        match (&self.reference, &counts.estimated) {
            (Some(Ok(reference)), Some(estimated)) => estimated.metrics(reference),
            _ => Vec::new(),
        }
    }
}

impl Comparison {
    fn reference_ms(&self) -> Option<u64> {
        Some(self.reference.as_ref()?.until_ms())
    }
}

impl Remembered {
    fn is_of(&self, partition: &Partition, mark: FeedbackMark, comparison: &Comparison) -> bool {
        (self.files, self.bytes, self.mark) == (partition.files, partition.bytes, mark)
            && self.target == comparison.target
            && self.reference_ms == comparison.reference_ms()
    }
}
