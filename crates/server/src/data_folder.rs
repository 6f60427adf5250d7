//! The disk that has the data folder.

use std::path::{Path, PathBuf};

use tidegate_serving::{
    Exposition, Family, Labels, MetricEntry, MetricRegistry, MetricSource, Sample,
};

const SIZE: Family<'static> = Family::gauge(
    "tidegate_data_size_bytes",
    "Size of the disk of the data folder",
);
const AVAILABLE: Family<'static> = Family::gauge(
    "tidegate_data_available_bytes",
    "Space left for the server on the disk of the data folder",
);

/// Measures the disk that has the data folder; exposes nothing without such a folder.
pub(crate) struct DiskMetrics {
    folder: Option<PathBuf>,
}

impl DiskMetrics {
    /// Registers the metrics of the disk that has `folder`, the folder that the process writes to.
    pub(crate) fn register(registry: &MetricRegistry, folder: Option<PathBuf>) {
        registry.add_source(Self { folder });
    }
}

impl MetricSource for DiskMetrics {
    fn entries(&self) -> Vec<MetricEntry> {
        [SIZE, AVAILABLE]
            .map(|family| MetricEntry::new(family, &[]))
            .into()
    }

    fn expose(&self, out: &mut dyn Exposition) {
        if let Some(folder) = &self.folder {
            expose_disk(folder, out);
        }
    }
}

/// Writes the size and the free space of a folder's disk; nothing if they cannot be read.
fn expose_disk(folder: &Path, out: &mut dyn Exposition) {
    let Ok(disk) = rustix::fs::statvfs(folder) else {
        return;
    };
    // Not `f_bfree`: it counts blocks that only root may use.
    for (family, blocks) in [(SIZE, disk.f_blocks), (AVAILABLE, disk.f_bavail)] {
        let bytes = blocks * disk.f_frsize;
        out.family(family);
        out.sample(Sample::plain(&Labels::default(), bytes as f64));
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
