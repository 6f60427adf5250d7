//! What may be spent in a day or a month, and how far it is used up.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use tidegate_core::ModelName;

use super::allocate::Bill;
use super::config::CostError;
use super::day::Day;
use super::ledger::Ledger;
use super::money::Micros;

// These bound the series of the metrics and the alerts that budgets make.
const MAX_BUDGETS: usize = 100;
const MAX_NAME: usize = 63;
const MAX_ALERTS: usize = 10;
const MAX_SHARE: f64 = 100.0;
/// As an amount of millionths it still fits in 64 bits.
const MAX_AMOUNT: f64 = 1e12;

/// A section `[[cost.budget]]`.
///
/// ```
/// use tidegate_observe::cost::{BudgetConfig, CostConfig};
///
/// let budget = BudgetConfig { name: "fraud".into(), amount: 200.0, ..BudgetConfig::default() };
/// let config = CostConfig {
///     currency: "EUR".into(),
///     vcpu_hour: 0.04,
///     budget: vec![budget],
///     ..CostConfig::default()
/// };
/// let plan = config.parse()?.expect("there is a price");
/// assert_eq!(plan.budgets[0].amount.to_string(), "200.000000");
/// assert_eq!(plan.budgets[0].alert_at, [0.8, 1.0]);
/// # Ok::<(), tidegate_observe::cost::CostError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BudgetConfig {
    /// Its name, unique among the budgets: up to 63 letters, digits, `-` and `_`. Required.
    pub name: String,
    /// The model whose cost counts; if absent, all costs of the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// How much may be spent, in the currency's unit. Required.
    pub amount: f64,
    /// The period: `day` or `month`, in UTC.
    pub per: BudgetPeriod,
    /// The shares of the amount at which an alert fires, such as `[0.8, 1.0]`.
    pub alert_at: Vec<f64>,
}

impl Default for BudgetConfig {
    fn default() -> Self {
        let (name, per, alert_at) = (String::new(), BudgetPeriod::default(), vec![0.8, 1.0]);
        Self {
            name,
            model: None,
            amount: 0.0,
            per,
            alert_at,
        }
    }
}

/// The period of a budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum BudgetPeriod {
    Day,
    #[default]
    Month,
}

impl BudgetPeriod {
    /// The name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Month => "month",
        }
    }

    /// The first day of the period that a day lies in.
    pub fn first_day(self, today: Day) -> Day {
        match self {
            Self::Day => today,
            Self::Month => today.first_of_month(),
        }
    }
}

/// A budget that has been checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    /// Its name.
    pub name: String,
    /// The model whose cost counts; `None` for all costs of the server.
    pub model: Option<String>,
    /// How much may be spent.
    pub amount: Micros,
    /// The period.
    pub per: BudgetPeriod,
    /// The shares at which an alert fires, ascending.
    pub alert_at: Vec<f64>,
}

/// How far a budget is used up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BudgetStatus<'a> {
    /// The budget.
    pub budget: &'a Budget,
    /// The first day that counts.
    pub since: Day,
    /// The amount spent since then.
    pub spent: Micros,
}

impl BudgetStatus<'_> {
    /// The share of the amount that was spent.
    pub fn used_ratio(&self) -> f64 {
        self.spent.units() / self.budget.amount.units()
    }

    /// The shares at which an alert fires, and whether they are reached.
    pub fn alerts(&self) -> impl Iterator<Item = (f64, bool)> {
        let used = self.used_ratio();
        self.budget
            .alert_at
            .iter()
            .map(move |share| (*share, used >= *share))
    }
}

impl BudgetConfig {
    pub(super) fn parse_all(budgets: &[Self]) -> Result<Vec<Budget>, CostError> {
        let mut names = BTreeSet::new();
        let mut parsed = Vec::with_capacity(budgets.len());
        for budget in budgets {
            if !names.insert(budget.name.clone()) {
                return Err(budget.error("another budget has this name".to_owned()));
            }
            if names.len() > MAX_BUDGETS {
                let problem = format!("there are more than {MAX_BUDGETS} budgets");
                return Err(budget.error(problem));
            }
            parsed.push(budget.parse().map_err(|problem| budget.error(problem))?);
        }
        Ok(parsed)
    }

    /// The name has not been checked yet: it may be of any length.
    fn error(&self, problem: String) -> CostError {
        CostError::Budget {
            name: self.name.chars().take(80).collect(),
            problem,
        }
    }

    fn parse(&self) -> Result<Budget, String> {
        if !(1..=MAX_NAME).contains(&self.name.len()) || !self.name.chars().all(is_allowed) {
            return Err(format!(
                "name must be 1 to {MAX_NAME} letters, digits, \"-\" and \"_\""
            ));
        }
        if let Some(model) = &self.model {
            model
                .parse::<ModelName>()
                .map_err(|error| format!("model: {error}"))?;
        }
        // Written so that NaN, which is neither larger nor smaller, is refused too.
        let amount = Micros::nearest(self.amount);
        if !(self.amount <= MAX_AMOUNT && amount > Micros::default()) {
            return Err(format!(
                "amount is {}, it must be at least 0.000001 and at most {MAX_AMOUNT}",
                self.amount
            ));
        }
        Ok(Budget {
            name: self.name.clone(),
            model: self.model.clone(),
            amount,
            per: self.per,
            alert_at: self.parse_alert_at()?,
        })
    }

