//! The costs of some days, grouped by day, model, version or tenant.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::allocate::{Bill, Cost};
use super::day::Day;
use super::ledger::Ledger;
use super::money::Micros;
use super::usage::{CostKey, Usage};

/// What a report groups costs by. Written `"day,version,tenant"`; `version` includes the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GroupBy {
    day: bool,
    model: bool,
    version: bool,
    tenant: bool,
}

impl Default for GroupBy {
    fn default() -> Self {
        Self {
            day: false,
            model: true,
            version: true,
            tenant: false,
        }
    }
}

/// The costs of some days.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The currency of all amounts.
    pub currency: String,
    /// The first day.
    pub from: Day,
    /// The last day.
    pub to: Day,
    /// What costs are grouped by.
    pub by: GroupBy,
    /// The sum of the rows.
    pub total: Micros,
    /// Rows answered.
    pub predictions: u64,
    /// The cost of a thousand of them; `None` if there were none.
    pub per_1000_predictions: Option<f64>,
    /// How long the server ran in these days, in seconds.
    pub up_s: f64,
    /// The rows, sorted by the fields of the grouping.
    pub rows: Vec<ReportRow>,
    /// Other currencies in which costs of these days were counted; those costs are not included.
    pub other_currencies: Vec<String>,
}

/// A line of a report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReportRow {
    /// The day, if the report is grouped by day; the next fields likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub day: Option<Day>,
    /// The model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The version's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The tenant whose requests these are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The usage.
    #[serde(flatten)]
    pub usage: Usage,
    /// The cost by part.
    pub cost: Cost,
    /// The sum of the parts.
    pub total: Micros,
    /// The cost of a thousand predictions, in the currency's unit; `None` if there were none.
    pub per_1000_predictions: Option<f64>,
}

/// What a row is grouped by. The length before a version's number sorts version 10 behind version 9.
type RowKey = (
    Option<Day>,
    Option<String>,
    Option<(usize, String)>,
    Option<String>,
);

impl Ledger {
    /// The costs in a currency from one day to another, both included.
    pub fn report(&self, currency: &str, from: Day, to: Day, by: GroupBy) -> Report {
        let mut rows = BTreeMap::<RowKey, (Usage, Cost)>::new();
        let (mut total, mut up_s, mut others) = (Micros::default(), 0.0, BTreeSet::new());
        for (day, segment) in self.between(from, to) {
            // Amounts in two currencies cannot be added up: the others are only named.
            if segment.sheet.currency != currency {
                others.insert(segment.sheet.currency.clone());
                continue;
            }
            up_s += segment.up_s;
            let bill = Bill::of(day, segment);
            total += bill.total;
            for (key, (usage, cost)) in bill.shares {
                let row = rows.entry(by.key(day, key)).or_default();
                row.0 += usage;
                row.1 += cost;
            }
        }
        let predictions: u64 = rows.values().map(|(usage, _)| usage.predictions).sum();
        let rows = rows
            .into_iter()
            .map(|(key, (usage, cost))| ReportRow::new(key, usage, cost))
            .collect();
        let (currency, other_currencies) = (currency.to_owned(), others.into_iter().collect());
        let per_1000_predictions = per_1000(total, predictions);
        Report {
            currency,
            from,
            to,
            by,
            total,
            predictions,
            per_1000_predictions,
            up_s,
            rows,
            other_currencies,
        }
    }
}

impl ReportRow {
    fn new((day, model, version, tenant): RowKey, usage: Usage, cost: Cost) -> Self {
        let (total, version) = (cost.total(), version.map(|(_, version)| version));
        Self {
            day,
            model,
            version,
            tenant,
            usage,
            cost,
            total,
            per_1000_predictions: per_1000(total, usage.predictions),
        }
    }
}

fn per_1000(total: Micros, predictions: u64) -> Option<f64> {
    (predictions > 0).then(|| total.units() * 1000.0 / predictions as f64)
}

impl GroupBy {
    fn key(self, day: Day, key: CostKey) -> RowKey {
        let CostKey {
            model,
            version,
            tenant,
        } = key;
        (
            self.day.then_some(day),
            self.model.then_some(model),
            self.version.then_some((version.len(), version)),
            self.tenant.then_some(tenant),
        )
    }
}

impl GroupBy {
    /// The names of the fields that costs are grouped by, in the order of rows.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let all = [
            (self.day, "day"),
            (self.model, "model"),
            (self.version, "version"),
            (self.tenant, "tenant"),
        ];
        all.into_iter()
            .filter_map(|(is_grouped, name)| is_grouped.then_some(name))
    }
}

