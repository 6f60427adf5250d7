//! What each of the three steps hands to the next.
//!
//! ```text
//! Credentials --authenticate--> Caller --authorize--> Permitted<R> --limit--> Authorized<R>
//! ```
//!
//! The fields are private to this crate: only the [`Gateway`](crate::Gateway) makes the last three.

use std::borrow::Cow;
use std::sync::Arc;

use http::{Extensions, HeaderMap, HeaderName, header};
use serde_json::Value;

use crate::{
    Charge, ClientCertificate, Denied, Extent, Identity, LimitStatus, Permission, Policies,
    Principal,
};

/// What a request presents to show who sends it.
#[derive(Clone, Copy, Debug)]
pub struct Credentials<'a> {
    headers: &'a HeaderMap,
    pub(crate) caller: Option<&'a Caller>,
    pub(crate) certificate: Option<&'a ClientCertificate>,
    pub(crate) takes_session: bool,
}

impl<'a> Credentials<'a> {
    /// The headers that carry credentials: `Authorization`, and `X-Api-Key` for API keys.
    pub const HEADERS: [HeaderName; 2] =
        [header::AUTHORIZATION, HeaderName::from_static("x-api-key")];

    /// The credentials in the headers of an HTTP request, or in the metadata of a gRPC call.
    pub fn of(headers: &'a HeaderMap) -> Self {
        Self {
            headers,
            caller: None,
            certificate: None,
            takes_session: false,
        }
    }

    /// The same, where the cookie of a session counts for a request without credentials in its
    /// headers. A cookie that is wrong or of a session that has ended counts as none.
    #[must_use]
    pub fn or_session(self) -> Self {
        Self {
            takes_session: true,
            ..self
        }
    }

    /// The same with the certificate of the client, which the front end found when the connection was
    /// opened. Credentials in the headers have precedence.
    #[must_use]
    pub fn with_certificate(self, certificate: Option<&'a ClientCertificate>) -> Self {
        Self {
            certificate,
            ..self
        }
    }

    /// The same with the certificate among the extensions of the request, if there is one.
    #[must_use]
    pub fn with_extensions(self, extensions: &'a Extensions) -> Self {
        self.with_certificate(extensions.get())
    }

    /// The same, where they were checked before, a moment ago.
    #[must_use]
    pub fn checked(self, caller: Option<&'a Caller>) -> Self {
        Self { caller, ..self }
    }

    /// Whether there are any in the headers besides a cookie, right or wrong.
    pub fn are_sent(&self) -> bool {
        let mut names = Self::HEADERS.into_iter();
        names.any(|name| self.headers.contains_key(name))
    }

    /// The headers.
    pub fn headers(&self) -> &'a HeaderMap {
        self.headers
    }
}

/// An authenticated caller.
#[derive(Clone, Debug)]
pub struct Caller {
    /// `None` while the gateway is open: everybody may do everything.
    pub(crate) identity: Option<Arc<Identity>>,
    /// The policies as they were when the caller was authenticated; `None` if roles alone decide.
    pub(crate) policies: Option<Arc<Policies>>,
}

impl Caller {
    /// Whoever sends requests to an open gateway, or to a public route.
    pub(crate) const UNCHECKED: Self = Self {
        identity: None,
        policies: None,
    };

    pub(crate) fn known(identity: Arc<Identity>, policies: Option<Arc<Policies>>) -> Self {
        Self {
            identity: Some(identity),
            policies,
        }
    }

    /// Who it is.
    pub fn principal(&self) -> &Principal {
        self.identity
            .as_ref()
            .map_or(&Principal::Anonymous, |identity| identity.principal())
    }

    /// The tenant that the caller belongs to; empty for none.
    pub fn tenant(&self) -> &str {
        self.identity
            .as_ref()
            .map_or("", |identity| identity.tenant())
    }

    /// A claim of the caller's token, where that is kept and one text, number or truth value.
    pub fn claim(&self, name: &str) -> Option<Cow<'_, str>> {
        match self.identity.as_ref()?.claims.get(name)? {
            Value::String(text) => Some(Cow::Borrowed(text)),
            Value::Number(number) => Some(Cow::Owned(number.to_string())),
            Value::Bool(is_true) => Some(Cow::Borrowed(if *is_true { "true" } else { "false" })),
            _ => None,
        }
    }

    /// Whether the caller has a permission on anything at all.
    pub fn may_somewhere(&self, permission: Permission) -> bool {
        let Some(identity) = &self.identity else {
            return true;
        };
        let roles_permit = identity.roles_permit_somewhere(permission);
        self.decides(identity, permission, Extent::Any, roles_permit)
    }

    /// Whether the caller has a permission on something of this name; on all of the kind together
    /// where the name is empty.
    pub fn may(&self, permission: Permission, name: &str) -> bool {
        let Some(identity) = &self.identity else {
            return true;
        };
        let roles_permit = identity.roles_permit(permission, name);
        self.decides(identity, permission, Extent::of(name), roles_permit)
    }

    /// The decision of roles and policies together.
    fn decides(
        &self,
        identity: &Identity,
        permission: Permission,
        extent: Extent<'_>,
        roles_permit: bool,
    ) -> bool {
        match &self.policies {
            None => roles_permit,
            Some(policies) => policies
                .decide(identity, permission, extent)
                .allows(roles_permit),
        }
    }
}

/// A caller that has the permission, before rates and quotas are checked.
#[derive(Debug)]
pub struct Permitted<R> {
    pub(crate) caller: Caller,
    pub(crate) permission: Permission,
    pub(crate) resource: R,
}

impl<R> Permitted<R> {
    /// What the permission is for.
    pub fn resource(&self) -> &R {
        &self.resource
    }

    pub(crate) fn authorized(self, charge: Option<Box<Charge>>) -> Authorized<R> {
        Authorized {
            caller: self.caller,
            permission: self.permission,
            resource: self.resource,
            charge,
        }
    }
}

/// The evidence that a request for the resource `R` passed all three steps.
#[derive(Debug)]
pub struct Authorized<R> {
    pub(crate) caller: Caller,
    pub(crate) permission: Permission,
    pub(crate) resource: R,
    /// What the request took of its limits; `None` if it has none.
    pub(crate) charge: Option<Box<Charge>>,
}

impl<R> Authorized<R> {
    /// Who sends the request.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// What was permitted.
    pub fn permission(&self) -> Permission {
        self.permission
    }

    /// What the permission is for.
    pub fn resource(&self) -> &R {
        &self.resource
    }

    /// Whether limits are about the request.
    pub fn has_limits(&self) -> bool {
        self.charge.is_some()
    }

    /// Counts the rows of the request, once they are known. They are counted the first time only: a
    /// request that one version could not answer goes to the next.
    ///
    /// # Errors
    /// [`Denied::Limited`].
    pub async fn charge_rows(&mut self, rows: usize) -> Result<(), Denied> {
        match &mut self.charge {
            Some(charge) if !charge.has_rows() => charge.add_rows(rows as u64).await,
            _ => Ok(()),
        }
    }

    /// Keeps what the request took of its limits, also if it fails in the end: work was done for it.
    pub fn settle(&mut self) {
        if let Some(charge) = &mut self.charge {
            charge.settle();
        }
    }

    /// Gives back what the request took of its limits: the server could not do the work.
    pub fn refund(&mut self) {
        if let Some(charge) = &mut self.charge {
            charge.refund();
        }
    }

    /// What is left of the limits of the request; `None` if it has none.
    pub fn limit_status(&self) -> Option<Box<LimitStatus>> {
        let charge = self.charge.as_ref()?;
        Some(Box::new(charge.status()))
    }
}
