//! Prices as users write them, under `[cost]` in `tidegate.toml`.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::budget::{Budget, BudgetConfig};

/// The largest number that is accepted for a price, an amount or a size.
const MAX_NUMBER: f64 = 1e9;

/// The `[cost]` section. [`CostConfig::parse`] makes a [`CostPlan`] of it. A price of 0 is none.
///
/// ```
/// use tidegate_observe::cost::CostConfig;
///
/// let mut config = CostConfig { currency: "EUR".into(), ..CostConfig::default() };
/// config.vcpu_hour = 0.04;
/// let plan = config.parse()?.expect("there is a price");
/// assert_eq!(plan.sheet.prices.vcpu_hour, 0.04);
/// config.currency = "euro".into();
/// assert!(config.parse().is_err());
/// # Ok::<(), tidegate_observe::cost::CostError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CostConfig {
    /// The currency of all prices: three capital letters, such as `EUR` (ISO 4217). Without it no
    /// cost is counted.
    pub currency: String,
    /// The price of a vCPU for an hour.
    pub vcpu_hour: f64,
    /// The price of a GB of memory for an hour; a GB has 10⁹ bytes.
    pub memory_gb_hour: f64,
    /// The price of a GPU for an hour.
    pub gpu_hour: f64,
    /// The price of a GB of models' files for a month.
    pub storage_gb_month: f64,
    /// The price of a GB of answers sent.
    pub network_gb: f64,
    /// The price of licences for a month.
    pub licence_month: f64,
    /// The price of this server's share of monitoring for a month.
    pub monitoring_month: f64,
    /// vCPUs that are paid for; 0 means those that the process may use.
    pub vcpus: f64,
    /// Memory that is paid for, in GB; 0 means what the process may use.
    pub memory_gb: f64,
    /// GPUs that are paid for.
    pub gpus: f64,
    /// How idle cost is shared.
    pub idle: IdleRule,
    /// The budgets.
    pub budget: Vec<BudgetConfig>,
}

/// How idle cost and the fixed sums of a month are shared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdleRule {
    /// Divided among the versions in proportion to the vCPU time that they used that day; if none
    /// used any, in proportion to their memory; if none was loaded, not divided.
    #[default]
    ByUse,
    /// Not divided: it is in a separate line.
    Apart,
}

impl IdleRule {
    /// The name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::ByUse => "by-use",
            Self::Apart => "apart",
        }
    }
}

/// The prices that the ledger stores with usage, so that costs stay when prices change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PriceSheet {
    /// The currency of all prices.
    pub currency: String,
    /// The prices.
    pub prices: Prices,
    /// How idle cost is shared.
    pub idle: IdleRule,
}

/// Prices in the currency's unit; see [`CostConfig`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the names are those of the configuration")]
pub struct Prices {
    pub vcpu_hour: f64,
    pub memory_gb_hour: f64,
    pub gpu_hour: f64,
    pub storage_gb_month: f64,
    pub network_gb: f64,
    pub licence_month: f64,
    pub monitoring_month: f64,
}

/// A configuration that has been checked.
#[derive(Clone, Debug, PartialEq)]
pub struct CostPlan {
    /// The prices.
    pub sheet: PriceSheet,
    /// The budgets.
    pub budgets: Vec<Budget>,
    /// vCPUs that are paid for, where they are not measured.
    pub vcpus: Option<f64>,
    /// Memory that is paid for, in GB, where it is not measured.
    pub memory_gb: Option<f64>,
    /// GPUs that are paid for.
    pub gpus: f64,
}

/// What is wrong with prices or budgets.
#[derive(Clone, Debug, PartialEq, Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum CostError {
    #[error("cost.currency is {0:?}, it must be three capital letters such as \"EUR\"")]
    Currency(String),
    #[error("cost.{0} is set but cost.currency is not: set the currency, such as \"EUR\"")]
    NoCurrency(&'static str),
    #[error(
        "cost.currency is set but no price is: set cost.vcpu_hour or another price, or remove the currency"
    )]
    NoPrice,
    #[error("cost.{key} is {value}, it must be a number from 0 to {MAX_NUMBER}")]
    Number { key: &'static str, value: f64 },
    #[error("cost.gpu_hour is set but cost.gpus is not: set the number of GPUs that you pay for")]
    NoGpus,
    #[error("cost.budget \"{name}\": {problem}")]
    Budget { name: String, problem: String },
}

