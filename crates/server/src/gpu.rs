//! Metrics of the machine's GPUs, if it has any.

mod nvml;

use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tidegate_serving::{
    Exposition, Family, Labels, MetricEntry, MetricRegistry, MetricSource, Sample,
};
use tracing::debug;

/// How often the driver is asked.
const READ_EVERY: Duration = Duration::from_secs(5);
/// How long a reading is exposed: a driver that hangs must not look like one that works.
const VALID_FOR: Duration = Duration::from_secs(30);

/// The `[gpu]` section.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GpuConfig {
    /// The path of NVIDIA's management library, `libnvidia-ml.so.1`; if absent, the library is
    /// searched where the system searches for libraries.
    pub nvml: Option<PathBuf>,
}

/// The GPUs as last read. A thread of its own reads them, since the driver may block for long.
#[derive(Clone, Default)]
pub(crate) struct Gpus(Arc<Mutex<Reading>>);

/// The report of the driver, and its time.
#[derive(Default)]
struct Reading {
    gpus: Vec<Gpu>,
    at: Option<Instant>,
}

/// One device. What it does not report is absent.
struct Gpu {
    labels: Labels,
    /// Share of the last sample period, 1/6 s to 1 s by device, in which it ran any kernel (NVML,
    /// `nvmlDeviceGetUtilizationRates`).
    utilization_ratio: Option<f64>,
    memory_used_bytes: Option<u64>,
    memory_size_bytes: Option<u64>,
    power_watts: Option<f64>,
    temperature_celsius: Option<u32>,
}

impl Gpus {
    /// Registers the metrics of GPUs and watches the GPUs as long as the registry is there; exposes
    /// nothing without a driver.
    pub(crate) fn watch(config: &GpuConfig, registry: &MetricRegistry) {
        let gpus = Self::default();
        // Weak: the thread ends when the registry, which owns the source, is gone.
        let (reading, config) = (Arc::downgrade(&gpus.0), config.clone());
        let thread = std::thread::Builder::new().name("gpu".to_owned());
        // A server without these figures is better than no server.
        if let Err(error) = thread.spawn(move || watch(&reading, &config)) {
            debug!(%error, "GPUs are not measured: their thread cannot be started");
        }
        registry.add_source(gpus);
    }
}

impl MetricSource for Gpus {
    fn entries(&self) -> Vec<MetricEntry> {
        FIGURES
            .map(|figure| MetricEntry::new(figure.family, &["gpu", "name", "uuid"]))
            .into()
    }

    /// Writes the last reading.
    fn expose(&self, out: &mut dyn Exposition) {
        let reading = self.0.lock();
        if reading.at.is_none_or(|at| at.elapsed() > VALID_FOR) {
            return;
        }
        for Figure { family, value } in FIGURES {
            let values: Vec<_> = reading
                .gpus
                .iter()
                .filter_map(|gpu| Some((&gpu.labels, value(gpu)?)))
                .collect();
            if !values.is_empty() {
                out.family(family);
                values
                    .into_iter()
                    .for_each(|(labels, value)| out.sample(Sample::plain(labels, value)));
            }
        }
    }
}

/// Reads the GPUs again and again, as long as the source is registered.
fn watch(reading: &Weak<Mutex<Reading>>, config: &GpuConfig) {
    // On this thread too, and not while the server starts: loading the driver may take long.
    let Some(driver) = nvml::find(config) else {
        return;
    };
    // Weak, so that the thread ends with its server.
    while let Some(reading) = reading.upgrade() {
        let gpus = nvml::read(&driver);
        *reading.lock() = Reading {
            gpus,
            at: Some(Instant::now()),
        };
        // Before the pause, during which the registry may go.
        drop(reading);
        std::thread::sleep(READ_EVERY);
    }
}

/// A metric of a device.
struct Figure {
    family: Family<'static>,
    value: fn(&Gpu) -> Option<f64>,
}

const FIGURES: [Figure; 5] = [
    Figure {
        family: Family::gauge(
            "tidegate_gpu_utilization_ratio",
            "Share of recent time in which the GPU was busy",
        ),
        value: |gpu| gpu.utilization_ratio,
    },
    Figure {
        family: Family::gauge(
            "tidegate_gpu_memory_used_bytes",
            "Memory of the GPU that is in use, by any process",
        ),
        value: |gpu| gpu.memory_used_bytes.map(|bytes| bytes as f64),
    },
    Figure {
        family: Family::gauge("tidegate_gpu_memory_size_bytes", "Memory that the GPU has"),
        value: |gpu| gpu.memory_size_bytes.map(|bytes| bytes as f64),
    },
    Figure {
        family: Family::gauge("tidegate_gpu_power_watts", "Power that the GPU draws"),
        value: |gpu| gpu.power_watts,
    },
    Figure {
        family: Family::gauge(
            "tidegate_gpu_temperature_celsius",
            "Temperature of the GPU's chip",
        ),
        value: |gpu| gpu.temperature_celsius.map(f64::from),
    },
];

#[cfg(test)]
mod tests {
    use tidegate_serving::SeriesValues;

    use super::*;

    fn gpus(at: Instant) -> Gpus {
        let gpu = Gpu {
            labels: Labels::new([("gpu", "0"), ("name", "Tiny"), ("uuid", "GPU-1")]),
            utilization_ratio: Some(0.25),
            memory_used_bytes: Some(1),
            memory_size_bytes: Some(2),
            power_watts: None,
            temperature_celsius: Some(40),
        };
        Gpus(Arc::new(Mutex::new(Reading {
            gpus: vec![gpu],
            at: Some(at),
        })))
    }

    #[test]
    fn what_a_device_does_not_report_has_no_series() {
        let mut values = SeriesValues::new(|_: &str| true);
        gpus(Instant::now()).expose(&mut values);
        let values = values.finish();
        assert_eq!(values["tidegate_gpu_temperature_celsius"][0].1, 40.0);
        assert_eq!(
            values["tidegate_gpu_utilization_ratio"][0].0["uuid"],
            "GPU-1"
        );
        assert!(
            !values.contains_key("tidegate_gpu_power_watts"),
            "{values:?}"
        );
    }

    #[test]
    fn readings_of_a_driver_that_hangs_expire() {
        let Some(before) = Instant::now().checked_sub(VALID_FOR * 2) else {
            return;
        };
        for none in [gpus(before), Gpus::default()] {
            let mut values = SeriesValues::new(|_: &str| true);
            none.expose(&mut values);
            assert!(values.finish().is_empty());
        }
    }
}
