//! One connection: how it is served, and how it ends.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use http::{Extensions, Request};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use tidegate_gateway::ClientCertificate;
use tidegate_serving::MemoryShare;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tracing::debug;

use super::Serve;
use super::activity::{ActiveRequest, Activity};
use super::client_body::ClientBody;
use super::client_stream::ClientStream;
use super::clients::ClientPlace;
use super::sent_body::SentBody;
use super::stream_timer::StreamExecutor;
use super::tls::{Handshake, TlsPort, Transport};
use crate::ServerConfig;
use crate::front_end::FrontEnd;

/// How long a client may take.
#[derive(Clone, Copy)]
pub(super) struct Timeouts {
    /// To show which version of HTTP it speaks.
    pub(super) handshake: Duration,
    /// To read some of an answer.
    pub(super) write: Duration,
    /// To read some of an answer, once the server is stopping.
    pub(super) write_at_end: Duration,
    /// From one request to the next, over HTTP/2.
    pub(super) http2_idle: Duration,
    /// To send or read anything, once its connection is to end. A little longer than the front ends
    /// wait for bodies, so that they can answer.
    pub(super) farewell: Duration,
}

impl Timeouts {
    pub(super) fn of(config: &ServerConfig) -> Self {
        let (write, client) = (config.write_timeout_ms, config.client_timeout());
        let write = Duration::from_millis(write);
        Self {
            handshake: Duration::from_millis(config.header_timeout_ms),
            write,
            write_at_end: write.min(client),
            http2_idle: Duration::from_millis(config.http2_idle_timeout_ms),
            farewell: client * 3 / 2,
        }
    }
}

/// An accepted connection, and what serves it.
pub(super) struct Connection<S> {
    pub(super) builder: auto::Builder<StreamExecutor>,
    pub(super) service: S,
    /// `None` for a connection without TLS.
    pub(super) tls: Option<TlsPort>,
    /// Changes when the server is stopping. The server waits until it is dropped.
    pub(super) stopping: watch::Receiver<bool>,
    pub(super) timeouts: Timeouts,
    pub(super) is_drained: Arc<AtomicBool>,
    pub(super) open: OpenConnection,
    /// The client's address.
    pub(super) client: IpAddr,
}

impl<S: Serve> Connection<S> {
    pub(super) async fn serve(self, stream: TcpStream) {
        let Self {
            builder,
            service,
            tls,
            mut stopping,
            timeouts,
            is_drained,
            open,
            client,
        } = self;
        let Some(handshake) = handshake(tls, stream, &mut stopping).await else {
            return;
        };
        let Handshake {
            transport,
            certificate,
        } = handshake;
        let activity = Arc::new(Activity::new(client, open.client_memory()));
        let stream = ClientStream::new(transport, timeouts, is_drained, activity.clone());
        let counted = activity.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let active = ActiveRequest::new(counted.clone());
            let (mut head, body) = request.into_parts();
            set_certificate(&mut head.extensions, certificate.as_ref());
            let body = ClientBody::new(body, &head.headers, &counted);
            let answer = service.call(Request::from_parts(head, body));
            let activity = counted.clone();
            async move {
                let mut answer = answer.await?;
                if let Some(unread) = activity.take_unread() {
                    unread.settle(&mut answer).await;
                }
                Ok::<_, Infallible>(SentBody::of(answer, active))
            }
        });
        let connection = builder
            .serve_connection(TokioIo::new(stream), service)
            .into_owned();
        tokio::pin!(connection);
        let idle = activity.idle_http2(timeouts.http2_idle);
        // No await in the arms: what they have borrowed cannot be sent to another thread.
        let event = tokio::select! {
            // The connection first: nothing else is ready in nearly every turn.
            biased;
            ended = connection.as_mut() => Event::Ended(ended),
            _ = stopping.wait_for(|is_stopping| *is_stopping) => Event::Stopping,
            () = idle => Event::Idle,
        };
        let ended = match event {
            Event::Ended(ended) => Some(ended),
            Event::Stopping | Event::Idle => {
                if matches!(event, Event::Idle) {
                    open.front_end.connections.timed_out();
                }
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection.as_mut() => Some(ended),
                    () = activity.abandoned(timeouts.farewell) => {
                        debug!("a client does not let its connection end: it is closed");
                        None
                    }
                }
            }
        };
        if let Some(Err(error)) = ended {
            debug!(%error, "a connection ended early");
        }
        // Only now: the server waits until no connection has a receiver.
        drop(stopping);
        drop(open);
    }
}

/// Makes the handshake, where the port speaks TLS; `None` if it fails, or if the server is stopping:
/// no request has arrived yet.
async fn handshake(
    tls: Option<TlsPort>,
    stream: TcpStream,
    stopping: &mut watch::Receiver<bool>,
) -> Option<Handshake> {
    let Some(tls) = tls else {
        return Some(Handshake {
            transport: Transport::Plain(stream),
            certificate: None,
        });
    };
    // Boxed: connections without TLS need not carry the place for it.
    let handshake = Box::pin(tls.handshake(stream));
    tokio::select! {
        handshake = handshake => handshake,
        _ = stopping.wait_for(|is_stopping| *is_stopping) => None,
    }
}

/// Tells the front ends who the client of a request is.
fn set_certificate(extensions: &mut Extensions, certificate: Option<&ClientCertificate>) {
    if let Some(certificate) = certificate {
        extensions.insert(certificate.clone());
    }
}

/// The end of a connection.
enum Event<T> {
    /// It has ended by itself.
    Ended(T),
    /// The server is stopping.
    Stopping,
    /// No request has come for a long time.
    Idle,
}

/// An open connection, for its metric and its places.
pub(super) struct OpenConnection {
    front_end: Arc<FrontEnd>,
    protocol: &'static str,
    _permit: OwnedSemaphorePermit,
    place: ClientPlace,
}

impl OpenConnection {
    pub(super) fn new(
        front_end: Arc<FrontEnd>,
        protocol: &'static str,
        permit: OwnedSemaphorePermit,
        place: ClientPlace,
    ) -> Self {
        front_end.connections.opened(protocol);
        Self {
            front_end,
            protocol,
            _permit: permit,
            place,
        }
    }
}

impl OpenConnection {
    /// What the requests of its client may take.
    fn client_memory(&self) -> Arc<MemoryShare> {
        self.place.memory().clone()
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.front_end.connections.closed(self.protocol);
    }
}
