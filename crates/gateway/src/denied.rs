//! Why a request is denied.

use thiserror::Error;

/// A request that may not go on. Front ends turn it into 401, 403 or 429.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Denied {
    /// The caller is known and lacks the permission.
    #[error("the caller has no permission \"{permission}\" here")]
    Forbidden {
        /// The [name](crate::Permission::name) of the permission.
        permission: &'static str,
    },
}
