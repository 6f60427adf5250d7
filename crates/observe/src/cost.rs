//! What serving costs: prices, what was used of what is paid for, and who bears it.
//!
//! In: the prices of the configuration, and for each interval what was paid for and what each
//! version used of it. Out: by day, what each version and tenant costs, and how far budgets are
//! used up. Nothing here reads a clock.
//!
//! What is paid for is vCPUs, memory and GPUs for as long as the server runs, whether they are used
//! or not; what is stored and sent; and fixed sums for each month. A version bears what it used.
//! What nobody used, and the fixed sums, are allocated by the [`IdleRule`], one day at a time.
//! Amounts are whole [`Micros`] and divided by largest remainders, so that what all bear together
//! is the bill.

mod allocate;
mod budget;
mod config;
mod day;
mod ledger;
mod money;
mod report;
mod usage;

pub use allocate::{Bill, Cost, IntervalCost};
pub use budget::{Budget, BudgetConfig, BudgetPeriod, BudgetStatus};
pub use config::{CostConfig, CostError, CostPlan, IdleRule, PriceSheet, Prices};
pub use day::Day;
pub use ledger::{Ledger, Segment, UsageInterval};
pub use money::Micros;
pub use report::{GroupBy, Report, ReportRow};
pub use usage::{Capacity, CostKey, DEFAULT_TENANT, Usage};
