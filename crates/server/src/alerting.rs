//! Alerts, from what raises them to who hears of them: looked at every five seconds, kept over
//! restarts.

mod config;
mod configuration;
mod delivery;
mod freezes;
mod kept;
mod metrics;
mod plan;
mod receiver;
mod secret;
mod versions;
mod worker;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use tidegate_observe::alerting::{
    Alert, Message, Route, RuleBook, Sample, Silence, SilenceError, Suppressors, TriagedAlert,
};
use tidegate_observe::{Event, EventLog};
use tidegate_serving::{IndexEntry, MetricRegistry, SeriesValues};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{info, warn};

pub use self::config::{AlertsConfig, RouteConfig};
use self::delivery::Deliveries;
pub(crate) use self::delivery::RouteStatus;
use self::kept::Kept;
use self::metrics::{DeliveryMetrics, MessageOutcome};
pub use self::plan::AlertsError;
use self::plan::Plan;
pub use self::receiver::config::{PagerDutyConfig, SlackConfig, SmtpConfig, WebhookConfig};
use self::receiver::{Http, Receiver};
pub use self::secret::Secret;
use self::versions::{Happening, LastLook, Loads, What};
use crate::app::App;
use crate::clock;
use crate::kept::KeptFile;

const LOOK_EVERY_MS: u64 = 5000;
/// Most alerts at once; further ones are overlooked.
const MAX_ALERTS: usize = 2000;
const LOADS: &str = "tidegate_model_loads_total";

/// The alerts of a server.
pub struct Alerting {
    plan: Plan,
    metrics: DeliveryMetrics,
    http: Http,
    files: Option<Files>,
    state: Mutex<State>,
    /// Counts the looks, to wake those who deliver.
    looked: watch::Sender<u64>,
}

struct Files {
    kept: KeptFile,
    events: KeptFile,
}

struct State {
    kept: Kept,
    rules: RuleBook,
    events: EventLog,
    last: LastLook,
    deliveries: Deliveries,
    /// The alerts as they were at the last look.
    triaged: Arc<Vec<TriagedAlert>>,
}

