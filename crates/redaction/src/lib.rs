//! Removes secrets and personal data from whatever is logged, traced or kept.
//!
//! In: text, text that arrives in pieces, JSON, values with names. Out: the same with everything
//! replaced that a rule finds: names of fields, paths in JSON, patterns, and detectors of e-mail
//! addresses, phone numbers, payment cards, IBANs and IP addresses. Credentials are found by every
//! [`Redactor`], whatever its configuration. The secrets of the configuration are a type that does not
//! print ([`Secret`]). No I/O, but for files with secrets.
//!
//! ```
//! use tidegate_redaction::{PrivacyConfig, Redactor};
//!
//! let redactor = Redactor::new(&PrivacyConfig::default())?;
//! let told = redactor.text("no user ada@example.org with the card 4111 1111 1111 1111");
//! assert_eq!(told, "no user [redacted] with the card [redacted]");
//! # Ok::<(), tidegate_redaction::PrivacyError>(())
//! ```

mod config;
mod credentials;
mod detect;
mod fields;
mod json;
mod path;
mod redactor;
mod secret;

pub use config::{Detector, PrivacyConfig, PrivacyError};
pub use redactor::Redactor;
pub use secret::{Secret, SecretSource};
