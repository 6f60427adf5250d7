//! Tells about one version: every change is a line of the log, an event and a metric.

use std::sync::{Arc, OnceLock};

use serde_json::json;
use tidegate_gateway::{BreakerChange, BreakerState};
use tracing::{info, warn};

use crate::ejection::EjectionChange;
use crate::remotes::{RemoteEvent, RemoteMetrics, Remotes};

/// The kinds of further attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Further {
    Retry,
    Hedge,
}

impl Further {
    fn name(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Hedge => "hedge",
        }
    }
}

/// Reports under the name that the version is served by. Before it has one, such as while it is
/// only checked, nothing is reported but the log.
pub(crate) struct Reporter {
    remotes: Arc<Remotes>,
    served: OnceLock<(String, String)>,
}

impl Reporter {
    pub(crate) fn new(remotes: Arc<Remotes>) -> Self {
        Self {
            remotes,
            served: OnceLock::new(),
        }
    }

    pub(crate) fn serves(&self, model: &str, version: &str) {
        let _ = self.served.set((model.to_owned(), version.to_owned()));
    }

    /// Notes why no server works, or that one does. Like the gauge of the breaker, it is noted again and
    /// again.
    pub(crate) fn outage_is(&self, why: Option<String>) {
        if let Some((model, version)) = self.served.get() {
            self.remotes.set_outage(model, version, why);
        }
    }

    /// Sets the gauge of the breaker. Also between its changes: a version that was loaded before
    /// under the same name removes the gauge when it ends.
    pub(crate) fn breaker_is(&self, state: BreakerState) {
        let value = match state {
            BreakerState::Closed => 0,
            BreakerState::HalfOpen => 1,
            BreakerState::Open => 2,
        };
        self.with(|metrics, model, version| {
            let gauge = metrics.breaker_state.with_label_values(&[model, version]);
            gauge.set(value);
        });
    }

    fn with(&self, count: impl FnOnce(&RemoteMetrics, &str, &str)) {
        if let (Some(metrics), Some((model, version))) = (self.remotes.metrics(), self.served.get())
        {
            count(metrics, model, version);
        }
    }

    fn names(&self) -> (&str, &str) {
        let served = self.served.get();
        served.map_or(("", ""), |(model, version)| {
            (model.as_str(), version.as_str())
        })
    }