impl Alerting {
    /// What is configured. What a folder of data has kept goes on; without one, everything ends
    /// with the process. Rules may name the metrics that `registry` has by now, so everything else
    /// is registered before.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn new(
        config: &AlertsConfig,
        registry: &MetricRegistry,
        data: Option<&Path>,
        follows_registry: bool,
    ) -> Result<Self, AlertsError> {
        let metrics = DeliveryMetrics::new(registry);
        let mut plan = Plan::new(config, follows_registry, &registry.catalogue())?;
        let http = Http::new().map_err(|error| AlertsError::Client(error.to_string()))?;
        let (mut kept, mut events, mut files) = (Kept::default(), EventLog::default(), None);
        if let Some(data) = data {
            let (kept_file, events_file);
            (kept_file, kept) = KeptFile::open(data.join("alerts.json"));
            (events_file, events) = KeptFile::open(data.join("events.json"));
            files = Some(Files {
                kept: kept_file,
                events: events_file,
            });
        }
        let rules = RuleBook::new(
            std::mem::take(&mut plan.rules),
            std::mem::take(&mut kept.rules),
        );
        let (deliveries, triaged) = (Deliveries::default(), Arc::default());
        let state = Mutex::new(State {
            kept,
            rules,
            events,
            last: LastLook::default(),
            deliveries,
            triaged,
        });
        Ok(Self {
            plan,
            metrics,
            http,
            files,
            state,
            looked: watch::channel(0).0,
        })
    }

    /// Leaves an event that the process began, and one if its configuration is another one than at
    /// the last start: the keys that changed, never their values. Secrets must not be in it as they
    /// are.
    pub async fn note_start(&self, configuration: &serde_json::Value) {
        let now_ms = clock::now_ms();
        {
            let mut state = self.state.lock();
            let State { kept, events, .. } = &mut *state;
            events.add(
                Event::new("server.started", now_ms).with("version", env!("CARGO_PKG_VERSION")),
            );
            let changed = kept.configuration.update(configuration);
            if !changed.is_empty() {
                info!(
                    keys = changed.join(", "),
                    "the configuration has changed since the last start"
                );
                events.add(
                    Event::new("configuration.changed", now_ms).with("keys", changed.join(", ")),
                );
            }
        }
        self.keep().await;
    }

    /// Looks and delivers until it is dropped.
    pub(crate) async fn run(self: Arc<Self>, app: Arc<App>) {
        let mut workers = JoinSet::new();
        for route in 0..self.plan.routes.len() {
            workers.spawn(self.clone().deliver(route));
        }
        loop {
            let now_ms = clock::next_multiple(LOOK_EVERY_MS).await;
            self.look(&app, now_ms).await;
        }
    }

    /// Brings everything up to a moment, and keeps it before anybody hears of it.
    async fn look(&self, app: &App, now_ms: u64) {
        let index = match app.has_started() {
            true => app.blocking(|serving| serving.index()).await.ok(),
            false => None,
        };
        let mut samples = self.samples(app);
        let alerts = app.objectives.alerts(&self.plan.links, now_ms);
        let notifying_replica = app
            .replicas
            .as_ref()
            .and_then(|replicas| replicas.notifying_replica());
        let news = app.costs.take_news();
        {
            let mut state = self.state.lock();
            Self::watch_freezes(&mut state, app);
            news.into_iter().for_each(|event| state.events.add(event));
            if let Some(index) = index {
                let loads = loads(samples.get(LOADS).map_or(&[], Vec::as_slice));
                self.watch_versions(&mut state, app, &index, loads, now_ms);
            } else {
                // A server that is starting is not ready, and need not be.
                samples.remove("tidegate_ready");
            }
            self.step(
                &mut state,
                &samples,
                (alerts, notifying_replica.as_deref()),
                now_ms,
            );
        }
        self.keep().await;
        self.looked.send_modify(|looks| *looks += 1);
    }

    fn samples(&self, app: &App) -> BTreeMap<String, Vec<Sample>> {
        let mut values =
            SeriesValues::new(|name: &str| name == LOADS || self.plan.metrics.contains(name));
        app.expose(&mut values);
        let values = values.finish();
        let sample = |(labels, value)| Sample { labels, value };
        values
            .into_iter()
            .map(|(name, series)| (name, series.into_iter().map(sample).collect()))
            .collect()
    }

    fn watch_versions(
        &self,
        state: &mut State,
        app: &App,
        index: &[IndexEntry],
        loads: BTreeMap<String, Loads>,
        now_ms: u64,
    ) {
        let is_of_registry = |model: &str| {
            app.serving
                .fleet()
                .is_some_and(|fleet| fleet.manages(model))
        };
        let State {
            kept, last, events, ..
        } = state;
        for Happening {
            model,
            version,
            what,
        } in kept.known.look(last, index, loads, is_of_registry)
        {
            if matches!(what, What::Ready { is_deploy: true } | What::Reloaded)
                && self.plan.deploy_window_ms > 0
            {
                kept.deploys
                    .open(&model, &version, now_ms, self.plan.deploy_window_ms);
            }
            let event = |name| Event::new(name, now_ms).about(&model, &version);
            events.add(match what {
                What::Ready { is_deploy } => event("version.ready").with("deploy", is_deploy),
                What::Reloaded => event("version.reloaded"),
                What::Gone => event("version.gone"),
                What::LoadFailed { reason, times } => event("version.load_failed")
                    .with("reason", reason)
                    .with("times", times),
            });
        }
    }

    /// Looks at the rules and judges their alerts and those of the objectives, of which another
    /// replica may tell.
    fn step(
        &self,
        state: &mut State,
        samples: &BTreeMap<String, Vec<Sample>>,
        (alerts, notifying_replica): (Vec<Alert>, Option<&str>),
        now_ms: u64,
    ) {
        let State {
            kept,
            rules,
            events,
            triaged,
            ..
        } = state;
        rules.evaluate(samples, events, now_ms);
        let mut alerts = alerts;
        alerts.extend(rules.alerts(&self.plan.links));
        alerts.truncate(MAX_ALERTS);
        let alerts: Vec<Alert> = alerts
            .into_iter()
            .map(|alert| self.plan.links.with_dashboard(alert))
            .collect();
        note_changes(kept, events, &alerts, now_ms);
        kept.silences.prune(now_ms);
        let suppressors = Suppressors {
            silences: &kept.silences,
            inhibitions: &self.plan.inhibitions,
            deploys: &kept.deploys,
            deploy_severities: &self.plan.held_back,
            notifying_replica,
        };
        *triaged = Arc::new(suppressors.triage(alerts, now_ms));
        let dispatched = kept
            .dispatch
            .step(&self.plan.message_routes, triaged, now_ms);
        for _ in 0..dispatched.limited {
            self.metrics.count(MessageOutcome::Limited);
        }
        for message in dispatched.messages {
            if let Some(given_up) = kept.outbox.add(message, self.plan.max_waiting) {
                self.given_up(events, &given_up, "too many messages wait", now_ms);
            }
        }
        let names: Vec<&str> = self
            .plan
            .message_routes
            .iter()
            .map(|route| route.name.as_str())
            .collect();
        for given_up in kept
            .outbox
            .expire(now_ms.saturating_sub(self.plan.give_up_after_ms), &names)
        {
            self.given_up(
                events,
                &given_up,
                "it waited for too long, or its route is gone",
                now_ms,
            );
        }
        kept.rules = rules.states();
    }

    /// A message that nobody will hear.
    fn given_up(&self, events: &mut EventLog, message: &Message, reason: &str, now_ms: u64) {
        self.metrics.count(MessageOutcome::Dropped);
        warn!(
            route = message.route,
            reason,
            alerts = message.alerts.len(),
            "a message about alerts is given up"
        );
        let endpoint = message
            .group_labels
            .get("endpoint")
            .map_or("", String::as_str);
        let event = Event::new("alert.undelivered", now_ms)
            .about(endpoint, "")
            .with("route", message.route.as_str());
        let names: Vec<&str> = message.alerts.iter().map(Alert::name).collect();
        events.add(
            event
                .with("reason", reason)
                .with("alerts", names.join(", ")),
        );
    }

    async fn keep(&self) {
        if let Some(files) = &self.files {
            files
                .kept
                .write(|| serde_json::to_vec(&self.state.lock().kept))
                .await;
            files
                .events
                .write(|| serde_json::to_vec(&self.state.lock().events))
                .await;
        }
    }

    /// Every alert as it was at the last look.
    pub(crate) fn alerts(&self) -> Arc<Vec<TriagedAlert>> {
        self.state.lock().triaged.clone()
    }

    /// Every route, and whether messages arrive.
    pub(crate) fn routes(&self) -> Vec<RouteStatus> {
        let state = self.state.lock();
        let status = |(route, receiver): &(Route, Receiver)| RouteStatus {
            name: route.name.clone(),
            receiver: receiver.kind(),
            waiting: state.kept.outbox.waiting(&route.name),
            delivery: state.deliveries.of(&route.name),
        };
        self.plan.routes.iter().map(status).collect()
    }

    /// Every silence that holds, will, or has not long ago.
    pub(crate) fn silences(&self) -> Vec<Silence> {
        self.state.lock().kept.silences.iter().cloned().collect()
    }

    /// Adds a silence, and keeps it before it returns.
    pub(crate) async fn silence(&self, silence: Silence, now_ms: u64) -> Result<(), SilenceError> {
        {
            let mut state = self.state.lock();
            let event = silence_event("silence.added", &silence, now_ms);
            state.kept.silences.add(silence, now_ms)?;
            state.events.add(event);
        }
        self.keep().await;
        Ok(())
    }

    /// Ends a silence; `None` if there is none of this name that has not ended.
    pub(crate) async fn expire_silence(&self, id: &str, now_ms: u64) -> Option<Silence> {
        let silence = {
            let mut state = self.state.lock();
            let silence = state.kept.silences.expire(id, now_ms)?.clone();
            state
                .events
                .add(silence_event("silence.expired", &silence, now_ms));
            silence
        };
        self.keep().await;
        Some(silence)
    }

    /// Takes in a silence that was added or ended at another replica.
    pub(crate) async fn learn_silence(&self, silence: Silence, now_ms: u64) {
        {
            let mut state = self.state.lock();
            if !state.kept.silences.merge(silence.clone(), now_ms) {
                return;
            }
            let name = if silence.until_ms <= now_ms {
                "silence.expired"
            } else {
                "silence.added"
            };
            state.events.add(silence_event(name, &silence, now_ms));
        }
        self.keep().await;
    }

    /// Leaves an event, and keeps it before it returns.
    pub(crate) async fn note(&self, event: Event) {
        self.state.lock().events.add(event);
        self.keep().await;
    }

    /// The last events that `wanted` takes, the newest first.
    pub(crate) fn events(&self, wanted: impl Fn(&Event) -> bool, most: usize) -> Vec<Event> {
        let state = self.state.lock();
        state
            .events
            .iter()
            .rev()
            .filter(|event| wanted(event))
            .take(most)
            .cloned()
            .collect()
    }
}

