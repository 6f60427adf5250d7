//! How the service level objectives stand: requests counted as they finish, alerts looked at every
//! minute, both kept over restarts.

mod counts;
mod kept;
mod metrics;
mod set;
mod sharing;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use tidegate_observe::alerting::{Alert, Links, RESOLVED_RETENTION_MS};
use tidegate_observe::{
    AlertChange, AlertState, BudgetAt, BudgetPolicy, Counts, FreezeChange, Slo, SloStatus,
    burn_down,
};
use tidegate_serving::{FrozenModels, MetricRegistry, Observations};
use tracing::{info, warn};

use self::kept::Kept;
use self::metrics::SloMetrics;
pub(crate) use self::set::NotSet;
use crate::app::App;
use crate::clock::{self, now_ms};
use crate::kept::KeptFile;

/// How often what was counted is added to the ledgers. A minute is a multiple of it.
const COUNT_EVERY_MS: u64 = 5000;
const MINUTE_MS: u64 = 60_000;

/// The objectives of a server, and how they stand.
pub struct Objectives {
    metrics: SloMetrics,
    observations: Arc<Observations>,
    file: Option<KeptFile>,
    /// The names of those of the configuration.
    configured: BTreeSet<String>,
    /// Locked, if both are, after `kept`.
    counting: Arc<Mutex<Counting>>,
    kept: Mutex<Kept>,
    /// Freezes that began or ended since they were last asked for.
    freezes: Mutex<Vec<FreezeNews>>,
}

/// The objectives, and what finished since the last step.
struct Counting {
    slos: Arc<[Slo]>,
    news: Vec<Counts>,
}

/// A freeze that began or ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FreezeNews {
    pub(crate) slo: String,
    /// The model whose rollouts it is about; `None` if all.
    pub(crate) endpoint: Option<String>,
    pub(crate) change: FreezeChange,
    pub(crate) budget_remaining: f64,
    pub(crate) at_ms: u64,
}

/// Changes of freezes that are kept until they are asked for; nobody asks only where nothing runs.
const MAX_NEWS: usize = 1000;

impl Objectives {
    /// These objectives, and those that were set before, over the `observations` from now on.
    /// What was counted before is read from `file`, and kept there; without a file it ends with the
    /// process. The replicas of a `group` count together.
    pub fn new(
        slos: Vec<Slo>,
        registry: &MetricRegistry,
        observations: Arc<Observations>,
        file: Option<PathBuf>,
        group: Option<&str>,
    ) -> Self {
        let (file, kept) = file.map(KeptFile::open).unzip();
        let mut kept: Kept = kept.unwrap_or_default();
        kept.join(group);
        let configured: BTreeSet<String> = slos.iter().map(|slo| slo.name().to_owned()).collect();
        let slos: Arc<[Slo]> = slos
            .into_iter()
            .chain(set::read(&kept.set, &configured))
            .collect();
        for slo in slos.iter() {
            slo.notices()
                .iter()
                .for_each(|notice| warn!(slo = slo.name(), "{notice}"));
        }
        // From now on the group's counts of it have a place.
        for slo in slos.iter() {
            let _ = kept.of(slo);
        }
        let news = vec![Counts::default(); slos.len()];
        let counting = Arc::new(Mutex::new(Counting { slos, news }));
        let counted = counting.clone();
        observations.subscribe(move |finished| {
            let Counting { slos, news } = &mut *counted.lock();
            counts::count(slos, news, finished);
        });
        Self {
            metrics: SloMetrics::new(registry),
            observations,
            file,
            configured,
            counting,
            kept: Mutex::new(kept),
            freezes: Mutex::default(),
        }
    }

    /// Counts and evaluates until it is dropped.
    pub(crate) async fn run(self: Arc<Self>, app: Arc<App>) {
        self.expose(now_ms());
        loop {
            let now_ms = clock::next_multiple(COUNT_EVERY_MS).await;
            self.step(now_ms);
            app.hold_rollouts();
            if now_ms.is_multiple_of(MINUTE_MS) {
                self.keep().await;
            }
        }
    }

