//! NVIDIA's GPUs, through the driver's management library (NVML), which is loaded at run time if it
//! is installed.

use nvml_wrapper::enum_wrappers::device::TemperatureSensor;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};
use tidegate_serving::Labels;
use tracing::{debug, info, warn};

use super::{Gpu, GpuConfig};

/// The driver; `None` if there is none. A warning is logged only for a configured library: most
/// machines have no GPU.
pub(super) fn find(config: &GpuConfig) -> Option<Nvml> {
    let found = match &config.nvml {
        None => Nvml::init(),
        Some(library) => Nvml::builder().lib_path(library.as_os_str()).init(),
    };
    match (found.and_then(with_count), &config.nvml) {
        (Ok((_, 0)), _) => None,
        (Ok((driver, gpus)), _) => {
            info!(gpus, "GPUs found");
            Some(driver)
        }
        (Err(error), None) => {
            debug!(%error, "no GPU is measured");
            None
        }
        (Err(error), Some(library)) => {
            warn!(%error, library = %library.display(), "gpu.nvml cannot be used: no GPU is measured");
            None
        }
    }
}

fn with_count(driver: Nvml) -> Result<(Nvml, u32), NvmlError> {
    let count = driver.device_count()?;
    Ok((driver, count))
}

/// Reads every device that answers.
pub(super) fn read(driver: &Nvml) -> Vec<Gpu> {
    // A device that has failed gives errors; the others are read all the same.
    let count = driver.device_count().unwrap_or(0);
    (0..count)
        .filter_map(|index| {
            driver
                .device_by_index(index)
                .ok()
                .map(|device| gpu(index, &device))
        })
        .collect()
}

/// Devices differ in what they report; a virtual one reports little.
fn gpu(index: u32, device: &Device<'_>) -> Gpu {
    let memory = device.memory_info().ok();
    Gpu {
        labels: Labels::new([
            ("gpu", index.to_string()),
            ("name", device.name().unwrap_or_default()),
            ("uuid", device.uuid().unwrap_or_default()),
        ]),
        utilization_ratio: device
            .utilization_rates()
            .ok()
            .map(|rates| f64::from(rates.gpu) / 100.0),
        memory_used_bytes: memory.as_ref().map(|memory| memory.used),
        memory_size_bytes: memory.as_ref().map(|memory| memory.total),
        power_watts: device
            .power_usage()
            .ok()
            .map(|milliwatts| f64::from(milliwatts) / 1000.0),
        temperature_celsius: device.temperature(TemperatureSensor::Gpu).ok(),
    }
}
