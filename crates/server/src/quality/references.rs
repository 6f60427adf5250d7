//! The references of estimates: found among captured predictions, and written beside them, so that an
//! estimate does not change when their hours are removed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tidegate_capture::{CaptureFolder, Hour, PartitionKey};
use tidegate_datasets::LabelTarget;
use tidegate_store::Store;

use super::estimate::Reference;
use super::join::{self, Samples};
use super::read_files;

/// The wait after labels were too few, as a multiple of the time that it took to find that out.
const WAIT_FACTOR: u32 = 50;
/// References that are remembered, at most.
const MAX_REMEMBERED: usize = 1024;

/// Finds the reference of each version, once.
pub(super) struct References {
    folder: CaptureFolder,
    /// The labels that a reference has.
    wanted: usize,
    found: Mutex<HashMap<(String, String), Found>>,
}

/// What was found for a version.
struct Found {
    target: LabelTarget,
    reference: Result<Arc<Reference>, String>,
    /// When to look again, if there was none.
    next: Instant,
}

impl References {
    pub(super) fn new(folder: CaptureFolder, wanted: u64) -> Self {
        Self {
            folder,
            wanted: usize::try_from(wanted).unwrap_or(usize::MAX),
            found: Mutex::default(),
        }
    }

    /// The reference of the version of a partition, or why there is none.
    ///
    /// # Errors
    /// Why predictions or labels cannot be read.
    pub(super) async fn of(
        &self,
        store: &Store,
        key: &PartitionKey,
        target: &LabelTarget,
    ) -> Result<Result<Arc<Reference>, String>, String> {
        let name = (key.endpoint.clone(), key.version.clone());
        if let Some(found) = self.found.lock().get(&name)
            && found.target == *target
            && (found.reference.is_ok() || Instant::now() < found.next)
        {
            return Ok(found.reference.clone());
        }
        let began = Instant::now();
        let reference = match self.written(key, target).await? {
            Some(reference) => Ok(reference),
            None => self.fit(store, key, target).await?,
        };
        let reference = reference.map(Arc::new);
        let wait = began.elapsed().saturating_mul(WAIT_FACTOR);
        let found = Found {
            target: target.clone(),
            reference: reference.clone(),
            next: Instant::now() + wait.min(Duration::from_secs(3600)),
        };
        let mut all = self.found.lock();
        if all.len() >= MAX_REMEMBERED {
            all.clear();
        }
        all.insert(name, found);
        Ok(reference)
    }

    /// The reference that was written beside the predictions of a version.
    async fn written(
        &self,
        key: &PartitionKey,
        target: &LabelTarget,
    ) -> Result<Option<Reference>, String> {
        let (folder, key) = (self.folder.clone(), key.clone());
        let written = read_files(move || folder.read_calibration(&key)).await?;
        let reference = written.and_then(|text| serde_json::from_slice::<Reference>(&text).ok());
        // One that another build has written, or of another model, is made anew.
        Ok(reference.filter(|reference| reference.is_of(target)))
    }

    async fn fit(
        &self,
        store: &Store,
        key: &PartitionKey,
        target: &LabelTarget,
    ) -> Result<Result<Reference, String>, String> {
        let samples = self.samples(store, key, target).await?;
        let (labels, wanted) = (samples.usable.len(), self.wanted);
        if samples.are_no_probabilities(wanted) {
            return Ok(Err(
                "not calibrated: the answers are no probabilities".to_owned()
            ));
        }
        if labels < wanted {
            return Ok(Err(format!(
                "not calibrated: {labels} of {wanted} labelled predictions with probabilities"
            )));
        }
        let of = target.clone();
        let fitting = read_files(move || Ok(Reference::fit(&of, samples.usable, wanted)));
        let Some(reference) = fitting.await? else {
            return Ok(Err(
                "not calibrated: the labels do not fit the answers".to_owned()
            ));
        };
        let text = serde_json::to_vec(&reference).unwrap_or_default();
        let (folder, key) = (self.folder.clone(), key.clone());
        read_files(move || folder.write_calibration(&key, &text)).await?;
        Ok(Ok(reference))
    }

    /// The earliest labelled predictions of a version.
    async fn samples(
        &self,
        store: &Store,
        key: &PartitionKey,
        target: &LabelTarget,
    ) -> Result<Samples, String> {
        let (folder, endpoint) = (self.folder.clone(), key.endpoint.clone());
        let all = (Hour::of_ms(0), Hour::of_ms(u64::MAX));
        let listing = read_files(move || folder.partitions_of(&endpoint, all.0, all.1));
        let mut samples = Samples::default();
        for partition in listing.await? {
            if partition.key.version != key.version {
                continue;
            }
            let wanted = self.wanted.saturating_sub(samples.usable.len());
            let found = join::samples(store, &self.folder, &partition.key, target, wanted).await?;
            samples.extend(found);
            if samples.is_enough(self.wanted) {
                break;
            }
        }
        Ok(samples)
    }
}
