//! Progressive delivery: who gets which version of a model, and when a new version gets more of the
//! traffic. Pure decisions, no I/O.
//!
//! **In**: the traffic policy of an endpoint, what is known about a request, counts of what versions
//! did, and the time. **Out**: the version that answers, whether a version is worse than another
//! one with a stated probability of error, and the next step of a rollout.
//!
//! This crate reads no clock, file or network, and depends on nothing else of the workspace. Callers
//! pass in times and counts, and persist what says that it can be serialized.
//!
//! - [`policy`]: what users write: weights, rules, sticky keys, shadows, fallbacks.
//! - [`assign`]: from a policy and a request to a version.
//! - [`sequential`]: statistics that may be looked at after every request.
//! - [`rollout`]: the steps from one version to the next, and the way back.
//! - [`experiment`]: sample sizes, assignment, effects, bandits.
//! - [`compare`]: whether two versions gave the same answer.
//! - [`cascade`]: when a cheap version may answer.
//!
//! ```
//! use tidegate_delivery::assign::{Assignment, Router};
//! use tidegate_delivery::policy::{Attribute, TrafficPolicy};
//!
//! let policy: TrafficPolicy = toml::from_str(
//!     r#"
//!     sticky = "header:x-user"
//!     versions = [{ version = 7, weight = "95%" }, { version = 8, weight = "5%" }]
//!     "#,
//! )?;
//! let assignment = Assignment::new("fraud", &policy);
//! let router = Router::new(&policy, &assignment, 0)?;
//!
//! let request = |attribute: &Attribute| match attribute {
//!     Attribute::Header(name) if name == "x-user" => Some("ada".into()),
//!     _ => None,
//! };
//! let choice = router.choose(&request);
//! assert_eq!(router.versions()[choice.version].as_str(), "7");
//! assert_eq!(router.choose(&request), choice);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod assign;
pub mod cascade;
pub mod compare;
pub mod experiment;
pub mod policy;
pub mod rollout;
pub mod sequential;