    /// Counts the last requests, and keeps it all.
    pub(crate) async fn finish(&self) {
        // Not at a whole minute: alerts are looked at there alone.
        let now_ms = now_ms();
        self.step(now_ms + u64::from(now_ms.is_multiple_of(MINUTE_MS)));
        self.keep().await;
    }

    /// Counts what came up to a moment and, at whole minutes, looks at the alerts.
    fn step(&self, now_ms: u64) {
        self.observations.drain();
        let mut kept = self.kept.lock();
        for (slo, counts) in self.counting.lock().take() {
            kept.count(&slo, now_ms - 1, counts);
            let own = kept.of(&slo);
            let ledger = own.counted.all();
            let slo_status = SloStatus::of(&slo, &ledger, now_ms);
            if let Some(change) = own.freeze.update(&slo, &slo_status, now_ms) {
                self.note_freeze(&slo, change, &slo_status, now_ms);
            }
            if now_ms.is_multiple_of(MINUTE_MS) {
                let changes = own.alerts.evaluate(&slo, &ledger, now_ms);
                changes.iter().for_each(|change| announce(&slo, change));
            }
        }
        drop(kept);
        self.expose(now_ms);
    }

    fn note_freeze(&self, slo: &Slo, change: FreezeChange, slo_status: &SloStatus, at_ms: u64) {
        let (name, endpoint) = (slo.name().to_owned(), slo.endpoint().map(str::to_owned));
        let budget_remaining = slo_status.budget_remaining;
        match change {
            FreezeChange::Frozen => warn!(
                slo = name,
                budget_remaining, "the error budget is spent: rollouts wait"
            ),
            FreezeChange::Thawed => info!(slo = name, budget_remaining, "rollouts go on"),
        }
        let mut freezes = self.freezes.lock();
        if freezes.len() < MAX_NEWS {
            freezes.push(FreezeNews {
                slo: name,
                endpoint,
                change,
                budget_remaining,
                at_ms,
            });
        }
    }

    /// The freezes that began or ended since this was last asked.
    pub(crate) fn take_freeze_news(&self) -> Vec<FreezeNews> {
        std::mem::take(&mut self.freezes.lock())
    }

    /// Which models' rollouts wait.
    pub(crate) fn frozen(&self) -> FrozenModels {
        let mut kept = self.kept.lock();
        let mut frozen = FrozenModels::default();
        for slo in self
            .slos()
            .iter()
            .filter(|slo| slo.policy() == BudgetPolicy::Freeze)
        {
            match (kept.of(slo).freeze.since_ms(), slo.endpoint()) {
                (None, _) => {}
                (Some(_), None) => frozen.all = true,
                (Some(_), Some(model)) => drop(frozen.models.insert(model.to_owned())),
            }
        }
        frozen
    }

    /// Lets rollouts go on until a moment, whatever an objective's budget is, and keeps that before
    /// it returns. `false` if that is so already; `None` if there is no such objective, or it
    /// freezes nothing.
    pub(crate) async fn lift_freeze(&self, name: &str, until_ms: u64) -> Option<bool> {
        let slos = self.slos();
        let slo = slos
            .iter()
            .find(|slo| slo.name() == name && slo.policy() == BudgetPolicy::Freeze)?;
        if !self.kept.lock().of(slo).freeze.lift(until_ms) {
            return Some(false);
        }
        self.keep().await;
        self.expose(now_ms());
        Some(true)
    }

    /// The objectives.
    pub(crate) fn slos(&self) -> Arc<[Slo]> {
        self.counting.lock().slos.clone()
    }

    /// Whether an objective is one of the configuration, which only that can change.
    pub(crate) fn is_configured(&self, name: &str) -> bool {
        self.configured.contains(name)
    }

    /// Brings the gauges up to a moment.
    fn expose(&self, now_ms: u64) {
        for status in self.status_at(now_ms) {
            let name = status.slo.name();
            self.metrics
                .set_budget_remaining(name, status.slo_status.budget_remaining);
            self.metrics
                .set_freezes_rollouts(name, status.frozen_since_ms.is_some());
            for (window, burn) in tidegate_observe::BurnWindow::ALL
                .iter()
                .zip(&status.slo_status.burns)
            {
                self.metrics
                    .set_burn_rate(name, window.name(), burn.rate.unwrap_or(0.0));
            }
            for (alert, state) in status.alerts {
                let is_firing = matches!(state, AlertState::Firing { .. });
                self.metrics
                    .set_alert_firing(name, alert.id, alert.severity.name(), is_firing);
            }
        }
    }

