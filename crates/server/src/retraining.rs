//! Retraining: from drift, a lost accuracy, new labels or a schedule to a data set and a message that asks
//! for a new version, until that version is pushed.
//!
//! ```text
//! rule fires ─► preparing ─► waiting ─► approved ─► open ─► closed
//!               (data set)   (person)   (message)   (version)
//! ```
//!
//! Every step is a row of the database before the next one begins: a restart goes on where the process
//! before it was. Of the servers of a database, the one that holds the lease follows the rules.

mod advance;
mod api;
mod config;
mod fire;
mod message;
mod reason;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tidegate_serving::{ErrorCode, InferError};
use tidegate_store::{Store, StoreError};
use tokio::sync::OnceCell;
use tokio::task::JoinSet;
use tracing::warn;

pub use self::api::TriggerAnswer;
pub(crate) use self::api::description;
use self::config::RetrainRule;
pub use self::config::{RetrainConfig, RetrainConfigError};
use crate::alerting::Http;
use crate::component::Component;
use crate::datasets::ServerDatasets;
use crate::events::EventJournal;
use crate::quality::Quality;
use crate::routes::Routes;

/// How often rules and triggers are looked at.
const STEP: Duration = Duration::from_secs(5);
/// How long a server follows the rules after it has shown itself for the last time.
const LEASE: Duration = Duration::from_secs(60);

/// Follows the rules of the configuration, and their triggers.
pub(crate) struct Retraining {
    rules: Vec<RetrainRule>,
    http: Http,
    context: RetrainingContext,
    store: OnceCell<Store>,
    state: Mutex<State>,
}

/// What the component reads, and where it reports.
pub(crate) struct RetrainingContext {
    pub(crate) quality: Arc<Quality>,
    pub(crate) datasets: Arc<ServerDatasets>,
    pub(crate) events: Arc<EventJournal>,
    /// The database of triggers.
    pub(crate) database: String,
    /// The name of this server among others.
    pub(crate) server_name: String,
}

#[derive(Default)]
struct State {
    /// Since when each rule has had a reason, in milliseconds since 1970.
    reason_since_ms: BTreeMap<String, u64>,
    /// The rules that have a reason and do not fire, each with why that is.
    held_back: BTreeMap<String, String>,
    /// Why the rules are not followed.
    problem: Option<String>,
}

impl Retraining {
    /// Follows these rules.
    ///
    /// # Errors
    /// A rule that cannot be followed.
    pub(crate) fn new(
        configs: &[RetrainConfig],
        context: RetrainingContext,
    ) -> Result<Self, RetrainConfigError> {
        let rules = RetrainRule::parse_all(configs)?;
        if let Some(rule) = rules.first()
            && !context.datasets.has_folder()
        {
            return Err(RetrainConfigError::NoFolder(rule.config.name.clone()));
        }
        let http = Http::new().map_err(|error| RetrainConfigError::Client(error.to_string()))?;
        Ok(Self {
            rules,
            http,
            context,
            store: OnceCell::new(),
            state: Mutex::default(),
        })
    }

    async fn store(&self) -> Result<&Store, StoreError> {
        let open = || Store::open(&self.context.database);
        self.store.get_or_try_init(open).await
    }

    fn rule(&self, name: &str) -> Option<&RetrainRule> {
        self.rules.iter().find(|rule| rule.config.name == name)
    }

    async fn run(self: Arc<Self>) {
        loop {
            let problem = self.step().await.err();
            if let Some(problem) = &problem {
                warn!(problem, "the rules of retraining are not followed");
            }
            self.state.lock().problem = problem;
            tokio::time::sleep(STEP).await;
        }
    }

    async fn step(&self) -> Result<(), String> {
        let store = self.store().await.map_err(|error| error.to_string())?;
        if !self.hold_lease(store).await? {
            return Ok(());
        }
        self.look_at_rules(store).await?;
        self.advance_all(store).await
    }

    async fn hold_lease(&self, store: &Store) -> Result<bool, String> {
        let for_ms = i64::try_from(LEASE.as_millis()).unwrap_or(i64::MAX);
        let holding = store.hold_retrain_lease(&self.context.server_name, for_ms);
        holding.await.map_err(|error| error.to_string())
    }
}

impl Component for Retraining {
    fn name(&self) -> &'static str {
        "retraining"
    }

    fn routes(self: Arc<Self>) -> Routes<()> {
        api::routes(self)
    }

    fn start(self: Arc<Self>, background: &mut JoinSet<()>) {
        if !self.rules.is_empty() {
            background.spawn(self.run());
        }
    }

    fn problems(&self) -> Vec<String> {
        let problem = self.state.lock().problem.clone();
        let problem = problem.map(|problem| format!("retraining is not watched: {problem}"));
        problem.into_iter().collect()
    }

    /// Lets another server follow the rules at once.
    fn finish(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            if let Some(store) = self.store.get()
                && !self.rules.is_empty()
            {
                // Otherwise the lease ends by itself.
                let _ = store.release_retrain_lease(&self.context.server_name).await;
            }
        })
    }
}

fn not_reached(error: StoreError) -> InferError {
    let message = format!("the triggers cannot be reached: {error}");
    InferError::new(ErrorCode::NotReady, message)
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

fn unsigned(ms: i64) -> u64 {
    u64::try_from(ms).unwrap_or(0)
}
