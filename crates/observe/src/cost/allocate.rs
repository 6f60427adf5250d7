//! What a day costs, and how the cost is divided among models, versions and tenants.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use super::config::{IdleRule, PriceSheet};
use super::day::Day;
use super::ledger::{Segment, UsageInterval};
use super::money::Micros;
use super::usage::{Capacity, CostKey, Usage};

const HOUR_S: f64 = 3600.0;

/// The part of the cost of one model, version and tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// The vCPU time of its runs.
    pub vcpu: Micros,
    /// The memory that it held.
    pub memory: Micros,
    /// Its files.
    pub storage: Micros,
    /// What was sent.
    pub network: Micros,
    /// Its part of what nobody used: vCPUs, memory and GPUs.
    pub idle: Micros,
    /// Its part of licences and monitoring.
    pub fixed: Micros,
}

impl Cost {
    /// All of it.
    pub fn total(self) -> Micros {
        [
            self.vcpu,
            self.memory,
            self.storage,
            self.network,
            self.idle,
            self.fixed,
        ]
        .into_iter()
        .sum()
    }
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        self.vcpu += other.vcpu;
        self.memory += other.memory;
        self.storage += other.storage;
        self.network += other.network;
        self.idle += other.idle;
        self.fixed += other.fixed;
    }
}

/// What a segment costs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bill {
    /// What is to be paid: what was there, was stored, was sent, and is fixed, each rounded once.
    pub total: Micros,
    /// The usage and the cost of each model, version and tenant; the costs add up to `total`.
    pub shares: BTreeMap<CostKey, (Usage, Cost)>,
}

impl Bill {
    /// The bill of a segment of a day.
    pub fn of(day: Day, segment: &Segment) -> Self {
        let prices = &segment.sheet.prices;
        let month_s = day.month_s();
        let vcpu_s = segment.each(|usage| usage.vcpu_s);
        let memory_gb_s = segment.each(|usage| usage.memory_gb_s);
        let storage_gb_s = segment.each(|usage| usage.storage_gb_s);
        let network_gb = segment.each(|usage| usage.network_gb);

        let vcpu = Paid::of(segment.vcpu_s, &vcpu_s, prices.vcpu_hour / HOUR_S);
        let memory = Paid::of(
            segment.memory_gb_s,
            &memory_gb_s,
            prices.memory_gb_hour / HOUR_S,
        );
        // GPUs count as idle whole: their use is not measured by version.
        let gpu = Micros::nearest(segment.gpu_s * prices.gpu_hour / HOUR_S);
        let storage =
            Micros::nearest(storage_gb_s.iter().sum::<f64>() * prices.storage_gb_month / month_s);
        // Not by time, as storage is: what was sent is paid for once.
        let network = Micros::nearest(network_gb.iter().sum::<f64>() * prices.network_gb);
        let idle = vcpu.idle + memory.idle + gpu;
        let fixed = Micros::nearest(
            segment.up_s * (prices.licence_month + prices.monitoring_month) / month_s,
        );

        let mut costs = vec![Cost::default(); segment.used.len()];
        divide(&mut costs, vcpu.used, &vcpu_s, |cost| &mut cost.vcpu);
        divide(&mut costs, memory.used, &memory_gb_s, |cost| {
            &mut cost.memory
        });
        divide(&mut costs, storage, &storage_gb_s, |cost| &mut cost.storage);
        divide(&mut costs, network, &network_gb, |cost| &mut cost.network);
        let unallocated = match idle_weights(segment.sheet.idle, &vcpu_s, &memory_gb_s) {
            Ok(weights) => {
                divide(&mut costs, idle, weights, |cost| &mut cost.idle);
                divide(&mut costs, fixed, weights, |cost| &mut cost.fixed);
                None
            }
            Err(key) => {
                let cost = Cost {
                    idle,
                    fixed,
                    ..Cost::default()
                };
                Some((key, (Usage::default(), cost)))
            }
        };
        let used = segment.used.iter().zip(costs);
        let shares = used.map(|((key, usage), cost)| (key.clone(), (*usage, cost)));
        // The sum of the rounded parts, so that the lines of a bill add up to its total.
        let total = vcpu.used + memory.used + storage + network + idle + fixed;
        Self {
            total,
            shares: shares.chain(unallocated).collect(),
        }
    }

    /// The cost of a model, or of everything.
    pub fn spent_on(&self, model: Option<&str>) -> Micros {
        // All of it, with what no model bears.
        let Some(model) = model else {
            return self.total;
        };
        // The shares are sorted by model first, so those of one model lie together.
        let from = self.shares.range(CostKey::new(model, "", "")..);
        from.take_while(|(key, _)| key.model == model)
            .map(|(_, (_, cost))| cost.total())
            .sum()
    }
}

