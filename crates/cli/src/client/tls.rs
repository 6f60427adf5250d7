//! TLS towards servers.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result, bail};
use ureq::tls::{
    Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, TlsProvider, parse_pem,
};

/// The PEM file with the authorities that signed the certificates of servers.
const CA_FILE: &str = "TIDEGATE_CA_FILE";
/// The PEM file with the certificate of this user, and its private key.
const CLIENT_CERT_FILE: &str = "TIDEGATE_CLIENT_CERT_FILE";

/// The files that the options of this command name.
static FILES: OnceLock<TlsFiles> = OnceLock::new();

#[derive(Clone, Debug, Default)]
struct TlsFiles {
    ca: Option<PathBuf>,
    client_cert: Option<PathBuf>,
}

/// Uses these files for every request of this process, rather than those that variables of the
/// environment name.
pub(crate) fn set_files(ca: Option<&Path>, client_cert: Option<&Path>) {
    // A second call would have the same options.
    let _ = FILES.set(TlsFiles {
        ca: ca.map(Path::to_owned),
        client_cert: client_cert.map(Path::to_owned),
    });
}

/// How servers are verified, and what they are shown. Without a file of authorities, and without the
/// one of the context, those of the operating system count.
pub(super) fn config(context_ca: Option<&Path>) -> Result<TlsConfig> {
    let files = FILES.get().cloned().unwrap_or_default();
    let mut config = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .root_certs(RootCerts::PlatformVerifier)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let ca = files.ca.or_else(|| variable(CA_FILE));
    if let Some(path) = ca.as_deref().or(context_ca) {
        let (authorities, _) = read(path)?;
        if authorities.is_empty() {
            bail!("{} has no certificate in PEM", path.display());
        }
        config = config.root_certs(RootCerts::Specific(Arc::new(authorities)));
    }
    if let Some(path) = files.client_cert.or_else(|| variable(CLIENT_CERT_FILE)) {
        let (chain, key) = read(&path)?;
        let key = key.filter(|_| !chain.is_empty()).with_context(|| {
            let path = path.display();
            format!("{path} must have a certificate and its private key in PEM")
        })?;
        config = config.client_cert(Some(ClientCert::new_with_certs(&chain, key)));
    }
    Ok(config.build())
}

fn variable(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os(name).filter(|path| !path.is_empty())?;
    Some(PathBuf::from(path))
}

type Pem = (Vec<Certificate<'static>>, Option<PrivateKey<'static>>);

fn read(path: &Path) -> Result<Pem> {
    let content = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let (mut certificates, mut key) = (Vec::new(), None);
    for item in parse_pem(&content) {
        match item.with_context(|| format!("{} is not a PEM file", path.display()))? {
            PemItem::Certificate(certificate) => certificates.push(certificate),
            PemItem::PrivateKey(found) => key = Some(found),
            _ => {}
        }
    }
    Ok((certificates, key))
}
