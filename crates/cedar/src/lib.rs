//! Cedar policies: who may do what, besides the roles of `tidegate-gateway`.
//!
//! In: a file or folder with policies, and at run time an identity, a permission and the name of a
//! resource. Out: a [`PolicyDecision`](tidegate_gateway::PolicyDecision), from a bounded cache where
//! the same was asked before. Policies are checked against a fixed [schema]; one with an error is
//! refused with its file and line. This crate must never depend on the server.
//!
//! ```
//! use tidegate_cedar::{CedarPolicies, PolicyText};
//! use tidegate_gateway::{Extent, Identity, Permission, PolicyDecision, Principal};
//!
//! let text = r#"
//!     permit (principal, action == Tidegate::Action::"call", resource == Tidegate::Endpoint::"fraud")
//!     when { principal.tenant == "acme" };
//! "#;
//! let policies = CedarPolicies::parse(&PolicyText::of("policies.cedar", text))?;
//! let shop = Identity::new(Principal::ApiKey("shop".into()), "acme", Vec::new());
//! let decision = policies.decide(&shop, Permission::Call, Extent::One("fraud"));
//! assert_eq!(decision, PolicyDecision::Permit);
//! # Ok::<(), tidegate_cedar::PoliciesError>(())
//! ```

mod approximation;
mod cache;
mod checks;
mod parsed;
mod policies;
mod problem;
mod request;
mod schema;
mod text;

pub use policies::{CedarPolicies, Decided, PolicyStats};
pub use problem::{PoliciesError, PolicyProblem};
pub use schema::schema;
pub use text::PolicyText;
