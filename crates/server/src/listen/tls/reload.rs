//! The certificates that are served, and the files that they follow.
//!
//! A pair that cannot be used leaves the one before in place.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::ServerConfig;
use tidegate_serving::MetricRegistry;
use tidegate_store::now_ms;
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::files::{CertificateFiles, Contents, LoadedTls};
use super::metrics::TlsMetrics;
use super::{TlsConfig, TlsError, TlsPort};
use crate::blocking::run_blocking;
use crate::component::Component;
use crate::followed_content::FollowedContent;

/// TLS of a server; nothing if it is off.
pub(crate) struct Tls {
    followed: Option<FollowedFiles>,
    pub(super) metrics: TlsMetrics,
    handshake_timeout: Duration,
}

struct FollowedFiles {
    files: CertificateFiles,
    loaded: Arc<ArcSwap<LoadedTls>>,
    every: Duration,
    state: Mutex<State>,
}

struct State {
    content: FollowedContent,
    /// Why the files are not what is served.
    problem: Option<String>,
}

impl Tls {
    /// Reads the files that `config` names.
    ///
    /// # Errors
    /// What is wrong with the configuration or the files.
    pub(crate) fn new(config: &TlsConfig, registry: &MetricRegistry) -> Result<Self, TlsError> {
        config.check()?;
        let every = Duration::from_millis(config.reload_ms);
        let followed = match CertificateFiles::of(config) {
            None => None,
            Some(files) => Some(FollowedFiles::open(files, every).map_err(TlsError::Files)?),
        };
        let loaded = followed.as_ref().map(|followed| followed.loaded.clone());
        Ok(Self {
            followed,
            metrics: TlsMetrics::new(registry, loaded),
            handshake_timeout: Duration::from_millis(config.handshake_timeout_ms),
        })
    }

    /// Whether the ports speak TLS.
    pub(crate) fn is_on(&self) -> bool {
        self.followed.is_some()
    }

    /// What a port with this choice of protocols needs; `None` if TLS is off.
    pub(crate) fn port(self: &Arc<Self>, is_grpc: bool) -> Option<TlsPort> {
        let loaded = self.followed.as_ref()?.loaded.clone();
        let timeout = self.handshake_timeout;
        Some(TlsPort::new(self.clone(), loaded, is_grpc, timeout))
    }
}

impl LoadedTls {
    pub(super) fn config(&self, is_grpc: bool) -> Arc<ServerConfig> {
        match is_grpc {
            true => self.grpc.clone(),
            false => self.http.clone(),
        }
    }
}

impl FollowedFiles {
    fn open(files: CertificateFiles, every: Duration) -> Result<Self, String> {
        let contents = files.read()?;
        let loaded = files.load(&contents)?;
        Ok(Self {
            files,
            loaded: Arc::new(ArcSwap::from_pointee(loaded)),
            every,
            state: Mutex::new(State {
                content: FollowedContent::of(contents.digest()),
                problem: None,
            }),
        })
    }

    /// Looks once.
    fn check(&self, metrics: &TlsMetrics) {
        let contents = self.files.read();
        let finding = contents
            .as_ref()
            .map(Contents::digest)
            .map_err(Clone::clone);
        let mut state = self.state.lock();
        if !state.content.is_new(finding) {
            return;
        }
        state.problem = self.take(contents).err();
        match &state.problem {
            None => info!("new TLS certificates are used from now on"),
            Some(problem) => {
                metrics.failed_reloads.inc();
                warn!(%problem, "new TLS certificates cannot be used; the ones before stay in use");
            }
        }
    }

    fn take(&self, contents: Result<Contents, String>) -> Result<(), String> {
        let loaded = self.files.load(&contents?)?;
        if loaded.expires_ms <= now_ms() {
            return Err("the new certificate in tls.cert_file has expired".to_owned());
        }
        // Connections that are open go on with what they have begun with.
        self.loaded.store(Arc::new(loaded));
        Ok(())
    }
}

async fn follow(tls: Arc<Tls>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let tls = tls.clone();
        let checked = run_blocking(move || {
            if let Some(followed) = &tls.followed {
                followed.check(&tls.metrics);
            }
        });
        if let Err(error) = checked.await {
            warn!(%error, "the files of TLS certificates cannot be checked");
        }
    }
}

impl Component for Tls {
    fn name(&self) -> &'static str {
        "tls"
    }

    fn start(self: Arc<Self>, background: &mut JoinSet<()>) {
        if let Some(followed) = &self.followed {
            let every = followed.every;
            background.spawn(follow(self, every));
        }
    }

    fn problems(&self) -> Vec<String> {
        let Some(followed) = &self.followed else {
            return Vec::new();
        };
        let mut problems = Vec::new();
        if let Some(problem) = &followed.state.lock().problem {
            problems.push(format!(
                "TLS certificates cannot be reloaded, and the ones before stay in use: {problem}"
            ));
        }
        if followed.loaded.load().expires_ms <= now_ms() {
            problems.push("the TLS certificate of this server has expired".to_owned());
        }
        problems
    }
}
