//! One evaluation: versions, freezes and rules are compared with the last one, alerts are triaged,
//! and messages are put into the outbox.

use std::collections::BTreeMap;

use tidegate_observe::alerting::{Alert, Message, Sample, Suppressors};
use tidegate_observe::{Event, EventLog};
use tidegate_serving::{IndexEntry, SeriesValues};
use tracing::{info, warn};

use super::metrics::MessageOutcome;
use super::persisted::PersistedState;
use super::version_changes::{Change, LoadCounts, VersionChange};
use super::{Alerting, State};
use crate::blocking::run_blocking;

/// Most alerts at once; further ones are ignored.
const MAX_ALERTS: usize = 2000;
const LOADS: &str = "tidegate_model_loads_total";

impl Alerting {
    /// Brings everything up to a moment, and writes it before anybody is notified.
    pub(super) async fn evaluate(&self, now_ms: u64) {
        let index = self.index().await;
        // Before the state is locked: reading every metric takes a while, and the API needs the
        // lock.
        let mut samples = self.samples();
        let alerts = self.context.objectives.alerts(&self.plan.links, now_ms);
        let other_sender = self.other_sender();
        {
            let mut state = self.state.lock();
            self.note_frozen_names(&mut state.persisted);
            if let Some(index) = index {
                let loads = load_counts(samples.get(LOADS).map_or(&[], Vec::as_slice));
                self.record_version_changes(&mut state, &index, loads, now_ms);
            } else {
                // A server that is starting is not ready, and need not be.
                samples.remove("tidegate_ready");
            }
            self.step(&mut state, &samples, alerts, other_sender, now_ms);
        }
        self.persist().await;
        // After the file is written: a restart must not forget a message that was sent.
        self.evaluated.send_modify(|evaluations| *evaluations += 1);
    }

    /// Every version; `None` while the server starts.
    async fn index(&self) -> Option<Vec<IndexEntry>> {
        if !self.context.lifecycle.has_started() {
            return None;
        }
        let serving = self.context.serving.clone();
        run_blocking(move || serving.index()).await.ok()
    }

    /// The values of the metrics that rules are about, and of the loads.
    fn samples(&self) -> BTreeMap<String, Vec<Sample>> {
        let metrics = &self.plan.metrics;
        let mut values = SeriesValues::new(|name: &str| name == LOADS || metrics.contains(name));
        self.context.exposition.expose(&mut values);
        let mut samples = BTreeMap::new();
        for (name, series) in values.finish() {
            let of_metric = series
                .into_iter()
                .map(|(labels, value)| Sample { labels, value });
            samples.insert(name, of_metric.collect());
        }
        samples
    }

    /// Saves which versions the names of models with waiting rollouts mean.
    pub(super) fn note_frozen_names(&self, persisted: &mut PersistedState) {
        if let Some(fleet) = self.context.serving.fleet() {
            let names = fleet.frozen_names();
            // Right after a start nothing is served yet: what was noted before stays until it is.
            persisted
                .frozen_names
                .retain(|model, _| fleet.is_frozen(model));
            persisted.frozen_names.extend(names);
        }
    }

    fn record_version_changes(
        &self,
        state: &mut State,
        index: &[IndexEntry],
        loads: BTreeMap<String, LoadCounts>,
        now_ms: u64,
    ) {
        let State {
            persisted, last, ..
        } = state;
        let fleet = self.context.serving.fleet();
        let changes = persisted.known.update(last, index, loads, |model| {
            fleet.is_some_and(|fleet| fleet.manages(model))
        });
        let deploy_window_ms = self.plan.deploy_window_ms;
        for change in changes {
            let VersionChange { model, version, .. } = &change;
            if change.is_deploy() && deploy_window_ms > 0 {
                persisted
                    .deploys
                    .open(model, version, now_ms, deploy_window_ms);
            }
            self.context.events.add(version_event(change, now_ms));
        }
    }

    /// Evaluates the rules, triages their alerts and those of the objectives, and puts messages
    /// into the outbox.
    fn step(
        &self,
        state: &mut State,
        samples: &BTreeMap<String, Vec<Sample>>,
        mut alerts: Vec<Alert>,
        other_sender: Option<String>,
        now_ms: u64,
    ) {
        let State {
            persisted, rules, ..
        } = state;
        {
            let mut events = self.context.events.lock();
            rules.evaluate(samples, &events, now_ms);
            alerts.extend(rules.alerts(&self.plan.links));
            // Objectives come first, so it is rules with very many series that lose alerts.
            alerts.truncate(MAX_ALERTS);
            alerts = alerts
                .into_iter()
                .map(|alert| self.plan.links.with_dashboard(alert))
                .collect();
            record_changes(persisted, &mut events, &alerts, now_ms);
        }
        // Changes are recorded whether or not anybody is notified; triage decides that only now.
        persisted.silences.prune(now_ms);
        let suppressors = Suppressors {
            silences: &persisted.silences,
            inhibitions: &self.plan.inhibitions,
            deploys: &persisted.deploys,
            deploy_severities: &self.plan.deploy_severities,
            notifying_replica: other_sender.as_deref(),
        };
        state.triaged = suppressors.triage(alerts, now_ms).into();
        persisted.rules = rules.states();
        if let Some(group) = &self.context.group {
            let is_sender = other_sender.is_none();
            let alerts: Vec<Alert> = state
                .triaged
                .iter()
                .map(|triaged| triaged.alert.clone())
                .collect();
            let dispatch = &mut state.persisted.dispatch;
            state.shared.take_over(dispatch, &alerts, is_sender, now_ms);
            self.fill_outbox(state, now_ms);
            for note in state.shared.changes(&state.persisted.dispatch, now_ms) {
                group.send(&note);
            }
        } else {
            self.fill_outbox(state, now_ms);
        }
    }

