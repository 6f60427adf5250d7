//! The three steps.

use crate::{Authorized, Caller, Credentials, Denied, Permission, Permitted, Principal};

/// Decides about every request, whatever front end it came through.
///
/// There is one implementation so far, [`Gateway::open`], which lets everybody in as
/// [`Principal::Anonymous`]; it belongs on a trusted network.
#[derive(Debug)]
pub struct Gateway {
    // A gateway comes from a constructor that names its policy, never from a literal.
    _private: (),
}

impl Gateway {
    /// A gateway that lets everybody do everything.
    pub fn open() -> Self {
        Self { _private: () }
    }

    /// Finds out who sends a request.
    ///
    /// # Errors
    /// None while the gateway is open.
    pub fn authenticate(&self, _: Credentials<'_>) -> Result<Caller, Denied> {
        Ok(Caller {
            principal: Principal::Anonymous,
        })
    }

    /// Checks whether the caller has a permission on a resource.
    ///
    /// # Errors
    /// [`Denied::Forbidden`]; never while the gateway is open.
    pub fn authorize<R>(
        &self,
        caller: Caller,
        permission: Permission,
        resource: R,
    ) -> Result<Permitted<R>, Denied> {
        Ok(Permitted {
            principal: caller.principal,
            permission,
            resource,
        })
    }

    /// Counts the request against the caller's rate and quota.
    ///
    /// # Errors
    /// None while the gateway is open.
    pub fn limit<R>(&self, permitted: Permitted<R>) -> Result<Authorized<R>, Denied> {
        let Permitted {
            principal,
            permission,
            resource,
        } = permitted;
        Ok(Authorized {
            principal,
            permission,
            resource,
        })
    }

    /// All three steps at once, for requests that need no body first.
    ///
    /// # Errors
    /// As the steps.
    pub fn admit<R>(
        &self,
        credentials: Credentials<'_>,
        permission: Permission,
        resource: R,
    ) -> Result<Authorized<R>, Denied> {
        // Limits come last: a request that is denied must not use up a caller's quota.
        let caller = self.authenticate(credentials)?;
        let permitted = self.authorize(caller, permission, resource)?;
        self.limit(permitted)
    }
}
