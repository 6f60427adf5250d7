//! What serving costs: prices, usage, and the allocation of costs to versions and tenants.
//!
//! In: the prices of the configuration, and for each interval the paid capacity and what each
//! version used of it. Out: by day, what each version and tenant costs, and how far budgets are
//! used up. Nothing here reads a clock.
//!
//! The costs are vCPUs, memory and GPUs for as long as the server runs, whether they are used or
//! not; stored files and sent bytes; and fixed sums for each month. A version is charged for what
//! it used. Unused capacity and the fixed sums are allocated by the [`IdleRule`], one day at a
//! time. Amounts are whole [`Micros`] and divided by largest remainders, so that the sum of all
//! parts is exactly the total.

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