/// What an interval costs, in the currency's unit: for metrics, which only grow, and so cannot
/// follow a rule about whole days.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IntervalCost {
    /// The cost of usage, in the order of [`UsageInterval::used`].
    pub used: Vec<f64>,
    /// The cost of what nobody used.
    pub idle: f64,
    /// Licences and monitoring.
    pub fixed: f64,
}

impl IntervalCost {
    /// The cost of an interval of a day.
    pub fn of(day: Day, sheet: &PriceSheet, step: &UsageInterval) -> Self {
        let (prices, month_s) = (&sheet.prices, day.month_s());
        let Capacity {
            vcpus,
            memory_gb,
            gpus,
        } = step.capacity;
        let vcpu_s = step.sum(|usage| usage.vcpu_s);
        let memory_gb_s = step.sum(|usage| usage.memory_gb_s);
        let (vcpu_there_s, memory_there_gb_s) = (vcpus * step.seconds, memory_gb * step.seconds);
        let vcpu_price = prices.vcpu_hour / HOUR_S * counted_share(vcpu_s, vcpu_there_s);
        let memory_price =
            prices.memory_gb_hour / HOUR_S * counted_share(memory_gb_s, memory_there_gb_s);
        let mut used = Vec::with_capacity(step.used.len());
        for (_, usage) in &step.used {
            let cost = usage.vcpu_s * vcpu_price
                + usage.memory_gb_s * memory_price
                + usage.storage_gb_s * prices.storage_gb_month / month_s
                + usage.network_gb * prices.network_gb;
            used.push(cost);
        }
        // Prices are per hour: divided once, at the end.
        let idle = (vcpu_there_s - vcpu_s).max(0.0) * prices.vcpu_hour
            + (memory_there_gb_s - memory_gb_s).max(0.0) * prices.memory_gb_hour
            + gpus * step.seconds * prices.gpu_hour;
        Self {
            used,
            idle: idle / HOUR_S,
            fixed: step.seconds * (prices.licence_month + prices.monitoring_month) / month_s,
        }
    }
}

impl Segment {
    /// One figure of each usage, in the order of the keys.
    fn each(&self, figure: fn(&Usage) -> f64) -> Vec<f64> {
        self.used.values().map(figure).collect()
    }
}

impl UsageInterval {
    fn sum(&self, figure: fn(&Usage) -> f64) -> f64 {
        self.used.iter().map(|(_, usage)| figure(usage)).sum()
    }
}

/// The share of a usage that counts where more was measured than there was; see [`Paid::of`].
fn counted_share(used: f64, there: f64) -> f64 {
    if used > there { there / used } else { 1.0 }
}

/// What is paid for by time, whether it is used or not.
struct Paid {
    used: Micros,
    idle: Micros,
}

impl Paid {
    /// What was there, divided into what was used and what was not. Measured usage is cut to what was
    /// there: runs that wait for a processor count as if they had it, and a long run counts when it
    /// ends, so more can be measured than there was.
    fn of(there: f64, used: &[f64], price: f64) -> Self {
        let paid = Micros::nearest(there * price);
        let used = Micros::nearest(used.iter().sum::<f64>().min(there) * price).min(paid);
        Self {
            used,
            idle: paid - used,
        }
    }
}

/// The weights by which idle cost is divided among versions, or the key of the line of its own in
/// which it appears.
fn idle_weights<'a>(
    rule: IdleRule,
    vcpu_s: &'a [f64],
    memory_gb_s: &'a [f64],
) -> Result<&'a [f64], CostKey> {
    match rule {
        IdleRule::Apart => Err(CostKey::idle()),
        IdleRule::ByUse if has_weight(vcpu_s) => Ok(vcpu_s),
        IdleRule::ByUse if has_weight(memory_gb_s) => Ok(memory_gb_s),
        IdleRule::ByUse => Err(CostKey::unallocated()),
    }
}

fn has_weight(weights: &[f64]) -> bool {
    weights.iter().any(|weight| *weight > 0.0)
}

/// Gives each cost its part of an amount, in proportion to the weights.
fn divide(costs: &mut [Cost], amount: Micros, weights: &[f64], part: fn(&mut Cost) -> &mut Micros) {
    for (cost, share) in costs.iter_mut().zip(amount.split(weights)) {
        *part(cost) = share;
    }
}

#[cfg(test)]
mod tests;
