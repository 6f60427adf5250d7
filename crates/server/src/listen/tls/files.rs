//! From the files of certificates to what a handshake needs.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::{
    ALL_VERSIONS, InconsistentKeys, RootCertStore, ServerConfig, SupportedProtocolVersion, version,
};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::client_name::expires_ms;
use super::{ClientAuth, TlsConfig, TlsVersion};

/// Largest file that is read.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// How many sessions can be resumed. Each keeps the certificate of its client.
const MAX_SESSIONS: usize = 1024;

static TLS13_ONLY: [&SupportedProtocolVersion; 1] = [&version::TLS13];

/// Where certificates are, and what is made of them.
pub(super) struct CertificateFiles {
    certificate: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
    client_auth: ClientAuth,
    versions: &'static [&'static SupportedProtocolVersion],
}

/// The content of the files.
pub(super) struct Contents {
    certificate: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
    client_ca: Option<Vec<u8>>,
}

/// What handshakes need.
pub(super) struct LoadedTls {
    /// For REST: HTTP/2 and HTTP/1.1.
    pub(super) http: Arc<ServerConfig>,
    /// For gRPC: HTTP/2.
    pub(super) grpc: Arc<ServerConfig>,
    /// Until when the server's certificate is valid, in milliseconds since 1970.
    pub(super) expires_ms: i64,
}

impl CertificateFiles {
    /// The files of a configuration that was checked; `None` if TLS is off.
    pub(super) fn of(config: &TlsConfig) -> Option<Self> {
        Some(Self {
            certificate: config.cert_file.clone()?,
            key: config.key_file.clone()?,
            client_ca: config.client_ca_file.clone(),
            client_auth: config.client_auth,
            versions: match config.min_version {
                TlsVersion::Tls12 => ALL_VERSIONS,
                TlsVersion::Tls13 => &TLS13_ONLY,
            },
        })
    }

    /// Reads all of them.
    ///
    /// # Errors
    /// Which cannot be read.
    pub(super) fn read(&self) -> Result<Contents, String> {
        Ok(Contents {
            certificate: read("cert_file", &self.certificate)?,
            key: Zeroizing::new(read("key_file", &self.key)?),
            client_ca: match &self.client_ca {
                Some(path) => Some(read("client_ca_file", path)?),
                None => None,
            },
        })
    }

    /// Makes what handshakes need. Nothing of it is shared with what was made before: a session that
    /// was opened under other authorities cannot be resumed.
    ///
    /// # Errors
    /// What is wrong with the content.
    pub(super) fn load(&self, contents: &Contents) -> Result<LoadedTls, String> {
        let chain = certificates("cert_file", &contents.certificate)?;
        let leaf = chain.first().expect("there is at least one certificate");
        let expires_ms =
            expires_ms(leaf).ok_or("tls.cert_file has a certificate that is damaged")?;
        let key = PrivateKeyDer::from_pem_slice(&contents.key)
            .map_err(|_| "tls.key_file has no private key in PEM without a passphrase")?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = self.verifier(contents, &provider)?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(self.versions)
            .map_err(|error| error.to_string())?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(|error| describe(&error))?;
        config.session_storage = ServerSessionMemoryCache::new(MAX_SESSIONS);
        let mut grpc = config.clone();
        grpc.alpn_protocols = vec![b"h2".to_vec()];
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(LoadedTls {
            http: Arc::new(config),
            grpc: Arc::new(grpc),
            expires_ms,
        })
    }

    fn verifier(
        &self,
        contents: &Contents,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>, String> {
        let Some(authorities) = &contents.client_ca else {
            return Ok(WebPkiClientVerifier::no_client_auth());
        };
        let mut roots = RootCertStore::empty();
        for authority in certificates("client_ca_file", authorities)? {
            roots
                .add(authority)
                .map_err(|error| format!("tls.client_ca_file: {error}"))?;
        }
        let builder =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let builder = match self.client_auth {
            ClientAuth::Required => builder,
            ClientAuth::None | ClientAuth::Optional => builder.allow_unauthenticated(),
        };
        builder
            .build()
            .map_err(|error| format!("tls.client_ca_file: {error}"))
    }
}

impl Contents {
    /// Tells contents from others without keeping the key.
    pub(super) fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        let none = Vec::new();
        let client_ca = self.client_ca.as_ref().unwrap_or(&none);
        for part in [&self.certificate, &*self.key, client_ca] {
            // With the lengths, bytes that move from one file to the next change the digest.
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        digest.finalize().into()
    }
}

fn read(key: &str, path: &Path) -> Result<Vec<u8>, String> {
    let describe =
        |error: std::io::Error| format!("tls.{key}: {} cannot be read: {error}", path.display());
    let file = File::open(path).map_err(describe)?;
    let mut content = Vec::new();
    file.take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut content)
        .map_err(describe)?;
    match content.len() as u64 > MAX_FILE_BYTES {
        true => Err(format!(
            "tls.{key}: {} is larger than 1 MiB",
            path.display()
        )),
        false => Ok(content),
    }
}

fn certificates(key: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err(format!("tls.{key} has no certificate in PEM")),
        Ok(found) => Ok(found),
        Err(error) => Err(format!("tls.{key} is not a PEM file: {error}")),
    }
}

fn describe(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            "the key in tls.key_file does not belong to the certificate in tls.cert_file".to_owned()
        }
        other => format!("tls.cert_file and tls.key_file cannot be used: {other}"),
    }
}
