//! `GET /api/cost`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::QueryRejection;
use serde::{Deserialize, Serialize};
use tidegate_gateway::Permission;
use tidegate_observe::cost::{BudgetStatus, Cost, Day, GroupBy, ReportRow};
use tidegate_serving::{ErrorCode, InferError};
use utoipa::{IntoParams, OpenApi, ToSchema};

use super::Costs;
use crate::blocking::run_blocking;
use crate::clock::now_ms;
use crate::rest::{ApiError, ErrorBody};
use crate::routes::Routes;

/// Most rows of an answer.
const MAX_ROWS: usize = 10_000;
const NO_PRICES: &str = "the server counts no costs, because it has no prices: set cost.currency and a price such as cost.vcpu_hour";

#[derive(OpenApi)]
#[openapi(paths(cost))]
struct Description;

pub(crate) fn description() -> utoipa::openapi::OpenApi {
    Description::openapi()
}

pub(super) fn routes(costs: Arc<Costs>) -> Routes<()> {
    Routes::described_by(description())
        .get("/api/cost", Permission::ViewOperations, cost)
        .with_state(costs)
}

/// Which costs are wanted, and how they are grouped.
#[derive(Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct CostQuery {
    /// The first day, in UTC, such as 2026-11-01; if absent, the first of the last day's month.
    from: String,
    /// The last day; today if absent.
    to: String,
    /// What to group costs by, separated by commas: day, model, version (with its model),
    /// tenant. By version if absent; not at all if empty.
    by: Option<String>,
}

/// The costs of some days. Amounts are decimal texts with six places. The total is exactly the sum
/// of the rows.
#[derive(Serialize, ToSchema)]
pub(crate) struct CostReport {
    /// The currency of all amounts: three letters (ISO 4217).
    currency: String,
    /// The first day.
    from: String,
    /// The last day.
    to: String,
    /// What costs are grouped by.
    by: String,
    /// The sum of all rows.
    total: String,
    /// Rows answered.
    predictions: u64,
    /// The cost of 1,000 predictions.
    per_1000_predictions: Option<f64>,
    /// How long the server ran in these days, in seconds.
    up_s: f64,
    /// Where idle cost goes: by-use or apart.
    idle: &'static str,
    /// The capacity that is paid for now.
    capacity: CostCapacity,
    rows: Vec<CostRow>,
    /// How far budgets are used up today; does not depend on the days of the report.
    budgets: Vec<CostBudget>,
    /// Other currencies in which costs of these days were counted; those costs are not included.
    other_currencies: Vec<String>,
}

/// The capacity of the server, used or not.
#[derive(Serialize, ToSchema)]
pub(crate) struct CostCapacity {
    vcpus: f64,
    /// A GB has 10⁹ bytes.
    memory_gb: f64,
    gpus: f64,
}

/// A part of the costs. `_idle` is the cost of unused capacity, if it has a separate row;
/// `_unallocated` is that cost while nothing was loaded; `_other` is all versions beyond a maximum.
#[derive(Serialize, ToSchema)]
pub(crate) struct CostRow {
    #[serde(skip_serializing_if = "Option::is_none")]
    day: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    /// Rows answered.
    predictions: u64,
    /// How long runs held vCPUs, in vCPU-seconds.
    vcpu_s: f64,
    /// Memory held, in GB-seconds.
    memory_gb_s: f64,
    /// Files, in GB-seconds.
    storage_gb_s: f64,
    /// Bytes of answers, in GB.
    network_gb: f64,
    cost: CostParts,
    /// The sum of the parts.
    total: String,
    /// The cost of a thousand predictions.
    per_1000_predictions: Option<f64>,
}

/// The parts of an amount.
#[derive(Serialize, ToSchema)]
pub(crate) struct CostParts {
    vcpu: String,
    memory: String,
    storage: String,
    network: String,
    /// The share of unused vCPUs, memory and GPUs.
    idle: String,
    /// The share of licences and monitoring.
    fixed: String,
}

/// How far a budget is used up.
#[derive(Serialize, ToSchema)]
pub(crate) struct CostBudget {
    name: String,
    /// The model whose cost counts; if absent, all costs of the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// day or month.
    per: &'static str,
    /// The first day that counts.
    since: String,
    amount: String,
    spent: String,
    /// The share of the amount that was spent.
    used_ratio: f64,
    /// The shares at which an alert fires.
    alert_at: Vec<f64>,
}

