//! The engine `remote`: versions that other inference servers run, over the Open Inference Protocol.
//!
//! In: a manifest with a section `[remote]`, and requests. Out: the signature that the servers say,
//! and their answers, which are exactly as that signature says or an error. This crate must never
//! depend on models, queues or front ends: it is an [`Engine`](tidegate_engines::Engine) like the
//! others.
//!
//! ```
//! use std::sync::Arc;
//!
//! use tidegate_core::{EngineChoice, EngineOptions};
//! use tidegate_engines::{Engines, REMOTE};
//! use tidegate_remote::{RemoteEngine, Remotes};
//!
//! let remote = RemoteEngine::new(Arc::new(Remotes::default()), None);
//! let engines = Engines::portable_only().with(Arc::new(remote));
//! let folder = tempfile::tempdir()?;
//! let manifest = folder.path().join("model.toml");
//! std::fs::write(&manifest, "[remote]\nendpoints = [\"ftp://a\"]")?;
//! let refused = engines.load(&manifest, &EngineChoice::from(REMOTE), &EngineOptions::default());
//! assert!(refused.err().unwrap().to_string().contains("must begin with http://"));
//! # Ok::<(), std::io::Error>(())
//! ```

mod address;
mod balancer;
mod call;
mod config;
mod ejection;
mod engine;
mod failure;
pub mod fuzzing;
mod json;
mod latency;
mod remotes;
mod reporter;
mod retry_budget;
mod transport;
mod version;

pub use engine::RemoteEngine;
pub use remotes::{RemoteEvent, RemoteMetrics, Remotes};
