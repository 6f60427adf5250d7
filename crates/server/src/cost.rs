//! What serving costs: measured every five seconds, saved over restarts.

mod api;
mod metrics;
mod persisted;
mod sampler;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tidegate_observe::Event;
use tidegate_observe::cost::{
    BudgetStatus, Capacity, CostConfig, CostError, CostPlan, Day, GroupBy, IdleRule, IntervalCost,
    Report, UsageInterval,
};
use tidegate_serving::{MetricRegistry, Serving, memory_limit_bytes};
use tokio::task::JoinSet;
use tracing::{info, warn};

pub(crate) use self::api::description;
use self::metrics::CostMetrics;
use self::persisted::PersistedState;
use self::sampler::Sampler;
use crate::clock::{self, now_ms};
use crate::component::Component;
use crate::events::EventJournal;
use crate::persisted_state::StateFile;
use crate::routes::Routes;

/// Midnight is a multiple of it, so that an interval lies in one day.
const MEASURE_EVERY_MS: u64 = 5000;
const PERSIST_EVERY_MS: u64 = 60_000;
const BYTES_PER_GB: f64 = 1e9;

/// The cost of a server; nothing is counted without prices.
pub(crate) struct Costs(Option<Counting>);

struct Counting {
    plan: CostPlan,
    capacity: Capacity,
    metrics: CostMetrics,
    serving: Arc<Serving>,
    events: Arc<EventJournal>,
    file: Option<StateFile>,
    state: Mutex<State>,
}

struct State {
    persisted: PersistedState,
    sampler: Sampler,
}

impl Costs {
    /// The configured costs. Earlier counts are read from `file`, and written there; without a file
    /// they end with the process.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub(crate) fn new(
        config: &CostConfig,
        registry: &MetricRegistry,
        file: Option<PathBuf>,
        serving: Arc<Serving>,
        events: Arc<EventJournal>,
    ) -> Result<Self, CostError> {
        // Even without prices: a built-in rule names one of these metrics.
        let metrics = CostMetrics::new(registry);
        let Some(plan) = config.parse()? else {
            return Ok(Self(None));
        };
        let capacity = capacity(&plan);
        log_start(&plan, capacity);
        let (file, persisted) = file.map(StateFile::open).unzip();
        let state = Mutex::new(State {
            persisted: persisted.unwrap_or_default(),
            sampler: Sampler::new(Instant::now()),
        });
        Ok(Self(Some(Counting {
            plan,
            capacity,
            metrics,
            serving,
            events,
            file,
            state,
        })))
    }

    /// Measures until it is dropped.
    async fn run(self: Arc<Self>) {
        let Some(counting) = &self.0 else { return };
        // Before alerts are evaluated: a budget that is used up has not recovered because the
        // server starts.
        counting.check_budgets(&mut counting.state.lock(), now_ms());
        loop {
            let now_ms = clock::next_multiple(MEASURE_EVERY_MS).await;
            let has_reached = counting.step(now_ms);
            // At once when a share is reached: after a crash it must not be reported again.
            if has_reached || now_ms.is_multiple_of(PERSIST_EVERY_MS) {
                counting.persist().await;
            }
        }
    }

    /// The costs from one day to another, both included; `None` if no cost is counted.
    pub(crate) fn report(&self, from: Day, to: Day, by: GroupBy) -> Option<Report> {
        let counting = self.0.as_ref()?;
        let ledger = &counting.state.lock().persisted.ledger;
        Some(ledger.report(&counting.plan.sheet.currency, from, to, by))
    }

    /// The capacity of the server, and how idle cost is shared; `None` if no cost is counted.
    pub(crate) fn terms(&self) -> Option<(Capacity, IdleRule)> {
        self.0
            .as_ref()
            .map(|counting| (counting.capacity, counting.plan.sheet.idle))
    }

    /// How far budgets are used up.
    pub(crate) fn budgets(&self) -> Vec<BudgetStatus<'_>> {
        let Some(Counting { plan, state, .. }) = &self.0 else {
            return Vec::new();
        };
        let ledger = &state.lock().persisted.ledger;
        let today = Day::of_ms(now_ms());
        ledger.budgets(&plan.budgets, &plan.sheet.currency, today)
    }
}