/// The costs of this server, by version, model, tenant or day, and how far budgets are used up.
#[utoipa::path(get, path = "/api/cost", tag = "operations", params(CostQuery),
    responses((status = 200, body = CostReport), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
async fn cost(
    State(costs): State<Arc<Costs>>,
    query: Result<axum::extract::Query<CostQuery>, QueryRejection>,
) -> Result<Json<CostReport>, ApiError> {
    // As a result, because axum's own answer would not have the form of our errors.
    let axum::extract::Query(query) = query.map_err(|error| wrong(error.body_text()))?;
    let (from, to, by) = query.parse(Day::of_ms(now_ms()))?;
    // A year of many versions takes a moment.
    let report = run_blocking(move || CostReport::of(&costs, from, to, by)).await??;
    Ok(Json(report))
}

fn wrong(message: String) -> InferError {
    InferError::new(ErrorCode::InvalidParameter, message)
}

impl CostQuery {
    fn parse(&self, today: Day) -> Result<(Day, Day, GroupBy), InferError> {
        let to = parse_day("to", &self.to, today)?;
        let from = parse_day("from", &self.from, to.first_of_month())?;
        if from > to {
            return Err(wrong(format!("from ({from}) is after to ({to})")));
        }
        let by = match &self.by {
            None => GroupBy::default(),
            Some(by) => by.parse().map_err(|error| wrong(format!("by: {error}")))?,
        };
        Ok((from, to, by))
    }
}

fn parse_day(name: &str, text: &str, default: Day) -> Result<Day, InferError> {
    if text.is_empty() {
        return Ok(default);
    }
    text.parse()
        .map_err(|error| wrong(format!("{name}: {error}")))
}

impl CostReport {
    fn of(costs: &Costs, from: Day, to: Day, by: GroupBy) -> Result<Self, InferError> {
        let found = costs.report(from, to, by).zip(costs.terms());
        let (report, (capacity, idle)) =
            found.ok_or_else(|| InferError::new(ErrorCode::NotFound, NO_PRICES))?;
        if report.rows.len() > MAX_ROWS {
            let rows = report.rows.len();
            return Err(wrong(format!(
                "the report has {rows} rows, the maximum is {MAX_ROWS}: ask for fewer days or columns"
            )));
        }
        Ok(Self {
            currency: report.currency,
            from: report.from.to_string(),
            to: report.to.to_string(),
            by: report.by.to_string(),
            total: report.total.to_string(),
            predictions: report.predictions,
            per_1000_predictions: report.per_1000_predictions,
            up_s: report.up_s,
            idle: idle.name(),
            capacity: CostCapacity {
                vcpus: capacity.vcpus,
                memory_gb: capacity.memory_gb,
                gpus: capacity.gpus,
            },
            rows: report.rows.into_iter().map(CostRow::from).collect(),
            budgets: costs.budgets().iter().map(CostBudget::from).collect(),
            other_currencies: report.other_currencies,
        })
    }
}

impl From<ReportRow> for CostRow {
    fn from(row: ReportRow) -> Self {
        let ReportRow {
            day,
            model,
            version,
            tenant,
            usage,
            cost,
            total,
            per_1000_predictions,
        } = row;
        Self {
            day: day.map(|day| day.to_string()),
            model,
            version,
            tenant,
            predictions: usage.predictions,
            vcpu_s: usage.vcpu_s,
            memory_gb_s: usage.memory_gb_s,
            storage_gb_s: usage.storage_gb_s,
            network_gb: usage.network_gb,
            cost: cost.into(),
            total: total.to_string(),
            per_1000_predictions,
        }
    }
}

impl From<Cost> for CostParts {
    fn from(cost: Cost) -> Self {
        Self {
            vcpu: cost.vcpu.to_string(),
            memory: cost.memory.to_string(),
            storage: cost.storage.to_string(),
            network: cost.network.to_string(),
            idle: cost.idle.to_string(),
            fixed: cost.fixed.to_string(),
        }
    }
}

impl From<&BudgetStatus<'_>> for CostBudget {
    fn from(status: &BudgetStatus<'_>) -> Self {
        let budget = status.budget;
        Self {
            name: budget.name.clone(),
            model: budget.model.clone(),
            per: budget.per.name(),
            since: status.since.to_string(),
            amount: budget.amount.to_string(),
            spent: status.spent.to_string(),
            used_ratio: status.used_ratio(),
            alert_at: budget.alert_at.clone(),
        }
    }
}
