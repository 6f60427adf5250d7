//! What each of the three steps hands to the next.
//!
//! ```text
//! Credentials --authenticate--> Caller --authorize--> Permitted<R> --limit--> Authorized<R>
//! ```
//!
//! The fields are private to this crate: only the [`Gateway`](crate::Gateway) makes the last three.

use http::HeaderMap;

use crate::Permission;

/// What a request presents to show who sends it.
#[derive(Clone, Copy, Debug)]
pub struct Credentials<'a> {
    headers: &'a HeaderMap,
}

impl<'a> Credentials<'a> {
    /// The credentials in the headers of an HTTP request, or in the metadata of a gRPC call.
    pub fn of(headers: &'a HeaderMap) -> Self {
        Self { headers }
    }

    /// The headers.
    pub fn headers(&self) -> &'a HeaderMap {
        self.headers
    }
}

/// Who sends a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Principal {
    /// Nobody in particular: the request carries no credentials, or none are asked for.
    Anonymous,
}

/// An authenticated caller.
#[derive(Debug)]
pub struct Caller {
    pub(crate) principal: Principal,
}

/// A caller that has the permission, before rates and quotas are checked.
#[derive(Debug)]
pub struct Permitted<R> {
    pub(crate) principal: Principal,
    pub(crate) permission: Permission,
    pub(crate) resource: R,
}

/// The evidence that a request for the resource `R` passed all three steps.
#[derive(Debug)]
pub struct Authorized<R> {
    pub(crate) principal: Principal,
    pub(crate) permission: Permission,
    pub(crate) resource: R,
}

impl<R> Authorized<R> {
    /// Who sends the request.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// What was permitted.
    pub fn permission(&self) -> Permission {
        self.permission
    }

    /// What the permission is for.
    pub fn resource(&self) -> &R {
        &self.resource
    }
}
