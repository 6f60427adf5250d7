//! Everything that the server measures, said in one place: `/metrics` and the rules of alerts have
//! the same.

use std::path::Path;

use tidegate_serving::{Exposition, Family, Labels, MetricEntry, MetricKind, Metrics, Sample};

use crate::app::App;
use crate::{allocator, gpu, history};

const SIZE: Family<'static> = Family::new(
    "tidegate_data_size_bytes",
    MetricKind::Gauge,
    "Size of the disk that has the data folder",
);
const AVAILABLE: Family<'static> = Family::new(
    "tidegate_data_available_bytes",
    MetricKind::Gauge,
    "What is left for the server of the disk that has the data folder",
);

/// Every metric that `/metrics` has, in the order of the reference.
pub fn metric_catalogue(metrics: &Metrics) -> Vec<MetricEntry> {
    let of_history = history::catalogue();
    let of_disk = [SIZE, AVAILABLE]
        .into_iter()
        .map(|family| MetricEntry::new((family, &[])));
    metrics
        .catalogue()
        .iter()
        .cloned()
        .chain(of_history)
        .chain(of_disk)
        .chain(allocator::catalogue())
        .chain(gpu::catalogue())
        .collect()
}

impl App {
    /// Says every metric, of all requests that were answered before.
    pub(crate) fn expose(&self, out: &mut dyn Exposition) {
        self.refresh_gauges();
        self.serving.metrics().expose(out);
        self.history.expose(self.serving.metrics(), out);
        if let Some(data) = &self.data {
            expose_disk(data, out);
        }
        if let Some(usage) = self.allocator {
            allocator::expose(usage(), out);
        }
        self.gpus.expose(out);
    }
}

/// Says how much room a folder has; nothing where the machine does not tell.
fn expose_disk(folder: &Path, out: &mut dyn Exposition) {
    let Ok(disk) = rustix::fs::statvfs(folder) else {
        return;
    };
    for (family, blocks) in [(SIZE, disk.f_blocks), (AVAILABLE, disk.f_bavail)] {
        out.family(family);
        out.sample(Sample::plain(
            &Labels::default(),
            (blocks * disk.f_frsize) as f64,
        ));
    }
}

#[cfg(test)]
mod tests {
    use tidegate_serving::SeriesValues;

    use super::*;

    #[test]
    fn a_disk_has_room_and_no_more_than_its_size() {
        let mut values = SeriesValues::new(|_: &str| true);
        expose_disk(Path::new("/"), &mut values);
        let values = values.finish();
        let of = |family: Family<'_>| values[family.name][0].1;
        assert!(of(SIZE) >= of(AVAILABLE) && of(SIZE) > 0.0, "{values:?}");
        let mut none = SeriesValues::new(|_: &str| true);
        expose_disk(Path::new("/no/such/folder"), &mut none);
        assert!(none.finish().is_empty());
    }
}