    fn event(&self, name: &'static str, fields: Vec<(&'static str, serde_json::Value)>) {
        if let Some((model, version)) = self.served.get() {
            self.remotes.add(RemoteEvent {
                name,
                model: model.clone(),
                version: version.clone(),
                fields,
            });
        }
    }

    pub(crate) fn attempt_begins(&self, address: &str) {
        self.with(|metrics, model, version| {
            metrics
                .in_flight
                .with_label_values(&[model, version, address])
                .inc();
        });
    }

    pub(crate) fn attempt_ends(&self, address: &str, outcome: &str) {
        self.with(|metrics, model, version| {
            metrics
                .in_flight
                .with_label_values(&[model, version, address])
                .dec();
            let labels = [model, version, address, outcome];
            metrics.attempts.with_label_values(&labels).inc();
        });
    }

    /// The first failure of a server after requests that it has answered.
    pub(crate) fn attempt_failed(&self, address: &str, reason: &str) {
        let (model, version) = self.names();
        warn!(
            model,
            version, address, reason, "a request to an upstream server failed"
        );
    }

    /// A server did not say the signature while the version was loaded.
    pub(crate) fn not_loaded_from(&self, address: &str, reason: &str) {
        warn!(
            address,
            reason, "an upstream server does not say the signature"
        );
    }

    pub(crate) fn further_attempt(&self, kind: Further, is_allowed: bool) {
        self.with(|metrics, model, version| {
            let counter = match is_allowed {
                true => &metrics.retries,
                false => &metrics.retries_refused,
            };
            counter
                .with_label_values(&[model, version, kind.name()])
                .inc();
        });
    }

    pub(crate) fn address_is_up(&self, address: &str, is_up: bool) {
        self.with(|metrics, model, version| {
            let labels = [model, version, address];
            metrics
                .address_up
                .with_label_values(&labels)
                .set(i64::from(is_up));
        });
    }

    pub(crate) fn ejection(&self, address: &str, change: EjectionChange, reason: &str) {
        let (model, version) = self.names();
        match change {
            EjectionChange::Ejected { failures, lasts } => {
                let lasts_ms = lasts.as_millis() as u64;
                warn!(
                    model,
                    version, address, failures, lasts_ms, reason, "upstream server ejected"
                );
                self.event(
                    "remote.address_ejected",
                    vec![
                        ("address", json!(address)),
                        ("failures", json!(failures)),
                        ("lasts_ms", json!(lasts_ms)),
                        ("reason", json!(reason)),
                    ],
                );
                self.with(|metrics, model, version| {
                    metrics
                        .ejections
                        .with_label_values(&[model, version, address])
                        .inc();
                });
            }
            EjectionChange::Readmitted => {
                info!(model, version, address, "upstream server readmitted");
                self.event(
                    "remote.address_readmitted",
                    vec![("address", json!(address))],
                );
            }
        }
    }

    pub(crate) fn unhealthy(&self, address: &str, reason: &str) {
        let (model, version) = self.names();
        warn!(model, version, address, reason, "upstream server unhealthy");
        let fields = vec![("address", json!(address)), ("reason", json!(reason))];
        self.event("remote.address_unhealthy", fields);
    }

    pub(crate) fn healthy(&self, address: &str) {
        let (model, version) = self.names();
        info!(model, version, address, "upstream server healthy");
        self.event("remote.address_healthy", vec![("address", json!(address))]);
    }

    pub(crate) fn signature_differs(&self, address: &str, difference: &str) {
        let (model, version) = self.names();
        warn!(
            model,
            version,
            address,
            difference,
            "upstream server has another signature: it gets no request"
        );
        let fields = vec![
            ("address", json!(address)),
            ("difference", json!(difference)),
        ];
        self.event("remote.signature_differs", fields);
    }

    pub(crate) fn token_not_read(&self, problem: &str) {
        let (model, version) = self.names();
        warn!(
            model,
            version, problem, "the bearer token cannot be read again"
        );
    }

    pub(crate) fn breaker(&self, change: BreakerChange) {
        let (model, version) = self.names();
        let (calls, failed, slow) = (change.calls, change.failed, change.slow);
        let to = change.to.name();
        let name = match change.to {
            BreakerState::Closed => "remote.breaker_closed",
            BreakerState::HalfOpen => "remote.breaker_half_open",
            BreakerState::Open => "remote.breaker_opened",
        };
        match change.to {
            BreakerState::Open => warn!(
                model,
                version, calls, failed, slow, "circuit breaker open: requests are refused"
            ),
            BreakerState::HalfOpen | BreakerState::Closed => {
                info!(
                    model,
                    version,
                    calls,
                    failed,
                    slow,
                    state = to,
                    "circuit breaker changed"
                );
            }
        }
        let numbers = [("requests", calls), ("failed", failed), ("slow", slow)];
        let fields = numbers.map(|(field, count)| (field, json!(count)));
        self.event(name, fields.into());
        self.breaker_is(change.to);
        self.with(|metrics, model, version| {
            metrics
                .breaker_changes
                .with_label_values(&[model, version, to])
                .inc();
        });
    }

    /// Removes the gauges and the outage of a version that is gone. Its counters stay: counters never fall.
    pub(crate) fn forget<'a>(&self, addresses: impl Iterator<Item = &'a str>) {
        self.outage_is(None);
        self.with(|metrics, model, version| {
            // Fails only if there is none, as after a reload under the same name.
            let _ = metrics.breaker_state.remove_label_values(&[model, version]);
            for address in addresses {
                let labels = [model, version, address];
                let _ = metrics.address_up.remove_label_values(&labels);
            }
        });
    }
}