impl Component for Costs {
    fn name(&self) -> &'static str {
        "cost"
    }

    fn routes(self: Arc<Self>) -> Routes<()> {
        api::routes(self)
    }

    fn start(self: Arc<Self>, background: &mut JoinSet<()>) {
        background.spawn(self.run());
    }

    /// Measures the last interval, and writes the state.
    fn finish(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            if let Some(counting) = &self.0 {
                counting.step(now_ms());
                counting.persist().await;
            }
        })
    }
}

/// The capacity that is paid for, as it is configured or measured.
fn capacity(plan: &CostPlan) -> Capacity {
    Capacity {
        vcpus: plan.vcpus.unwrap_or_else(available_vcpus),
        memory_gb: plan.memory_gb.unwrap_or_else(available_memory_gb),
        gpus: plan.gpus,
    }
}

fn available_vcpus() -> f64 {
    std::thread::available_parallelism().map_or(1.0, |count| count.get() as f64)
}

/// 0 if the machine's memory is unknown.
fn available_memory_gb() -> f64 {
    memory_limit_bytes().map_or(0.0, |bytes| bytes as f64 / BYTES_PER_GB)
}

fn log_start(plan: &CostPlan, capacity: Capacity) {
    let Capacity {
        vcpus,
        memory_gb,
        gpus,
    } = capacity;
    info!(
        currency = plan.sheet.currency,
        vcpus, memory_gb, gpus, "cost is counted"
    );
    if memory_gb == 0.0 && plan.sheet.prices.memory_gb_hour > 0.0 {
        warn!("the memory of this machine is unknown, so memory costs nothing: set cost.memory_gb");
    }
}

impl Counting {
    /// Counts the usage up to a moment, and checks the budgets; returns whether a share of one has
    /// been reached.
    fn step(&self, now_ms: u64) -> bool {
        let mut state = self.state.lock();
        let sampled = state.sampler.sample(&self.serving, Instant::now());
        // The moment itself begins the next interval, and at midnight the next day.
        let day = Day::of_ms(now_ms.saturating_sub(1));
        let step = UsageInterval {
            seconds: sampled.seconds,
            capacity: self.capacity,
            used: sampled.used,
        };
        self.expose(day, &step);
        for (model, version) in &sampled.gone {
            self.metrics
                .remove_version(&self.plan.sheet.currency, model, version);
        }
        state.persisted.ledger.add(day, &self.plan.sheet, step);
        self.check_budgets(&mut state, now_ms)
    }

    fn expose(&self, day: Day, step: &UsageInterval) {
        let (metrics, currency) = (&self.metrics, &self.plan.sheet.currency);
        let IntervalCost { used, idle, fixed } = IntervalCost::of(day, &self.plan.sheet, step);
        for ((key, _), units) in step.used.iter().zip(used) {
            metrics.add_used(currency, &key.model, &key.version, units);
        }
        metrics.add_shared(currency, idle, fixed);
    }

    /// Records each share of a budget once that has been reached; returns whether there was one.
    fn check_budgets(&self, state: &mut State, now_ms: u64) -> bool {
        let CostPlan { sheet, budgets, .. } = &self.plan;
        let PersistedState { ledger, reached } = &mut state.persisted;
        let mut has_reached = false;
        for status in ledger.budgets(budgets, &sheet.currency, Day::of_ms(now_ms)) {
            let (budget, spent) = (&status.budget.name, &status.spent);
            self.metrics
                .set_budget(budget, status.used_ratio(), status.alerts());
            for (share, is_reached) in status.alerts() {
                if is_reached && reached.insert(&status, share) {
                    warn!(budget, share, %spent, "a share of a cost budget has been reached");
                    self.events
                        .add(reached_event(&status, share, &sheet.currency, now_ms));
                    has_reached = true;
                }
            }
        }
        // A budget that is no longer configured would stay in the file for ever.
        reached.retain(budgets);
        has_reached
    }

    async fn persist(&self) {
        if let Some(file) = &self.file {
            file.write(|| serde_json::to_vec(&self.state.lock().persisted))
                .await;
        }
    }
}

fn reached_event(status: &BudgetStatus<'_>, share: f64, currency: &str, now_ms: u64) -> Event {
    let budget = status.budget;
    Event::new("cost.budget_reached", now_ms)
        .about(budget.model.as_deref().unwrap_or_default(), "")
        .with("budget", budget.name.as_str())
        .with("share", share)
        .with("per", budget.per.name())
        .with("spent", status.spent.to_string())
        .with("amount", budget.amount.to_string())
        .with("currency", currency)
        .with("since", status.since.to_string())
}
