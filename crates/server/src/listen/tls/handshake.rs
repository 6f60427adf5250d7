//! The handshake of a connection.

use std::io::{Error, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use tidegate_gateway::ClientCertificate;
use tidegate_store::now_ms;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::debug;

use super::client_name::client_certificate;
use super::files::LoadedTls;
use super::metrics::HandshakeFailure;
use super::{Tls, Transport};

/// The type of the record that every TLS client sends first (RFC 8446, section 5.1).
const HANDSHAKE_RECORD: u8 = 22;

/// The answer to those who speak HTTP without TLS.
const NOT_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\
    Content-Length: 39\r\nConnection: close\r\n\r\nthis port speaks TLS: begin with https\n";

/// The handshakes of a port.
#[derive(Clone)]
pub(crate) struct TlsPort {
    tls: Arc<Tls>,
    loaded: Arc<ArcSwap<LoadedTls>>,
    is_grpc: bool,
    timeout: Duration,
}

/// A connection after its handshake.
pub(crate) struct Handshake {
    pub(crate) transport: Transport,
    /// Who the client is, if it has shown a certificate.
    pub(crate) certificate: Option<ClientCertificate>,
}

impl TlsPort {
    pub(super) fn new(
        tls: Arc<Tls>,
        loaded: Arc<ArcSwap<LoadedTls>>,
        is_grpc: bool,
        timeout: Duration,
    ) -> Self {
        Self {
            tls,
            loaded,
            is_grpc,
            timeout,
        }
    }

    /// Makes the handshake with the certificates of this moment; `None` if it fails, which is
    /// counted.
    pub(crate) async fn handshake(self, stream: TcpStream) -> Option<Handshake> {
        let config = self.loaded.load().config(self.is_grpc);
        let handshake = tokio::time::timeout(self.timeout, begin(stream, config));
        let failure = match handshake.await {
            Ok(Ok(stream)) => match identify(&stream) {
                Ok(certificate) => {
                    let transport = Transport::Tls(Box::new(stream));
                    return Some(Handshake {
                        transport,
                        certificate,
                    });
                }
                Err(failure) => failure,
            },
            Ok(Err(failure)) => failure,
            Err(_) => HandshakeFailure::Timeout,
        };
        debug!(?failure, "a TLS handshake failed");
        self.tls.metrics.handshake_failed(failure);
        None
    }
}

async fn begin(
    stream: TcpStream,
    config: Arc<ServerConfig>,
) -> Result<TlsStream<TcpStream>, HandshakeFailure> {
    let mut first = [0];
    match stream.peek(&mut first).await {
        Ok(1) if first[0] != HANDSHAKE_RECORD => {
            refuse(stream).await;
            return Err(HandshakeFailure::NotTls);
        }
        Ok(1) => {}
        Ok(_) | Err(_) => return Err(HandshakeFailure::Closed),
    }
    let accepting = TlsAcceptor::from(config).accept(stream);
    accepting.await.map_err(|error| failure(&error))
}

/// Says in plain HTTP what is wrong.
async fn refuse(mut stream: TcpStream) {
    // What is unread when a connection is closed has the system drop the answer, too.
    let mut unread = [0; 4096];
    while stream.try_read(&mut unread).is_ok_and(|bytes| bytes > 0) {}
    let _ = stream.write_all(NOT_TLS).await;
    let _ = stream.shutdown().await;
}

/// Who the client is.
fn identify(stream: &TlsStream<TcpStream>) -> Result<Option<ClientCertificate>, HandshakeFailure> {
    let chain = stream.get_ref().1.peer_certificates();
    let Some(leaf) = chain.and_then(<[_]>::first) else {
        return Ok(None);
    };
    let certificate = client_certificate(leaf);
    match &certificate {
        None => debug!("a client certificate has no usable name"),
        // A session that is resumed is not verified again.
        Some(certificate) if certificate.has_expired(now_ms()) => {
            return Err(HandshakeFailure::ClientCertificate);
        }
        Some(_) => {}
    }
    Ok(certificate)
}

fn failure(error: &Error) -> HandshakeFailure {
    debug!(%error, "a TLS handshake failed");
    let tls = error.get_ref().and_then(|error| error.downcast_ref());
    match tls {
        Some(rustls::Error::NoCertificatesPresented | rustls::Error::InvalidCertificate(_)) => {
            HandshakeFailure::ClientCertificate
        }
        None if is_end(error.kind()) => HandshakeFailure::Closed,
        _ => HandshakeFailure::Protocol,
    }
}

fn is_end(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
    )
}