impl FromStr for GroupBy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut by = Self {
            day: false,
            model: false,
            version: false,
            tenant: false,
        };
        for word in text
            .split(',')
            .map(str::trim)
            .filter(|word| !word.is_empty())
        {
            match word {
                "day" => by.day = true,
                "model" => by.model = true,
                // Version 3 of two models would be one row otherwise.
                "version" => (by.model, by.version) = (true, true),
                "tenant" => by.tenant = true,
                other => {
                    // Bounded: the text may come from a URL.
                    let other: String = other.chars().take(40).collect();
                    return Err(format!(
                        "costs are grouped by day, model, version or tenant, not by {other:?}"
                    ));
                }
            }
        }
        Ok(by)
    }
}

impl fmt::Display for GroupBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `version` implies the model, so the model is not written beside it.
        let words = Self {
            model: self.model && !self.version,
            ..*self
        }
        .names();
        f.write_str(&words.collect::<Vec<&str>>().join(","))
    }
}

impl TryFrom<String> for GroupBy {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<GroupBy> for String {
    fn from(by: GroupBy) -> Self {
        by.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::{Capacity, PriceSheet, UsageInterval};

    fn ledger() -> Ledger {
        let mut sheet = PriceSheet {
            currency: "EUR".to_owned(),
            ..PriceSheet::default()
        };
        sheet.prices.vcpu_hour = 3.6;
        let dollars = PriceSheet {
            currency: "USD".to_owned(),
            ..sheet.clone()
        };
        let mut ledger = Ledger::default();
        for (day, version, tenant, vcpu_s) in [
            ("2026-11-01", "10", "x", 1.0),
            ("2026-11-01", "9", "x", 3.0),
            ("2026-11-02", "9", "y", 2.0),
        ] {
            let usage = Usage {
                vcpu_s,
                predictions: 500,
                ..Usage::default()
            };
            let capacity = Capacity {
                vcpus: 1.0,
                ..Capacity::default()
            };
            let step = UsageInterval {
                seconds: 5.0,
                capacity,
                used: vec![(CostKey::new("a", version, tenant), usage)],
            };
            ledger.add(day.parse().unwrap(), &sheet, step.clone());
            ledger.add(day.parse().unwrap(), &dollars, step);
        }
        ledger
    }

    fn report(by: &str) -> Report {
        ledger().report(
            "EUR",
            "2026-11-01".parse().unwrap(),
            "2026-11-30".parse().unwrap(),
            by.parse().unwrap(),
        )
    }

    #[test]
    fn every_division_has_the_same_sum() {
        for (by, count) in [
            ("", 1),
            ("day", 2),
            ("version", 2),
            ("model", 1),
            ("tenant,day", 2),
            ("tenant", 2),
        ] {
            let report = report(by);
            assert_eq!(
                (report.rows.len(), report.total, report.predictions),
                (count, Micros(15_000), 1500),
                "{by}"
            );
            assert_eq!(
                report.rows.iter().map(|row| row.total).sum::<Micros>(),
                report.total,
                "{by}"
            );
            assert_eq!(report.other_currencies, ["USD"]);
            let read: Report =
                serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
            assert_eq!(read, report);
        }
    }

    #[test]
    fn a_version_bears_what_it_used_and_its_part_of_what_nobody_did() {
        let report = report("version");
        let rows: Vec<_> = report
            .rows
            .iter()
            .map(|row| (row.version.as_deref().unwrap(), row.total))
            .collect();
        // On the first, 10 s were paid for and 4 used, a quarter of them by 10; on the second, 5 s
        // are all of 9's.
        assert_eq!(rows, [("9", Micros(12_500)), ("10", Micros(2500))]);
        assert_eq!(report.rows[1].per_1000_predictions, Some(0.005));
        assert_eq!(report.per_1000_predictions, Some(0.01));
    }

    #[test]
    fn divisions_are_read_as_they_are_written() {
        assert_eq!(
            "model, version".parse::<GroupBy>().unwrap(),
            GroupBy::default()
        );
        for text in ["", "day", "model", "version", "day,version,tenant"] {
            assert_eq!(text.parse::<GroupBy>().unwrap().to_string(), text);
        }
        assert!(
            "hour"
                .parse::<GroupBy>()
                .unwrap_err()
                .contains("not by \"hour\"")
        );
    }
}