impl CostConfig {
    /// Reads the section; `None` if no cost is to be counted.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(&self) -> Result<Option<CostPlan>, CostError> {
        for (key, value) in self.numbers() {
            if !(0.0..=MAX_NUMBER).contains(&value) {
                return Err(CostError::Number { key, value });
            }
        }
        let priced = self.prices().into_iter().find(|(_, price)| *price > 0.0);
        if self.currency.is_empty() {
            let first = priced
                .map(|(key, _)| key)
                .or((!self.budget.is_empty()).then_some("budget"));
            return first.map_or(Ok(None), |key| Err(CostError::NoCurrency(key)));
        }
        if self.currency.len() != 3 || !self.currency.bytes().all(|byte| byte.is_ascii_uppercase())
        {
            return Err(CostError::Currency(
                self.currency.chars().take(40).collect(),
            ));
        }
        if priced.is_none() {
            return Err(CostError::NoPrice);
        }
        // Refused, since the GPUs would silently cost nothing.
        if self.gpu_hour > 0.0 && self.gpus == 0.0 {
            return Err(CostError::NoGpus);
        }
        Ok(Some(CostPlan {
            sheet: self.sheet(),
            budgets: BudgetConfig::parse_all(&self.budget)?,
            vcpus: above_zero(self.vcpus),
            memory_gb: above_zero(self.memory_gb),
            gpus: self.gpus,
        }))
    }

    fn sheet(&self) -> PriceSheet {
        let prices = Prices {
            vcpu_hour: self.vcpu_hour,
            memory_gb_hour: self.memory_gb_hour,
            gpu_hour: self.gpu_hour,
            storage_gb_month: self.storage_gb_month,
            network_gb: self.network_gb,
            licence_month: self.licence_month,
            monitoring_month: self.monitoring_month,
        };
        PriceSheet {
            currency: self.currency.clone(),
            prices,
            idle: self.idle,
        }
    }

    fn prices(&self) -> [(&'static str, f64); 7] {
        [
            ("vcpu_hour", self.vcpu_hour),
            ("memory_gb_hour", self.memory_gb_hour),
            ("gpu_hour", self.gpu_hour),
            ("storage_gb_month", self.storage_gb_month),
            ("network_gb", self.network_gb),
            ("licence_month", self.licence_month),
            ("monitoring_month", self.monitoring_month),
        ]
    }

    fn numbers(&self) -> impl Iterator<Item = (&'static str, f64)> {
        self.prices().into_iter().chain([
            ("vcpus", self.vcpus),
            ("memory_gb", self.memory_gb),
            ("gpus", self.gpus),
        ])
    }
}

/// 0 stands for a number that is not configured.
fn above_zero(number: f64) -> Option<f64> {
    (number > 0.0).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(toml: &str) -> Result<Option<CostPlan>, String> {
        let config: CostConfig = toml::from_str(toml).map_err(|error| error.to_string())?;
        config.parse().map_err(|error| error.to_string())
    }

    #[test]
    fn without_prices_nothing_is_counted() {
        assert_eq!(read(""), Ok(None));
        assert_eq!(read("vcpus = 2"), Ok(None));
        let plan = read("currency = \"EUR\"\nvcpu_hour = 0.04\nmemory_gb = 8\nidle = \"apart\"")
            .unwrap()
            .unwrap();
        assert_eq!(
            (plan.sheet.prices.vcpu_hour, plan.memory_gb, plan.vcpus),
            (0.04, Some(8.0), None)
        );
        assert_eq!(plan.sheet.idle.name(), "apart");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (toml, reason) in [
            (
                "vcpu_hour = 1",
                "cost.vcpu_hour is set but cost.currency is not",
            ),
            (
                "[[budget]]\nname = \"x\"",
                "cost.budget is set but cost.currency is not",
            ),
            ("currency = \"EUR\"", "no price is"),
            (
                "currency = \"Euro\"\nvcpu_hour = 1",
                "\"Euro\", it must be three capital letters",
            ),
            (
                "currency = \"EUR\"\nvcpu_hour = -1",
                "cost.vcpu_hour is -1, it must be a number from 0",
            ),
            (
                "currency = \"EUR\"\nmemory_gb = nan",
                "cost.memory_gb is NaN",
            ),
            ("currency = \"EUR\"\ngpu_hour = 1", "set the number of GPUs"),
            (
                "currency = \"EUR\"\nvcpu_hours = 1",
                "unknown field `vcpu_hours`",
            ),
            ("idle = \"equally\"", "unknown variant `equally`"),
        ] {
            let error = read(toml).unwrap_err();
            assert!(error.contains(reason), "{toml}: {error}");
        }
    }
}