    /// Puts the messages that are due into the outbox, and drops those that are too old.
    fn fill_outbox(&self, state: &mut State, now_ms: u64) {
        let State {
            persisted, triaged, ..
        } = state;
        let routes = &self.plan.message_routes;
        let dispatched = persisted.dispatch.step(routes, triaged, now_ms);
        for _ in 0..dispatched.limited {
            self.metrics.count(MessageOutcome::Limited);
        }
        let outbox = &mut persisted.outbox;
        for message in dispatched.messages {
            if let Some(dropped) = outbox.add(message, self.plan.max_waiting) {
                self.dropped(&dropped, "too many messages wait", now_ms);
            }
        }
        let names: Vec<&str> = routes.iter().map(|route| route.name.as_str()).collect();
        let oldest_ms = now_ms.saturating_sub(self.plan.give_up_after_ms);
        for dropped in outbox.expire(oldest_ms, &names) {
            let reason = "it waited for too long, or its route is gone";
            self.dropped(&dropped, reason, now_ms);
        }
    }

    /// Records that a message will not be delivered.
    pub(super) fn dropped(&self, message: &Message, reason: &str, now_ms: u64) {
        self.metrics.count(MessageOutcome::Dropped);
        warn!(
            route = message.route,
            reason,
            alerts = message.alerts.len(),
            "a message about alerts is dropped"
        );
        let endpoint = message.group_labels.get("endpoint");
        let names: Vec<&str> = message.alerts.iter().map(Alert::name).collect();
        let event = Event::new("alert.undelivered", now_ms)
            .about(endpoint.map_or("", String::as_str), "")
            .with("route", message.route.as_str())
            .with("reason", reason)
            .with("alerts", names.join(", "));
        self.context.events.add(event);
    }
}

fn version_event(change: VersionChange, now_ms: u64) -> Event {
    let VersionChange {
        model,
        version,
        change,
    } = change;
    let name = match change {
        Change::Ready { .. } => "version.ready",
        Change::Reloaded => "version.reloaded",
        Change::Gone => "version.gone",
        Change::LoadFailed { .. } => "version.load_failed",
    };
    let event = Event::new(name, now_ms).about(&model, &version);
    match change {
        Change::Ready { is_deploy } => event.with("deploy", is_deploy),
        Change::Reloaded | Change::Gone => event,
        Change::LoadFailed { reason, times } => event.with("reason", reason).with("times", times),
    }
}

/// Records which alerts begin to fire and which end.
fn record_changes(
    persisted: &mut PersistedState,
    events: &mut EventLog,
    alerts: &[Alert],
    now_ms: u64,
) {
    let firing: BTreeMap<String, &Alert> = alerts
        .iter()
        .filter(|alert| alert.is_firing())
        .map(|alert| (alert.fingerprint(), alert))
        .collect();
    for (_, alert) in firing
        .iter()
        .filter(|(key, _)| !persisted.firing.contains(*key))
    {
        let (name, severity, endpoint) = (
            alert.name(),
            alert.label("severity"),
            alert.label("endpoint"),
        );
        // Objectives log their own alerts, with the burn rates.
        if alert.label("slo").is_empty() {
            let why = alert.annotation("description");
            warn!(alert = name, severity, endpoint, why, "alert");
        }
        let event = alert_event("alert.firing", alert, now_ms);
        events.add(event.with("description", alert.annotation("description")));
    }
    for alert in alerts
        .iter()
        .filter(|alert| !alert.is_firing() && persisted.firing.contains(&alert.fingerprint()))
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
    persisted.firing = firing.into_keys().collect();
}

fn alert_event(name: &str, alert: &Alert, now_ms: u64) -> Event {
    let event = Event::new(name, now_ms).about(alert.label("endpoint"), alert.label("version"));
    event
        .with("alert", alert.name())
        .with("severity", alert.label("severity"))
        .with("key", alert.fingerprint())
}

fn load_counts(samples: &[Sample]) -> BTreeMap<String, LoadCounts> {
    let mut loads: BTreeMap<String, LoadCounts> = BTreeMap::new();
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
