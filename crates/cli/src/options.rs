//! Options that several commands share.

mod engine;
mod period;
mod place;
mod registry_location;
mod server_url;
mod temporary_override;

pub(crate) use self::engine::Engine;
pub(crate) use self::period::{period, period_or_zero};
pub(crate) use self::place::{ChosenPlace, Place};
pub(crate) use self::registry_location::RegistryLocation;
pub(crate) use self::server_url::{
    DEFAULT_URL, ServerUrl, TlsOptions, plain_server_url, server_url,
};
pub(crate) use self::temporary_override::TemporaryOverride;