/// Records which alerts begin to fire and which end.
fn note_changes(kept: &mut Kept, events: &mut EventLog, alerts: &[Alert], now_ms: u64) {
    let firing: BTreeMap<String, &Alert> = alerts
        .iter()
        .filter(|alert| alert.is_firing())
        .map(|alert| (alert.fingerprint(), alert))
        .collect();
    for (_, alert) in firing.iter().filter(|(key, _)| !kept.firing.contains(*key)) {
        let (name, severity, endpoint) = (
            alert.name(),
            alert.label("severity"),
            alert.label("endpoint"),
        );
        if alert.label("slo").is_empty() {
            let why = alert.annotation("description");
            warn!(alert = name, severity, endpoint, why, "alert");
        }
        let event = alert_event("alert.firing", alert, now_ms);
        events.add(event.with("description", alert.annotation("description")));
    }
    for alert in alerts
        .iter()
        .filter(|alert| !alert.is_firing() && kept.firing.contains(&alert.fingerprint()))
    {
        if alert.label("slo").is_empty() {
            info!(
                alert = alert.name(),
                endpoint = alert.label("endpoint"),
                "alert resolved"
            );
        }
        events.add(alert_event("alert.resolved", alert, now_ms));
    }
    kept.firing = firing.into_keys().collect();
}

fn alert_event(name: &str, alert: &Alert, now_ms: u64) -> Event {
    let event = Event::new(name, now_ms).about(alert.label("endpoint"), alert.label("version"));
    event
        .with("alert", alert.name())
        .with("severity", alert.label("severity"))
        .with("key", alert.fingerprint())
}

fn silence_event(name: &str, silence: &Silence, now_ms: u64) -> Event {
    let matchers: Vec<String> = silence.matchers.iter().map(ToString::to_string).collect();
    let event = Event::new(name, now_ms)
        .with("id", silence.id.as_str())
        .with("author", silence.author.as_str());
    event
        .with("matchers", matchers.join(", "))
        .with("until_ms", silence.until_ms)
}

fn loads(samples: &[Sample]) -> BTreeMap<String, Loads> {
    let mut loads: BTreeMap<String, Loads> = BTreeMap::new();
    for Sample { labels, value } in samples {
        let (Some(model), Some(outcome)) = (labels.get("model"), labels.get("outcome")) else {
            continue;
        };
        let of_model = loads.entry(model.clone()).or_default();
        match outcome.as_str() {
            "ok" => of_model.ok += value,
            _ => of_model.failed += value,
        }
    }
    loads
}
