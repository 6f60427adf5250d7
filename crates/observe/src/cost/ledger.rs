//! What was used, by day.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::config::PriceSheet;
use super::day::Day;
use super::usage::{Capacity, CostKey, Usage};

/// Days that are remembered.
const MAX_DAYS: usize = 400;
/// Maximum number of price changes in a day; later ones count with the last.
const MAX_SEGMENTS: usize = 24;
/// Most versions and tenants that are counted apart in a segment.
const MAX_KEYS: usize = 500;
/// Most versions and tenants of all days together that are counted apart: some 8 MB of a file.
const MAX_ROWS: usize = 50_000;

/// What was used and paid for, by day, for the last 400 days. Serializable.
///
/// ```
/// use tidegate_observe::cost::{
///     Capacity, CostConfig, CostKey, Day, GroupBy, Ledger, Usage, UsageInterval,
/// };
///
/// let config = CostConfig {
///     currency: "EUR".into(),
///     vcpu_hour: 1.0,
///     ..CostConfig::default()
/// };
/// let plan = config.parse()?.expect("there is a price");
/// let usage = Usage { vcpu_s: 1800.0, predictions: 1000, ..Usage::default() };
/// let hour = UsageInterval {
///     seconds: 3600.0,
///     capacity: Capacity { vcpus: 1.0, ..Capacity::default() },
///     used: vec![(CostKey::new("fraud", "7", "default"), usage)],
/// };
/// let day: Day = "2026-11-25".parse().expect("it is a day");
/// let mut ledger = Ledger::default();
/// ledger.add(day, &plan.sheet, hour);
///
/// let report = ledger.report("EUR", day, day, GroupBy::default());
/// assert_eq!(report.total.to_string(), "1.000000");
/// // The other half hour was idle. It is shared by use, and only this version was used.
/// assert_eq!(report.rows[0].cost.idle.to_string(), "0.500000");
/// # Ok::<(), tidegate_observe::cost::CostError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    days: BTreeMap<Day, Vec<Segment>>,
}

/// What was used in a day while the same prices held.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// The prices.
    pub sheet: PriceSheet,
    /// How long the server ran, in seconds.
    pub up_s: f64,
    /// vCPU-seconds that were paid for.
    pub vcpu_s: f64,
    /// GB-seconds of memory that were paid for.
    pub memory_gb_s: f64,
    /// GPU-seconds that were paid for.
    pub gpu_s: f64,
    /// What was used of it.
    #[serde(with = "rows")]
    pub used: BTreeMap<CostKey, Usage>,
}

/// What was used in an interval.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UsageInterval {
    /// How long it was, in seconds.
    pub seconds: f64,
    /// What the server had.
    pub capacity: Capacity,
    /// What was used of it.
    pub used: Vec<(CostKey, Usage)>,
}

impl Ledger {
    /// Adds an interval of a day.
    pub fn add(&mut self, day: Day, sheet: &PriceSheet, step: UsageInterval) {
        let segments = self.days.entry(day).or_default();
        let at = segments
            .iter()
            .position(|segment| segment.sheet == *sheet)
            .unwrap_or_else(|| {
                if segments.len() < MAX_SEGMENTS {
                    segments.push(Segment::new(sheet));
                }
                // Too many price changes in one day: counted at the last prices rather than lost.
                segments.len() - 1
            });
        segments[at].add(step);
        self.forget();
    }

    /// The segments of some days, both of which belong to them.
    pub fn between(&self, from: Day, to: Day) -> impl Iterator<Item = (Day, &Segment)> {
        let days = (from <= to).then(|| self.days.range(from..=to));
        days.into_iter()
            .flatten()
            .flat_map(|(day, segments)| segments.iter().map(|segment| (*day, segment)))
    }

    /// The first day that is remembered.
    pub fn first_day(&self) -> Option<Day> {
        self.days.keys().next().copied()
    }

    /// Bounds the file that the ledger is written to.
    fn forget(&mut self) {
        while self.days.len() > MAX_DAYS {
            self.days.pop_first();
        }
        let mut all: usize = self.days.values().map(|day| row_count(day)).sum();
        // The oldest days lose their detail first; their usage as a whole stays.
        for segments in self.days.values_mut() {
            if all <= MAX_ROWS {
                return;
            }
            all -= row_count(segments);
            segments.iter_mut().for_each(Segment::fold);
            all += row_count(segments);
        }
    }
}

fn row_count(segments: &[Segment]) -> usize {
    segments.iter().map(|segment| segment.used.len()).sum()
}

impl Segment {
    fn new(sheet: &PriceSheet) -> Self {
        Self {
            sheet: sheet.clone(),
            up_s: 0.0,
            vcpu_s: 0.0,
            memory_gb_s: 0.0,
            gpu_s: 0.0,
            used: BTreeMap::new(),
        }
    }