    /// How each objective stands now.
    pub(crate) fn status(&self) -> Vec<Status> {
        self.status_at(now_ms())
    }

    /// What was left of the budgets of an endpoint's objectives, and of those of all endpoints,
    /// over time.
    pub(crate) fn burn_downs(
        &self,
        endpoint: &str,
        since_ms: u64,
        now_ms: u64,
        step_ms: u64,
    ) -> Vec<(Slo, Vec<BudgetAt>)> {
        let (slos, mut kept) = (self.slos(), self.kept.lock());
        let own = slos
            .iter()
            .filter(|slo| slo.endpoint().is_none_or(|of| of == endpoint));
        let of_one = |slo: &Slo| {
            let counted = kept.of(slo).counted.all();
            (
                slo.clone(),
                burn_down(slo, &counted, since_ms, now_ms, step_ms),
            )
        };
        own.map(of_one).collect()
    }

    /// Their alerts that are pending, fire, or have ended not long ago.
    pub(crate) fn alerts(&self, links: &Links, now_ms: u64) -> Vec<Alert> {
        let mut alerts = Vec::new();
        for status in self.status_at(now_ms) {
            for (alert, state) in &status.alerts {
                let is_old =
                    |since_ms: u64| now_ms.saturating_sub(since_ms) > RESOLVED_RETENTION_MS;
                if !matches!(state, AlertState::Resolved { since_ms } if is_old(*since_ms)) {
                    alerts.extend(Alert::of_burn(
                        &status.slo,
                        alert,
                        *state,
                        &status.slo_status,
                        links,
                    ));
                }
            }
        }
        alerts
    }

    fn status_at(&self, now_ms: u64) -> Vec<Status> {
        let (slos, mut kept) = (self.slos(), self.kept.lock());
        let status = |slo: &Slo| {
            let own = kept.of(slo);
            let slo_status = SloStatus::of(slo, &own.counted.all(), now_ms);
            let alerts = tidegate_observe::BURN_ALERTS
                .iter()
                .map(|alert| (alert, own.alerts.state(alert)));
            Status {
                slo: slo.clone(),
                slo_status,
                alerts: alerts.collect(),
                frozen_since_ms: own.freeze.since_ms(),
            }
        };
        slos.iter().map(status).collect()
    }

    /// Writes what was counted to its file.
    async fn keep(&self) {
        if let Some(file) = &self.file {
            file.write(|| serde_json::to_vec(&*self.kept.lock())).await;
        }
    }
}

impl Counting {
    /// The objectives with what finished since this was last asked.
    fn take(&mut self) -> Vec<(Slo, Counts)> {
        self.slos
            .iter()
            .cloned()
            .zip(self.news.iter_mut().map(std::mem::take))
            .collect()
    }
}

/// How an objective stands.
pub(crate) struct Status {
    pub(crate) slo: Slo,
    pub(crate) slo_status: SloStatus,
    pub(crate) alerts: Vec<(&'static tidegate_observe::BurnAlert, AlertState)>,
    /// Since when rollouts wait for its budget.
    pub(crate) frozen_since_ms: Option<u64>,
}

fn announce(slo: &Slo, change: &AlertChange) {
    let (alert, severity) = (change.alert.id, change.alert.severity.name());
    let (long, short) = (
        change.long.rate.unwrap_or(0.0),
        change.short.rate.unwrap_or(0.0),
    );
    match change.after {
        AlertState::Firing { .. } => {
            warn!(
                slo = slo.name(),
                alert,
                severity,
                tier = slo.tier(),
                long,
                short,
                "the error budget burns: alert"
            );
        }
        AlertState::Resolved { .. } => info!(
            slo = slo.name(),
            alert, severity, long, short, "alert resolved"
        ),
        AlertState::Pending { .. } | AlertState::Inactive => {}
    }
}
