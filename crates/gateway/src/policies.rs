//! Policies: rules besides the roles, which permit more and forbid what roles permit.

use std::fmt;

use crate::{Identity, Permission};

/// The resources of a kind that a question is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent<'a> {
    /// The one of this name.
    One(&'a str),
    /// All together: permitted only where no single one is forbidden.
    All,
    /// At least one, whichever it is.
    Any,
}

impl<'a> Extent<'a> {
    /// The resource of a name; all of them where the name is empty.
    pub fn of(name: &'a str) -> Self {
        match name {
            "" => Self::All,
            name => Self::One(name),
        }
    }
}

/// What policies say about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyDecision {
    /// One permits it, and none forbids it.
    Permit,
    /// One forbids it.
    Forbid,
    /// None is about it: roles decide.
    Silent,
    /// One could not be evaluated.
    Failed,
}

impl PolicyDecision {
    /// Whether the request may go on, for somebody whose roles permit it or not. A policy that fails
    /// may be one that forbids, so the request is denied.
    pub const fn allows(self, roles_permit: bool) -> bool {
        match self {
            Self::Permit => true,
            Self::Silent => roles_permit,
            Self::Forbid | Self::Failed => false,
        }
    }
}

/// Evaluates policies. Questions come on the request path: it answers without waiting.
pub trait PolicyDecider: Send + Sync {
    /// What the policies say about `identity`, who asks for `permission`.
    fn decide(
        &self,
        identity: &Identity,
        permission: Permission,
        extent: Extent<'_>,
    ) -> PolicyDecision;
}

/// The policies that a gateway goes by.
pub struct Policies(Box<dyn PolicyDecider>);

impl Policies {
    /// The policies of an evaluator.
    pub fn new(decider: impl PolicyDecider + 'static) -> Self {
        Self(Box::new(decider))
    }

    /// What stands for policies that were not read yet: nothing is permitted.
    pub(crate) fn unread() -> Self {
        Self::new(Unread)
    }

    /// What they say; see [`PolicyDecider::decide`].
    pub fn decide(
        &self,
        identity: &Identity,
        permission: Permission,
        extent: Extent<'_>,
    ) -> PolicyDecision {
        self.0.decide(identity, permission, extent)
    }
}

impl fmt::Debug for Policies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policies").finish_non_exhaustive()
    }
}

struct Unread;

impl PolicyDecider for Unread {
    fn decide(&self, _: &Identity, _: Permission, _: Extent<'_>) -> PolicyDecision {
        PolicyDecision::Failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_that_forbids_or_fails_wins_over_roles() {
        use PolicyDecision::{Failed, Forbid, Permit, Silent};
        for (decision, with_role, without_role) in [
            (Permit, true, true),
            (Silent, true, false),
            (Forbid, false, false),
            (Failed, false, false),
        ] {
            assert_eq!(decision.allows(true), with_role, "{decision:?}");
            assert_eq!(decision.allows(false), without_role, "{decision:?}");
        }
    }
}
