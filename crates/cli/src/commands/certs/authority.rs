//! A local authority that signs certificates.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use chrono::{DateTime, Datelike, Duration, NaiveDate};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};

use super::{address, write, write_private};
use crate::client::now_ms;

/// The name of the authority. Certificates name their issuer, so it must stay the same.
const NAME: &str = "Tidegate development authority";
/// How long the authority is valid.
const AUTHORITY_DAYS: i64 = 3650;
/// How long certificates are valid: what browsers accept at most.
const CERTIFICATE_DAYS: i64 = 397;

/// The authority of a folder.
pub(super) struct Authority {
    file: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

/// What a certificate is for.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    Server,
    Client,
}

/// A certificate and its key, in PEM.
pub(super) struct Issued {
    pub(super) certificate: String,
    pub(super) key: String,
}

impl Authority {
    /// The authority that was made in this folder before, or a new one.
    pub(super) fn open_or_create(folder: &Path) -> Result<Self> {
        let (file, key_file) = (folder.join("ca.pem"), folder.join("ca-key.pem"));
        let key = match (file.exists(), key_file.exists()) {
            (true, true) => {
                let text = std::fs::read_to_string(&key_file)
                    .with_context(|| format!("cannot read {}", key_file.display()))?;
                KeyPair::from_pem(&text)
                    .with_context(|| format!("{} has no private key", key_file.display()))?
            }
            (false, false) => {
                let key = KeyPair::generate()?;
                write_private(&key_file, &key.serialize_pem())?;
                write(&file, &parameters().self_signed(&key)?.pem(), 0o644)?;
                key
            }
            _ => bail!(
                "{} has only one of ca.pem and ca-key.pem: remove it, or choose another folder",
                folder.display()
            ),
        };
        // Whoever connects needs it, under any user. One of an earlier build is private.
        std::fs::set_permissions(&file, Permissions::from_mode(0o644))
            .with_context(|| format!("cannot change the permissions of {}", file.display()))?;
        Ok(Self {
            file,
            issuer: Issuer::new(parameters(), key),
        })
    }

    /// The file that clients and servers have to trust.
    pub(super) fn certificate_file(&self) -> &Path {
        &self.file
    }

    /// Signs a certificate for these names, with a key of its own.
    pub(super) fn issue(&self, title: &str, names: &[String], purpose: Purpose) -> Result<Issued> {
        let mut params = valid_for(CERTIFICATE_DAYS);
        // A common name has at most 64 characters (RFC 5280, appendix A).
        params.distinguished_name = named(&title.chars().take(64).collect::<String>());
        for name in names {
            params.subject_alt_names.push(alternative_name(name)?);
        }
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match purpose {
            Purpose::Server => ExtendedKeyUsagePurpose::ServerAuth,
            Purpose::Client => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }
}

fn parameters() -> CertificateParams {
    let mut params = valid_for(AUTHORITY_DAYS);
    params.distinguished_name = named(NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// From yesterday, as clocks differ.
fn valid_for(days: i64) -> CertificateParams {
    let now_ms = i64::try_from(now_ms()).unwrap_or_default();
    let today = DateTime::from_timestamp_millis(now_ms)
        .unwrap_or_default()
        .date_naive();
    let mut params = CertificateParams::default();
    let (year, month, day) = parts(today - Duration::days(1));
    params.not_before = date_time_ymd(year, month, day);
    let (year, month, day) = parts(today + Duration::days(days));
    params.not_after = date_time_ymd(year, month, day);
    params
}

fn parts(date: NaiveDate) -> (i32, u8, u8) {
    // Both are below 32.
    (date.year(), date.month() as u8, date.day() as u8)
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn alternative_name(name: &str) -> Result<SanType> {
    if let Some(address) = address(name) {
        return Ok(SanType::IpAddress(address));
    }
    let text: Ia5String = name
        .try_into()
        .with_context(|| format!("{name:?} has letters that a certificate cannot have"))?;
    Ok(if name.contains("://") {
        SanType::URI(text)
    } else if name.contains('@') {
        SanType::Rfc822Name(text)
    } else {
        SanType::DnsName(text)
    })
}
