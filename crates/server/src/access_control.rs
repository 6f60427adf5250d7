//! Keeps the API keys that the gateway knows in step with the database, where they are created and
//! revoked.

mod api;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tidegate_gateway::{ApiKeys, AuthConfig, Gateway, KeyTable};
use tidegate_store::{Store, StoreError};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{info, warn};

pub use self::api::ListedKey;
pub(crate) use self::api::description;
use crate::ServerConfig;
use crate::component::Component;
use crate::routes::Routes;

/// How often it is noted when keys were used.
const NOTE_USES_EVERY: Duration = Duration::from_secs(60);
/// Shortest time between two looks.
pub(crate) const MIN_REFRESH: Duration = Duration::from_millis(50);
/// Longest that the last note may take.
const FINISH_TIMEOUT: Duration = Duration::from_secs(2);

/// The API keys of a server; none if authentication is off.
pub(crate) struct AccessControl {
    gateway: Arc<Gateway>,
    database: String,
    refresh: Duration,
    server: ServerConfig,
    /// Whether somebody may manage keys without having one.
    has_other_key_managers: bool,
    /// Held while the keys are read, so that an older reading never replaces a newer one.
    reading: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    keys: Option<ApiKeys>,
    /// The change of the keys that the gateway knows.
    change: Option<i64>,
    /// The last uses that are in the database, by the ids of the keys.
    noted: HashMap<String, i64>,
    problem: Option<String>,
}

impl AccessControl {
    pub(crate) fn new(
        config: &AuthConfig,
        server: ServerConfig,
        gateway: Arc<Gateway>,
        default_database: &str,
    ) -> Self {
        let database = config.database.as_deref().unwrap_or(default_database);
        Self {
            gateway,
            database: database.to_owned(),
            refresh: Duration::from_millis(config.refresh_ms).max(MIN_REFRESH),
            server,
            has_other_key_managers: config.has_other_key_managers(),
            reading: tokio::sync::Mutex::default(),
            state: Mutex::default(),
        }
    }

    async fn follow(&self) {
        let mut noted = Instant::now();
        loop {
            self.refresh().await;
            if noted.elapsed() >= NOTE_USES_EVERY {
                noted = Instant::now();
                self.note_uses().await;
            }
            tokio::time::sleep(self.refresh).await;
        }
    }

    /// Looks once. While the database cannot be reached, the keys that were read last stay valid.
    async fn refresh(&self) {
        let _reading = self.reading.lock().await;
        let problem = self.read_changes().await.err();
        let problem = problem.map(|error| format!("the API keys cannot be read: {error}"));
        let mut state = self.state.lock();
        match (&state.problem, &problem) {
            (None, Some(problem)) => warn!("{problem}"),
            (Some(_), None) => info!("the API keys can be read again"),
            _ => {}
        }
        state.problem = problem;
    }

    async fn read_changes(&self) -> Result<(), StoreError> {
        let keys = self.keys().await?;
        let change = match keys.store().api_keys_change().await {
            Ok(change) => change,
            Err(error) => {
                // Another file may be at its path by now.
                self.state.lock().keys = None;
                return Err(error);
            }
        };
        // The usual case: nothing changed, and one small query was enough to see it.
        if self.state.lock().change == Some(change) {
            return Ok(());
        }
        let previous = self.gateway.keys().unwrap_or_default();
        let table = keys.table(&previous).await?;
        info!(keys = table.len(), "API keys read");
        self.gateway.set_keys(table);
        self.state.lock().change = Some(change);
        Ok(())
    }

    async fn keys(&self) -> Result<ApiKeys, StoreError> {
        if let Some(keys) = &self.state.lock().keys {
            return Ok(keys.clone());
        }
        let keys = ApiKeys::new(Store::open(&self.database).await?);
        let mut state = self.state.lock();
        // A database that was opened again may count its changes from another number.
        state.change = None;
        state.keys = Some(keys.clone());
        Ok(keys)
    }

    /// Writes when keys were used last. It is for people, so that a failure is only tried again.
    async fn note_uses(&self) {
        let Some(table) = self.gateway.keys() else {
            return;
        };
        let (keys, uses) = {
            let state = self.state.lock();
            (state.keys.clone(), new_uses(&table, &state.noted))
        };
        let Some(keys) = keys.filter(|_| !uses.is_empty()) else {
            return;
        };
        if keys.store().note_api_key_uses(&uses).await.is_ok() {
            self.state.lock().noted.extend(uses);
        }
    }
}

fn new_uses(table: &KeyTable, noted: &HashMap<String, i64>) -> Vec<(String, i64)> {
    table
        .last_used()
        .filter(|(id, used_ms)| noted.get(*id) != Some(used_ms))
        .map(|(id, used_ms)| (id.to_owned(), used_ms))
        .collect()
}

impl Component for AccessControl {
    fn name(&self) -> &'static str {
        "access control"
    }

    fn routes(self: Arc<Self>) -> Routes<()> {
        api::routes(self)
    }

    fn start(self: Arc<Self>, background: &mut JoinSet<()>) {
        if !self.gateway.is_open() {
            background.spawn(async move { self.follow().await });
        }
    }

    fn problems(&self) -> Vec<String> {
        let issuers = self.gateway.issuers().into_iter();
        let failing = issuers.filter(|issuer| issuer.is_failing);
        let failing =
            failing.map(|issuer| format!("the keys of {} cannot be fetched", issuer.issuer));
        let state = self.state.lock();
        state.problem.iter().cloned().chain(failing).collect()
    }

    fn finish(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            // The server ends even if the database does not answer. The uses are lost then, and
            // leases count as used.
            let _ = tokio::time::timeout(FINISH_TIMEOUT, self.note_uses()).await;
            if let Some(limiter) = self.gateway.limiter() {
                let _ = tokio::time::timeout(FINISH_TIMEOUT, limiter.surrender_leases()).await;
            }
        })
    }
}
