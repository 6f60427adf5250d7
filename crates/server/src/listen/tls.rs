//! TLS on both ports: the files of certificates and how they are followed, handshakes, and the names
//! of client certificates.

mod client_name;
mod config;
mod files;
mod handshake;
mod metrics;
mod reload;
mod transport;

pub use self::config::{ClientAuth, TlsConfig, TlsError, TlsVersion};
pub(super) use self::handshake::{Handshake, TlsPort};
pub(crate) use self::reload::Tls;
pub(super) use self::transport::Transport;
