//! Who may do what: the steps *authenticate, authorize, limit* that every request passes first.
//!
//! In: the [`Credentials`] that a request carries, the [`Permission`] that its route declares, and
//! the resource that it is about. Out: [`Authorized`], the evidence that the later steps demand, or
//! [`Denied`]. The evidence can be made here only, so the compiler sees that no request skips a
//! step. This crate must never depend on a model, an engine or a wire format.
//!
//! ```
//! use tidegate_gateway::{Credentials, Gateway, Permission};
//!
//! let gateway = Gateway::open();
//! let headers = http::HeaderMap::new();
//! let caller = gateway.authenticate(Credentials::of(&headers))?;
//! let permitted = gateway.authorize(caller, Permission::Call, "fraud")?;
//! let authorized = gateway.limit(permitted)?;
//! assert_eq!(*authorized.resource(), "fraud");
//! # Ok::<(), tidegate_gateway::Denied>(())
//! ```

mod access;
mod denied;
mod gateway;
mod permission;

pub use access::{Authorized, Caller, Credentials, Permitted, Principal};
pub use denied::Denied;
pub use gateway::Gateway;
pub use permission::Permission;
