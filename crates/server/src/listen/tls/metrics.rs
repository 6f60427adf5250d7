//! The metrics of TLS.

use std::sync::Arc;

use arc_swap::ArcSwap;
use prometheus::{IntCounter, IntCounterVec};
use tidegate_serving::{
    Exposition, Family, Labels, MetricEntry, MetricRegistry, MetricSource, Sample,
};

use super::files::LoadedTls;

const EXPIRES: Family<'static> = Family::gauge(
    "tidegate_tls_certificate_expires_timestamp_seconds",
    "Until when the certificate of this server is valid, in Unix time",
);

/// Counts handshakes and reloads that failed.
pub(super) struct TlsMetrics {
    failed_handshakes: IntCounterVec,
    pub(super) failed_reloads: IntCounter,
}

/// Why a handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HandshakeFailure {
    /// It took too long.
    Timeout,
    /// The client does not speak TLS.
    NotTls,
    /// The client has no certificate, or one that is not accepted.
    ClientCertificate,
    /// The client has closed the connection.
    Closed,
    /// Anything else: no common version, an alert of the client, which may not trust the server.
    Protocol,
}

impl HandshakeFailure {
    fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::NotTls => "not_tls",
            Self::ClientCertificate => "client_certificate",
            Self::Closed => "closed",
            Self::Protocol => "protocol",
        }
    }
}

impl TlsMetrics {
    /// Registers them; they are zero or absent while TLS is off.
    pub(super) fn new(registry: &MetricRegistry, loaded: Option<Arc<ArcSwap<LoadedTls>>>) -> Self {
        registry.add_source(Expiry { loaded });
        Self {
            failed_handshakes: registry.counter_vec(
                "tidegate_tls_handshakes_failed_total",
                "TLS handshakes that failed, by reason",
                &["reason"],
            ),
            failed_reloads: registry.counter(
                "tidegate_tls_reload_failures_total",
                "New content of the files of certificates that could not be used",
            ),
        }
    }

    pub(super) fn handshake_failed(&self, failure: HandshakeFailure) {
        let reason = failure.name();
        self.failed_handshakes.with_label_values(&[reason]).inc();
    }
}

struct Expiry {
    loaded: Option<Arc<ArcSwap<LoadedTls>>>,
}

impl MetricSource for Expiry {
    fn entries(&self) -> Vec<MetricEntry> {
        vec![MetricEntry::new(EXPIRES, &[])]
    }

    fn expose(&self, out: &mut dyn Exposition) {
        let Some(loaded) = &self.loaded else {
            return;
        };
        let seconds = loaded.load().expires_ms / 1000;
        out.family(EXPIRES);
        out.sample(Sample::plain(&Labels::default(), seconds as f64));
    }
}
