//! Alerts, from rules to notifications: evaluated every five seconds, saved over restarts.

mod api;
mod config;
mod configuration_digest;
mod deliver;
mod evaluate;
mod metrics;
mod other_sender;
mod persisted;
mod plan;
mod receiver;
mod route_status;
mod secret;
mod shared_notifications;
mod silences;
mod version_changes;

use std::path::Path;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tidegate_observe::Event;
use tidegate_observe::alerting::{Route, RuleBook, TriagedAlert};
use tidegate_serving::{InferError, MetricRegistry, Serving};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::info;

pub(crate) use self::api::{NewSilence, description};
pub use self::config::{AlertsConfig, RouteConfig};
use self::metrics::DeliveryMetrics;
pub(crate) use self::other_sender::OtherSender;
use self::persisted::PersistedState;
pub use self::plan::AlertsError;
use self::plan::Plan;
use self::receiver::Receiver;
pub use self::receiver::config::{PagerDutyConfig, SlackConfig, SmtpConfig, WebhookConfig};
pub(crate) use self::receiver::{Http, Undelivered, Webhook};
use self::route_status::Deliveries;
pub(crate) use self::route_status::RouteStatus;
use self::shared_notifications::SharedNotifications;
use self::version_changes::LastSeen;
use crate::ServerConfig;
use crate::clock;
use crate::component::Component;
use crate::events::EventJournal;
use crate::exposition::MetricExposition;
use crate::group_notes::GroupOutbox;
use crate::lifecycle::Lifecycle;
use crate::objectives::Objectives;
use crate::persisted_state::StateFile;
use crate::routes::Routes;

const EVALUATE_EVERY_MS: u64 = 5000;

/// The alerts of a server.
pub(crate) struct Alerting {
    plan: Plan,
    metrics: DeliveryMetrics,
    context: AlertingContext,
    http: Http,
    file: Option<StateFile>,
    state: Mutex<State>,
    /// Which other replica sends the alerts that all replicas have, if one does.
    other_sender: Mutex<Option<OtherSender>>,
    /// Counts the evaluations, to wake those who deliver.
    evaluated: watch::Sender<u64>,
}

/// The sources that alerting reads, and the journal to which it reports.
pub(crate) struct AlertingContext {
    pub(crate) serving: Arc<Serving>,
    pub(crate) lifecycle: Arc<Lifecycle>,
    /// The metrics that rules are about.
    pub(crate) exposition: Arc<MetricExposition>,
    pub(crate) objectives: Arc<Objectives>,
    pub(crate) events: Arc<EventJournal>,
    /// The other replicas, if there are any.
    pub(crate) group: Option<Arc<GroupOutbox>>,
    /// Limits the bodies of the API.
    pub(crate) server: ServerConfig,
}

struct State {
    persisted: PersistedState,
    rules: RuleBook,
    /// The versions as they were at the last evaluation.
    last: LastSeen,
    deliveries: Deliveries,
    shared: SharedNotifications,
    /// The alerts as they were at the last evaluation.
    triaged: Arc<Vec<TriagedAlert>>,
}

impl Alerting {
    /// The configured alerting. Its state is read from the folder `data`; without a folder, the
    /// state ends with the process. Rules may name the metrics that `registry` has by now:
    /// everything else registers before.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub(crate) fn new(
        config: &AlertsConfig,
        registry: &MetricRegistry,
        data: Option<&Path>,
        context: AlertingContext,
    ) -> Result<Self, AlertsError> {
        let follows_registry = context.serving.fleet().is_some();
        // Registered before the catalogue is read: rules may be about these metrics too.
        let metrics = DeliveryMetrics::new(registry);
        let mut plan = Plan::new(config, follows_registry, &registry.catalogue())?;
        let http = Http::new().map_err(|error| AlertsError::Client(error.to_string()))?;
        let file = data.map(|data| StateFile::open(data.join("alerts.json")));
        let (file, persisted) = file.unzip();
        let mut persisted: PersistedState = persisted.unwrap_or_default();
        let rules = RuleBook::new(
            std::mem::take(&mut plan.rules),
            std::mem::take(&mut persisted.rules),
        );
        if let Some(fleet) = context.serving.fleet() {
            // The rollouts that were held before a restart, before the fleet follows the registry.
            fleet.restore_names(persisted.frozen_names.clone());
        }
        Ok(Self {
            plan,
            metrics,
            context,
            http,
            file,
            state: Mutex::new(State {
                persisted,
                rules,
                last: LastSeen::default(),
                deliveries: Deliveries::default(),
                shared: SharedNotifications::default(),
                triaged: Arc::default(),
            }),
            other_sender: Mutex::default(),
            evaluated: watch::channel(0).0,
        })
    }

    /// Records an event that the process started, and one if its configuration differs from that
    /// of the last start: the keys that changed, never their values. Secrets must not be in it as
    /// they are.
    pub(crate) async fn record_start(&self, configuration: &serde_json::Value) {
        let now_ms = clock::now_ms();
        let events = &self.context.events;
        events.add(Event::new("server.started", now_ms).with("version", env!("CARGO_PKG_VERSION")));
        let changed = self
            .state
            .lock()
            .persisted
            .configuration
            .update(configuration)
            .join(", ");
        if !changed.is_empty() {
            info!(
                keys = changed,
                "the configuration has changed since the last start"
            );
            events.add(Event::new("configuration.changed", now_ms).with("keys", changed));
        }
        // Written now: a server that crashes soon after its start must not report the same change
        // again.
        self.persist().await;
    }

    /// Evaluates until it is dropped, and delivers meanwhile.
    async fn run(self: Arc<Self>) {
        let mut deliveries = JoinSet::new();
        for route in 0..self.plan.routes.len() {
            // One task each: a receiver that hangs holds up nobody else's messages.
            deliveries.spawn(self.clone().deliver(route));
        }
        loop {
            let now_ms = clock::next_multiple(EVALUATE_EVERY_MS).await;
            self.evaluate(now_ms).await;
        }
    }

    /// Every alert as it was at the last evaluation.
    pub(crate) fn alerts(&self) -> Arc<Vec<TriagedAlert>> {
        self.state.lock().triaged.clone()
    }

    /// Every route, and whether messages arrive.
    fn routes_status(&self) -> Vec<RouteStatus> {
        let state = self.state.lock();
        self.plan
            .routes
            .iter()
            .map(|(route, receiver)| state.route_status(route, receiver))
            .collect()
    }

    /// Fails if the last change could not be written.
    pub(crate) fn check_saved(&self) -> Result<(), InferError> {
        self.file.as_ref().map_or(Ok(()), StateFile::check)
    }

    async fn persist(&self) {
        if let Some(file) = &self.file {
            file.write(|| serde_json::to_vec(&self.state.lock().persisted))
                .await;
        }
        self.context.events.persist().await;
    }
}

impl Component for Alerting {
    fn name(&self) -> &'static str {
        "alerting"
    }

    fn routes(self: Arc<Self>) -> Routes<()> {
        api::routes(self)
    }

    fn start(self: Arc<Self>, background: &mut JoinSet<()>) {
        background.spawn(self.run());
    }

    fn finish(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            // A freeze that began since the last evaluation must hold after a restart too.
            self.note_frozen_names(&mut self.state.lock().persisted);
            self.persist().await;
        })
    }
}

impl State {
    fn route_status(&self, route: &Route, receiver: &Receiver) -> RouteStatus {
        RouteStatus {
            name: route.name.clone(),
            receiver: receiver.kind(),
            waiting: self.persisted.outbox.waiting(&route.name),
            delivery: self.deliveries.of(&route.name),
        }
    }
}