    fn add(&mut self, step: UsageInterval) {
        let UsageInterval {
            seconds,
            capacity,
            used,
        } = step;
        self.up_s += seconds;
        self.vcpu_s += capacity.vcpus * seconds;
        self.memory_gb_s += capacity.memory_gb * seconds;
        self.gpu_s += capacity.gpus * seconds;
        for (key, usage) in used {
            let is_full = self.used.len() >= MAX_KEYS && !self.used.contains_key(&key);
            let key = if is_full {
                CostKey::other(&key.tenant)
            } else {
                key
            };
            *self.used.entry(key).or_default() += usage;
        }
    }

    /// Merges all versions of a tenant into one row.
    fn fold(&mut self) {
        for (key, usage) in std::mem::take(&mut self.used) {
            *self.used.entry(CostKey::other(&key.tenant)).or_default() += usage;
        }
    }
}

/// A map as a list of rows, because keys of JSON objects must be texts.
mod rows {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{CostKey, Usage};

    #[derive(Serialize, Deserialize)]
    struct Row<K, U> {
        #[serde(flatten)]
        key: K,
        #[serde(flatten)]
        usage: U,
    }

    pub(super) fn serialize<S: Serializer>(
        used: &BTreeMap<CostKey, Usage>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(used.iter().map(|(key, usage)| Row { key, usage }))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<CostKey, Usage>, D::Error> {
        let rows: Vec<Row<CostKey, Usage>> = Vec::deserialize(deserializer)?;
        Ok(rows.into_iter().map(|row| (row.key, row.usage)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: u64 = 86_400_000;

    fn sheet(vcpu_hour: f64) -> PriceSheet {
        let mut sheet = PriceSheet {
            currency: "EUR".to_owned(),
            ..PriceSheet::default()
        };
        sheet.prices.vcpu_hour = vcpu_hour;
        sheet
    }

    fn step(model: &str) -> UsageInterval {
        let capacity = Capacity {
            vcpus: 2.0,
            memory_gb: 4.0,
            gpus: 0.0,
        };
        let usage = Usage {
            vcpu_s: 1.0,
            memory_gb_s: 0.1,
            predictions: 3,
            ..Usage::default()
        };
        UsageInterval {
            seconds: 5.0,
            capacity,
            used: vec![(CostKey::new(model, "1", DEFAULT), usage)],
        }
    }

    const DEFAULT: &str = crate::cost::DEFAULT_TENANT;

    #[test]
    fn intervals_add_up_and_other_prices_begin_anew() {
        let (mut ledger, day) = (Ledger::default(), Day::of_ms(0));
        for price in [1.0, 1.0, 2.0, 1.0] {
            ledger.add(day, &sheet(price), step("a"));
        }
        let segments: Vec<_> = ledger
            .between(day, day)
            .map(|(_, segment)| segment)
            .collect();
        assert_eq!(
            segments
                .iter()
                .map(|segment| segment.up_s)
                .collect::<Vec<_>>(),
            [15.0, 5.0]
        );
        assert_eq!((segments[0].vcpu_s, segments[0].memory_gb_s), (30.0, 60.0));
        assert_eq!(
            segments[0].used[&CostKey::new("a", "1", DEFAULT)].predictions,
            9
        );
        assert_eq!(
            ledger.between(Day::of_ms(DAY_MS), day).count(),
            0,
            "no days between later and earlier"
        );
        let read: Ledger = serde_json::from_str(&serde_json::to_string(&ledger).unwrap()).unwrap();
        assert_eq!(read, ledger);
    }

    #[test]
    fn days_versions_and_changes_of_prices_are_bounded_and_nothing_of_a_day_is_lost() {
        let mut ledger = Ledger::default();
        let used: Vec<_> = (0..600)
            .flat_map(|model| step(&format!("m{model}")).used)
            .collect();
        for day in 0..410 {
            ledger.add(
                Day::of_ms(day * DAY_MS),
                &sheet(1.0),
                UsageInterval {
                    used: used.clone(),
                    ..step("m0")
                },
            );
        }
        assert_eq!(
            (ledger.days.len(), ledger.first_day()),
            (400, Some(Day::of_ms(10 * DAY_MS)))
        );
        let of = |day: u64| {
            ledger
                .between(Day::of_ms(day * DAY_MS), Day::of_ms(day * DAY_MS))
                .next()
                .unwrap()
                .1
        };
        assert_eq!(
            (of(409).used.len(), of(10).used.len()),
            (501, 1),
            "the oldest days are folded"
        );
        for day in [10, 409] {
            assert_eq!(
                of(day)
                    .used
                    .values()
                    .map(|usage| usage.predictions)
                    .sum::<u64>(),
                1800
            );
        }
        for price in 0..40 {
            ledger.add(
                Day::of_ms(500 * DAY_MS),
                &sheet(f64::from(price)),
                step("a"),
            );
        }
        let day = Day::of_ms(500 * DAY_MS);
        assert_eq!(ledger.between(day, day).count(), MAX_SEGMENTS);
        assert_eq!(
            ledger
                .between(day, day)
                .map(|(_, segment)| segment.up_s)
                .sum::<f64>(),
            200.0
        );
    }
}
