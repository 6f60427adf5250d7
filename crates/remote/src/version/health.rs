//! The checks of the servers: at the load, and from time to time.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tidegate_core::Signature;

use super::{LoadedSignature, RemoteVersion};
use crate::address::Address;
use crate::call::difference;
use crate::failure::CallFailure;
use crate::transport::name_of_empty;

/// Between two rounds of the servers while a version loads.
const LOAD_PAUSE: Duration = Duration::from_millis(200);
/// The longest that a check may take.
const MAX_CHECK: Duration = Duration::from_secs(5);
/// So many servers of a version that cannot be loaded are told of.
const MAX_PROBLEMS: usize = 4;

impl RemoteVersion {
    /// Asks the servers for the signature until one says it. If none does in time, the declared one
    /// is taken, if there is one.
    pub(crate) async fn load_signature(&self) -> Result<Arc<Signature>, String> {
        let loaded = self.find_signature().await?;
        let signature = self.signature.get_or_init(|| loaded).signature.clone();
        Ok(signature)
    }

    async fn find_signature(&self) -> Result<LoadedSignature, String> {
        let until = Instant::now() + self.config.load_timeout;
        let mut failures = vec![None; self.addresses.len()];
        loop {
            if let Some(signature) = self.ask_all(until, &mut failures).await {
                return Ok(of(signature, false));
            }
            if Instant::now() + LOAD_PAUSE < until {
                tokio::time::sleep(LOAD_PAUSE).await;
                continue;
            }
            return match &self.declared {
                // It is known that requests would be refused now; they need not be later.
                Some(declared) => Ok(of(declared.clone(), true)),
                None => Err(self.load_problem(failures)),
            };
        }
    }

    /// What kept each server from saying the signature. Operators find the addresses in the log.
    fn load_problem(&self, failures: Vec<Option<CallFailure>>) -> String {
        let mut problems = Vec::new();
        for (address, failure) in self.addresses.iter().zip(failures) {
            let failure = failure.unwrap_or_else(late);
            self.reporter
                .not_loaded_from(&address.name, &failure.for_operators());
            problems.push(address.failed(failure).message);
        }
        problems.truncate(MAX_PROBLEMS);
        problems.join("; ")
    }

    /// The signature by the first server that says one. Notes why the others do not.
    async fn ask_all(
        &self,
        until: Instant,
        failures: &mut [Option<CallFailure>],
    ) -> Option<Signature> {
        for (address, failure) in self.addresses.iter().zip(failures) {
            let asked = tokio::time::timeout_at(until.into(), address.transport.signature()).await;
            match asked {
                Ok(Ok(Some(signature))) => return Some(signature),
                Ok(Ok(None)) => match &self.declared {
                    Some(declared) => return Some(declared.clone()),
                    None => *failure = Some(CallFailure::invalid(name_of_empty())),
                },
                Ok(Err(found)) => *failure = Some(found),
                // The last try is cut off by the end of the load: what an earlier one found tells more.
                Err(_) => *failure = Some(failure.take().unwrap_or_else(late)),
            }
        }
        None
    }

    /// Checks the servers as long as the version is loaded.
    pub(crate) async fn watch(version: Weak<Self>) {
        loop {
            let Some(held) = version.upgrade() else {
                return;
            };
            held.check_all().await;
            // Not all versions at the same moment.
            let pause = held
                .config
                .health_interval
                .mul_f64(0.9 + fastrand::f64() / 5.0);
            // Not held in the pause: else an unloaded version would stay until its end.
            drop(held);
            tokio::time::sleep(pause).await;
        }
    }

    async fn check_all(&self) {
        if let Err(problem) = self.transports.credentials().reload() {
            self.reporter.token_not_read(&problem);
        }
        self.reporter.breaker_is(self.breaker.lock().state());
        let checks = self.addresses.iter().map(|address| self.check(address));
        join_all(checks).await;
        self.reporter.outage_is(self.outage());
    }

    /// Why nobody answers, where no server is healthy.
    fn outage(&self) -> Option<String> {
        let outages: Option<Vec<String>> = self.addresses.iter().map(Address::outage).collect();
        let mut outages = outages?;
        outages.truncate(MAX_PROBLEMS);
        Some(outages.join("; "))
    }

    async fn check(&self, address: &Address) {
        let limit = MAX_CHECK.min(self.config.health_interval.max(self.config.connect_timeout));
        let checked = tokio::time::timeout(limit, self.look_at(address)).await;
        let late = || {
            Err(CallFailure::timed_out(
                "did not answer a health check in time",
            ))
        };
        let found = checked.unwrap_or_else(|_| late());
        address.checked(found, &self.reporter);
    }

    /// In what the signature of a server differs from the one that was loaded, if it does.
    async fn look_at(&self, address: &Address) -> Result<Option<String>, CallFailure> {
        address.transport.ready().await?;
        let loaded = self.loaded_signature();
        let found = address.transport.signature().await?;
        Ok(found.and_then(|found| difference(&loaded.signature, &found, loaded.is_declared)))
    }
}

fn late() -> CallFailure {
    CallFailure::timed_out("did not answer in time")
}

fn of(signature: Signature, is_declared: bool) -> LoadedSignature {
    LoadedSignature {
        signature: Arc::new(signature),
        is_declared,
    }
}
