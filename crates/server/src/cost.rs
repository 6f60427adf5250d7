//! What serving costs: measured every five seconds, kept over restarts.

mod kept;
mod metrics;
mod sampler;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tidegate_observe::Event;
use tidegate_observe::cost::{
    BudgetStatus, Capacity, CostConfig, CostError, CostPlan, Day, GroupBy, IdleRule, IntervalCost,
    Report, UsageInterval,
};
use tidegate_serving::{MetricRegistry, Serving, memory_limit_bytes};
use tracing::{info, warn};

use self::kept::Kept;
use self::metrics::CostMetrics;
use self::sampler::Sampler;
use crate::app::App;
use crate::clock::{self, now_ms};
use crate::kept::KeptFile;

/// Midnight is a multiple of it, so that an interval lies in one day.
const MEASURE_EVERY_MS: u64 = 5000;
const KEEP_EVERY_MS: u64 = 60_000;
const BYTES_PER_GB: f64 = 1e9;

/// The cost of a server; nothing is counted where there are no prices.
#[derive(Default)]
pub struct Costs(Option<Counting>);

struct Counting {
    plan: CostPlan,
    capacity: Capacity,
    metrics: CostMetrics,
    file: Option<KeptFile>,
    state: Mutex<State>,
}

struct State {
    kept: Kept,
    sampler: Sampler,
    /// Events that nobody has taken yet.
    news: Vec<Event>,
}

impl Costs {
    /// What is configured. What was counted before is read from `file`, and kept there; without a
    /// file it ends with the process.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn new(
        config: &CostConfig,
        registry: &MetricRegistry,
        file: Option<PathBuf>,
    ) -> Result<Self, CostError> {
        let metrics = CostMetrics::new(registry);
        let Some(plan) = config.parse()? else {
            return Ok(Self(None));
        };
        let capacity = capacity(&plan);
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
            warn!(
                "this machine does not tell how much memory it has, so that memory costs nothing: set cost.memory_gb"
            );
        }
        let (file, kept) = file.map(KeptFile::open).unzip();
        let (kept, sampler) = (kept.unwrap_or_default(), Sampler::new(Instant::now()));
        let state = Mutex::new(State {
            kept,
            sampler,
            news: Vec::new(),
        });
        Ok(Self(Some(Counting {
            plan,
            capacity,
            metrics,
            file,
            state,
        })))
    }

    /// Measures until it is dropped.
    pub(crate) async fn run(self: Arc<Self>, app: Arc<App>) {
        let Some(counting) = &self.0 else { return };
        // Before alerting looks: what is spent already has not ended because the server starts.
        counting.look_at_budgets(&mut counting.state.lock(), now_ms());
        loop {
            let now_ms = clock::next_multiple(MEASURE_EVERY_MS).await;
            let is_news = counting.step(&app.serving, now_ms);
            if is_news || now_ms.is_multiple_of(KEEP_EVERY_MS) {
                counting.keep().await;
            }
        }
    }

    /// Measures the last interval, and keeps it all.
    pub(crate) async fn finish(&self, serving: &Serving) {
        if let Some(counting) = &self.0 {
            counting.step(serving, now_ms());
            counting.keep().await;
        }
    }

    /// What was spent from one day to another, both included; `None` if no cost is counted.
    pub(crate) fn report(&self, from: Day, to: Day, by: GroupBy) -> Option<Report> {
        let counting = self.0.as_ref()?;
        Some(
            counting
                .state
                .lock()
                .kept
                .ledger
                .report(&counting.plan.sheet.currency, from, to, by),
        )
    }

    /// What the server has, and who bears what nobody used of it; `None` if no cost is counted.
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
        state
            .lock()
            .kept
            .ledger
            .budgets(&plan.budgets, &plan.sheet.currency, Day::of_ms(now_ms()))
    }

    /// What has happened since this was asked last.
    pub(crate) fn take_news(&self) -> Vec<Event> {
        self.0
            .as_ref()
            .map(|counting| std::mem::take(&mut counting.state.lock().news))
            .unwrap_or_default()
    }
}

/// What is paid for, as it is configured or measured.
fn capacity(plan: &CostPlan) -> Capacity {
    let vcpus = || std::thread::available_parallelism().map_or(1.0, |count| count.get() as f64);
    let memory_gb = || memory_limit_bytes().map_or(0.0, |bytes| bytes as f64 / BYTES_PER_GB);
    Capacity {
        vcpus: plan.vcpus.unwrap_or_else(vcpus),
        memory_gb: plan.memory_gb.unwrap_or_else(memory_gb),
        gpus: plan.gpus,
    }
}

impl Counting {
    /// Counts what was used up to a moment, and looks at the budgets; says whether there are news.
    fn step(&self, serving: &Serving, now_ms: u64) -> bool {
        let mut state = self.state.lock();
        let sampled = state.sampler.sample(serving, Instant::now());
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
        state.kept.ledger.add(day, &self.plan.sheet, step);
        self.look_at_budgets(&mut state, now_ms)
    }

    fn expose(&self, day: Day, step: &UsageInterval) {
        let currency = &self.plan.sheet.currency;
        let IntervalCost { used, idle, fixed } = IntervalCost::of(day, &self.plan.sheet, step);
        for ((key, _), units) in step.used.iter().zip(used) {
            self.metrics
                .add_used(currency, &key.model, &key.version, units);
        }
        self.metrics.add_shared(currency, idle, fixed);
    }

    fn look_at_budgets(&self, state: &mut State, now_ms: u64) -> bool {
        let CostPlan { sheet, budgets, .. } = &self.plan;
        let State { kept, news, .. } = state;
        let before = news.len();
        for status in kept
            .ledger
            .budgets(budgets, &sheet.currency, Day::of_ms(now_ms))
        {
            self.metrics
                .set_budget(&status.budget.name, status.used_ratio(), status.alerts());
            for (share, _) in status.alerts().filter(|(_, is_reached)| *is_reached) {
                if kept.told.is_news(&status, share) {
                    warn!(budget = status.budget.name, share, spent = %status.spent, "a share of a cost budget is used up");
                    news.push(reached(&status, share, &sheet.currency, now_ms));
                }
            }
        }
        kept.told.forget(budgets);
        news.len() > before
    }

    async fn keep(&self) {
        if let Some(file) = &self.file {
            file.write(|| serde_json::to_vec(&self.state.lock().kept))
                .await;
        }
    }
}

fn reached(status: &BudgetStatus<'_>, share: f64, currency: &str, now_ms: u64) -> Event {
    let budget = status.budget;
    let event = Event::new("cost.budget_reached", now_ms)
        .about(budget.model.as_deref().unwrap_or_default(), "");
    let event = event
        .with("budget", budget.name.as_str())
        .with("share", share)
        .with("per", budget.per.name());
    let (spent, amount) = (status.spent.to_string(), budget.amount.to_string());
    event
        .with("spent", spent)
        .with("amount", amount)
        .with("currency", currency)
        .with("since", status.since.to_string())
}