    fn parse_alert_at(&self) -> Result<Vec<f64>, String> {
        if self.alert_at.len() > MAX_ALERTS {
            return Err(format!(
                "alert_at has {} shares, the maximum is {MAX_ALERTS}",
                self.alert_at.len()
            ));
        }
        for share in &self.alert_at {
            if !(*share > 0.0 && *share <= MAX_SHARE) {
                return Err(format!(
                    "alert_at has {share}, a share must be above 0 and at most {MAX_SHARE}"
                ));
            }
        }
        let mut alert_at = self.alert_at.clone();
        // Each share becomes a series and an alert, so two that are equal would clash.
        alert_at.sort_by(f64::total_cmp);
        alert_at.dedup();
        Ok(alert_at)
    }
}

fn is_allowed(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '-' || letter == '_'
}

impl Ledger {
    /// How far budgets in a currency are used up, on the last of the days that count.
    pub fn budgets<'a>(
        &self,
        budgets: &'a [Budget],
        currency: &str,
        today: Day,
    ) -> Vec<BudgetStatus<'a>> {
        let since = budgets
            .iter()
            .map(|budget| budget.per.first_day(today))
            .min();
        let segments = since
            .into_iter()
            .flat_map(|since| self.between(since, today));
        // Amounts in two currencies cannot be added up.
        let segments = segments.filter(|(_, segment)| segment.sheet.currency == currency);
        // Made once: several budgets count the same days.
        let bills: Vec<(Day, Bill)> = segments
            .map(|(day, segment)| (day, Bill::of(day, segment)))
            .collect();
        let mut statuses = Vec::with_capacity(budgets.len());
        for budget in budgets {
            let since = budget.per.first_day(today);
            let counted = bills.iter().filter(|(day, _)| *day >= since);
            let spent = counted
                .map(|(_, bill)| bill.spent_on(budget.model.as_deref()))
                .sum();
            statuses.push(BudgetStatus {
                budget,
                since,
                spent,
            });
        }
        statuses
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::{Capacity, CostConfig, CostKey, PriceSheet, Usage, UsageInterval};

    fn plan(toml: &str) -> Result<Vec<Budget>, String> {
        let config: CostConfig = toml::from_str(toml).map_err(|error| error.to_string())?;
        config
            .parse()
            .map(|plan| plan.unwrap().budgets)
            .map_err(|error| error.to_string())
    }

    const PRICES: &str = "currency = \"EUR\"\nvcpu_hour = 3.6\n";

    #[test]
    fn what_was_spent_is_that_of_its_day_or_month_and_model() {
        let budgets = plan(&format!(
            "{PRICES}[[budget]]\nname = \"all\"\namount = 1\n\
             [[budget]]\nname = \"a\"\nmodel = \"a\"\nper = \"day\"\namount = 0.01\nalert_at = [2, 0.5]"
        ));
        let budgets = budgets.unwrap();
        let mut sheet = PriceSheet {
            currency: "EUR".to_owned(),
            ..PriceSheet::default()
        };
        // A thousandth of a unit a second.
        sheet.prices.vcpu_hour = 3.6;
        let step = || {
            let busy = |model, vcpu_s| {
                (
                    CostKey::new(model, "1", "default"),
                    Usage {
                        vcpu_s,
                        ..Usage::default()
                    },
                )
            };
            let capacity = Capacity {
                vcpus: 1.0,
                ..Capacity::default()
            };
            UsageInterval {
                seconds: 8.0,
                capacity,
                used: vec![busy("a", 3.0), busy("ab", 1.0)],
            }
        };
        let mut ledger = Ledger::default();
        for day in ["2026-10-31", "2026-11-01", "2026-11-02"] {
            ledger.add(day.parse().unwrap(), &sheet, step());
        }
        let dollars = PriceSheet {
            currency: "USD".to_owned(),
            ..sheet.clone()
        };
        ledger.add("2026-11-02".parse().unwrap(), &dollars, step());
        let status = ledger.budgets(&budgets, "EUR", "2026-11-02".parse().unwrap());
        // Two days of November, 8 vCPU-seconds each; on its day, a bears three quarters of 8.
        assert_eq!(
            status.iter().map(|it| it.spent).collect::<Vec<_>>(),
            [Micros(16_000), Micros(6000)]
        );
        assert_eq!(
            status[1].alerts().collect::<Vec<_>>(),
            [(0.5, true), (2.0, false)]
        );
        assert_eq!(status[0].used_ratio(), 0.016);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (budget, reason) in [
            (
                "name = \"a b\"\namount = 1",
                "cost.budget \"a b\": name must be",
            ),
            ("name = \"a\"", "amount is 0, it must be"),
            ("name = \"a\"\namount = nan", "amount is NaN"),
            (
                "name = \"a\"\namount = 1\nmodel = \"../x\"",
                "model: \"../x\" is not a model name",
            ),
            (
                "name = \"a\"\namount = 1\nalert_at = [0.0]",
                "alert_at has 0, a share must",
            ),
            (
                "name = \"a\"\namount = 1\nper = \"week\"",
                "unknown variant `week`",
            ),
            (
                "name = \"a\"\namount = 1\n[[budget]]\nname = \"a\"\namount = 1",
                "another budget has this name",
            ),
        ] {
            let error = plan(&format!("{PRICES}[[budget]]\n{budget}")).unwrap_err();
            assert!(error.contains(reason), "{budget}: {error}");
        }
    }
}
