//! The capacity of a server, and what is used of it.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// The tenant of every request that names none.
pub const DEFAULT_TENANT: &str = "default";

/// What a cost belongs to. A model's name cannot begin with `_`: such names stand for the rest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CostKey {
    /// The model.
    pub model: String,
    /// The version's number.
    pub version: String,
    /// The tenant whose requests these are.
    pub tenant: String,
}

impl CostKey {
    /// The key of a version and a tenant.
    pub fn new(model: &str, version: &str, tenant: &str) -> Self {
        Self {
            model: model.to_owned(),
            version: version.to_owned(),
            tenant: tenant.to_owned(),
        }
    }

    /// The key of all versions beyond the maximum that is counted apart.
    pub(super) fn other(tenant: &str) -> Self {
        Self::new("_other", "_other", tenant)
    }

    /// The key of idle cost, where that is shown apart.
    pub(super) fn idle() -> Self {
        Self::new("_idle", "_idle", "_idle")
    }

    /// The key of idle cost while nothing was loaded.
    pub(super) fn unallocated() -> Self {
        Self::new("_unallocated", "_unallocated", "_unallocated")
    }
}

/// What a version used for a tenant. A GB has 10⁹ bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// How long its runs held vCPUs, in vCPU-seconds: the time of each run times its threads.
    pub vcpu_s: f64,
    /// Memory that it held, in GB-seconds.
    pub memory_gb_s: f64,
    /// Files that it had, in GB-seconds.
    pub storage_gb_s: f64,
    /// Bytes of answers, in GB.
    pub network_gb: f64,
    /// Rows answered.
    pub predictions: u64,
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.vcpu_s += other.vcpu_s;
        self.memory_gb_s += other.memory_gb_s;
        self.storage_gb_s += other.storage_gb_s;
        self.network_gb += other.network_gb;
        self.predictions += other.predictions;
    }
}

/// The capacity of a server, used or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Capacity {
    /// vCPUs.
    pub vcpus: f64,
    /// Memory, in GB.
    pub memory_gb: f64,
    /// GPUs.
    pub gpus: f64,
}
