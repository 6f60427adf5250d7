//! The usage of versions since the last sample.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use tidegate_observe::cost::{CostKey, DEFAULT_TENANT, Usage};
use tidegate_serving::{MeterReading, Serving, VersionMeter};

use super::BYTES_PER_GB;

/// A model and a version of it.
type Name = (String, String);

/// Samples the usage of versions.
pub(super) struct Sampler {
    last: Instant,
    meters: HashMap<usize, Metered>,
}

/// A version that is loaded, or was and still answers.
struct Metered {
    meter: VersionMeter,
    seen: MeterReading,
    /// The threads that each of its runs keeps busy.
    threads: usize,
}

/// The usage since the last sample.
pub(super) struct Sampled {
    pub(super) seconds: f64,
    pub(super) used: Vec<(CostKey, Usage)>,
    /// Versions that will use nothing any more.
    pub(super) gone: Vec<Name>,
}

impl Sampler {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            last: now,
            meters: HashMap::new(),
        }
    }

    /// Samples every version that is loaded, and those that were unloaded since the last sample.
    pub(super) fn sample(&mut self, serving: &Serving, now: Instant) -> Sampled {
        let seconds = now.saturating_duration_since(self.last).as_secs_f64();
        self.last = now;
        // Meters are fed from observations, some of which may still wait in their queues.
        serving.metrics().observations().drain();
        let mut used = BTreeMap::<Name, Usage>::new();
        let mut threads = HashMap::<Name, usize>::new();
        for model in serving.models().all() {
            for version in model.versions() {
                let name = (version.model().to_owned(), version.number().to_owned());
                let usage = used.entry(name.clone()).or_default();
                usage.memory_gb_s += version.memory_bytes() as f64 / BYTES_PER_GB * seconds;
                usage.storage_gb_s += version.file_bytes() as f64 / BYTES_PER_GB * seconds;
                threads.insert(name, version.threads());
            }
        }
        self.add_meters(serving);
        for metered in self.meters.values_mut() {
            let name = metered.name();
            // A version that was unloaded but still answers has the threads that it had.
            metered.threads = threads.get(&name).copied().unwrap_or(metered.threads);
            *used.entry(name).or_default() += metered.advance();
        }
        used.retain(|_, usage| *usage != Usage::default());
        Sampled {
            seconds,
            used: used.into_iter().map(keyed).collect(),
            gone: self.remove_unloaded(&threads),
        }
    }

    /// Adds the meters of versions that were loaded since.
    fn add_meters(&mut self, serving: &Serving) {
        for meter in serving.metrics().meters() {
            self.meters.entry(meter.id()).or_insert_with(|| Metered {
                seen: MeterReading::default(),
                threads: 1,
                meter,
            });
        }
    }

    /// Removes the meters of versions that use nothing any more, and names those of them whose
    /// version was not loaded again.
    fn remove_unloaded(&mut self, loaded: &HashMap<Name, usize>) -> Vec<Name> {
        let over = self.meters.extract_if(|_, metered| metered.meter.is_over());
        over.map(|(_, metered)| metered.name())
            .filter(|name| !loaded.contains_key(name))
            .collect()
    }
}

fn keyed(((model, version), usage): (Name, Usage)) -> (CostKey, Usage) {
    (CostKey::new(&model, &version, DEFAULT_TENANT), usage)
}

impl Metered {
    fn name(&self) -> Name {
        let (model, version) = self.meter.names();
        (model.to_string(), version.to_string())
    }

    /// The usage since the last sample.
    fn advance(&mut self) -> Usage {
        let (now, seen) = (self.meter.read(), self.seen);
        self.seen = now;
        Usage {
            vcpu_s: now.busy.saturating_sub(seen.busy).as_secs_f64() * self.threads as f64,
            network_gb: now.sent_bytes.saturating_sub(seen.sent_bytes) as f64 / BYTES_PER_GB,
            predictions: now.rows.saturating_sub(seen.rows),
            ..Usage::default()
        }
    }
}
