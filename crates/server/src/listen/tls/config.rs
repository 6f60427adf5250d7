//! The configuration of TLS.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The `[tls]` section of `tidegate.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    /// The server's certificate with those between it and its authority (PEM). If it is set, both
    /// ports speak TLS and nothing else.
    pub cert_file: Option<PathBuf>,
    /// The private key of the certificate (PEM).
    pub key_file: Option<PathBuf>,
    /// The authorities that sign client certificates (PEM).
    pub client_ca_file: Option<PathBuf>,
    /// Whether clients have to show a certificate.
    pub client_auth: ClientAuth,
    /// The oldest version of TLS that clients may speak.
    pub min_version: TlsVersion,
    /// Time limit for a handshake, in milliseconds.
    pub handshake_timeout_ms: u64,
    /// How often the files are checked for new content, in milliseconds. What two checks in a row
    /// find is taken.
    pub reload_ms: u64,
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self {
            cert_file: None,
            key_file: None,
            client_ca_file: None,
            client_auth: ClientAuth::None,
            min_version: TlsVersion::Tls12,
            handshake_timeout_ms: 10_000,
            reload_ms: 5_000,
        }
    }
}

/// Whether clients have to show a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// They are not asked for one.
    #[default]
    None,
    /// They may.
    Optional,
    /// Without one they cannot connect.
    Required,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WrittenVersion", into = "String")]
pub enum TlsVersion {
    /// 1.2
    Tls12,
    /// 1.3
    Tls13,
}

/// A variable of the environment is a number, as it is read there.
#[derive(Deserialize)]
#[serde(untagged)]
enum WrittenVersion {
    Text(String),
    Number(f64),
}

impl TryFrom<WrittenVersion> for TlsVersion {
    type Error = String;

    fn try_from(written: WrittenVersion) -> Result<Self, String> {
        let text = match written {
            WrittenVersion::Text(text) => text,
            WrittenVersion::Number(number) => number.to_string(),
        };
        match text.as_str() {
            "1.2" => Ok(Self::Tls12),
            "1.3" => Ok(Self::Tls13),
            _ => Err(format!(
                "{text:?} is no version of TLS: write \"1.2\" or \"1.3\""
            )),
        }
    }
}

impl From<TlsVersion> for String {
    fn from(version: TlsVersion) -> Self {
        let text = match version {
            TlsVersion::Tls12 => "1.2",
            TlsVersion::Tls13 => "1.3",
        };
        text.to_owned()
    }
}

/// What is wrong with the configuration of TLS.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum TlsError {
    #[error("tls.{key} is set, and tls.{missing} is not")]
    Missing {
        key: &'static str,
        missing: &'static str,
    },
    #[error(
        "tls.client_ca_file is set, and tls.client_auth is \"none\": nobody would be asked for a certificate"
    )]
    UnusedAuthorities,
    #[error("tls.{key} is {ms}: it must be from {min} to {max} milliseconds", min = range.start(), max = range.end())]
    OutOfRange {
        key: &'static str,
        ms: u64,
        range: RangeInclusive<u64>,
    },
    #[error("{0}")]
    Files(String),
}

const HANDSHAKE_RANGE_MS: RangeInclusive<u64> = 100..=600_000;
const RELOAD_RANGE_MS: RangeInclusive<u64> = 50..=3_600_000;

impl TlsConfig {
    /// Checks what can be checked without reading files.
    pub(super) fn check(&self) -> Result<(), TlsError> {
        let has_client_auth = self.client_auth != ClientAuth::None;
        require(
            "key_file",
            self.key_file.is_some(),
            "cert_file",
            self.cert_file.is_some(),
        )?;
        require(
            "cert_file",
            self.cert_file.is_some(),
            "key_file",
            self.key_file.is_some(),
        )?;
        require(
            "client_auth",
            has_client_auth,
            "cert_file",
            self.cert_file.is_some(),
        )?;
        let has_authorities = self.client_ca_file.is_some();
        require(
            "client_auth",
            has_client_auth,
            "client_ca_file",
            has_authorities,
        )?;
        if has_authorities && !has_client_auth {
            return Err(TlsError::UnusedAuthorities);
        }
        in_range(
            "handshake_timeout_ms",
            self.handshake_timeout_ms,
            HANDSHAKE_RANGE_MS,
        )?;
        in_range("reload_ms", self.reload_ms, RELOAD_RANGE_MS)
    }
}

fn require(
    key: &'static str,
    is_set: bool,
    missing: &'static str,
    is_there: bool,
) -> Result<(), TlsError> {
    match is_set && !is_there {
        true => Err(TlsError::Missing { key, missing }),
        false => Ok(()),
    }
}

fn in_range(key: &'static str, ms: u64, range: RangeInclusive<u64>) -> Result<(), TlsError> {
    match range.contains(&ms) {
        true => Ok(()),
        false => Err(TlsError::OutOfRange { key, ms, range }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<(), TlsError> {
        toml::from_str::<TlsConfig>(text).unwrap().check()
    }

    #[test]
    fn half_a_configuration_is_refused() {
        let pair = "cert_file = \"a\"\nkey_file = \"b\"\n";
        assert_eq!(check(""), Ok(()));
        assert_eq!(check(pair), Ok(()));
        for wrong in [
            "cert_file = \"a\"",
            "key_file = \"a\"",
            "client_auth = \"required\"\nclient_ca_file = \"a\"",
        ] {
            assert!(
                matches!(check(wrong), Err(TlsError::Missing { .. })),
                "{wrong}"
            );
        }
        let without_authorities = format!("{pair}client_auth = \"optional\"");
        assert!(matches!(
            check(&without_authorities),
            Err(TlsError::Missing { .. })
        ));
        let unused = format!("{pair}client_ca_file = \"c\"");
        assert_eq!(check(&unused), Err(TlsError::UnusedAuthorities));
        for wrong in [
            "handshake_timeout_ms = 0",
            "reload_ms = 0",
            "reload_ms = 3600001",
        ] {
            assert!(
                matches!(check(wrong), Err(TlsError::OutOfRange { .. })),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_version_reads_the_same_as_text_and_as_a_number() {
        for text in ["min_version = \"1.3\"", "min_version = 1.3"] {
            let config: TlsConfig = toml::from_str(text).unwrap();
            assert_eq!(config.min_version, TlsVersion::Tls13);
        }
        assert!(toml::from_str::<TlsConfig>("min_version = \"1.1\"").is_err());
    }
}
