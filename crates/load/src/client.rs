//! Clients that send one request at a time, over either protocol.

use std::sync::Arc;

use crate::failure::Failure;
use crate::grpc::Channel;
use crate::http::HttpClient;
use crate::payload::Payload;
use crate::target::Target;

/// Sends one request at a time.
#[derive(Debug)]
pub(crate) enum Client {
    /// Over a connection of its own.
    Http(HttpClient),
    /// Over a connection that it shares.
    Grpc(Arc<Channel>),
}

impl Client {
    /// Opens a connection if there is none; returns whether it did.
    pub(crate) async fn connect(&mut self) -> Result<bool, Failure> {
        match self {
            Self::Http(client) => client.connect().await,
            Self::Grpc(channel) => channel.connect().await,
        }
    }

    /// Sends a request, waits for the whole response, and returns its size in bytes.
    pub(crate) async fn exchange(&mut self, payload: &Payload) -> Result<u64, Failure> {
        match self {
            Self::Http(client) => client.exchange(&payload.bytes).await,
            Self::Grpc(channel) => channel
                .call(&payload.bytes)
                .await
                .map(|(_, received)| received),
        }
    }
}

/// The clients of one thread.
#[derive(Debug)]
pub(crate) struct Pool {
    target: Target,
    /// Idle HTTP clients. The one used last is used next: its connection is most likely alive.
    idle: Vec<HttpClient>,
    channels: Vec<Arc<Channel>>,
    next_channel: usize,
}

impl Pool {
    /// A pool for a target; `connections` is how many HTTP/2 connections gRPC calls share.
    pub(crate) fn new(target: &Target, connections: usize) -> Self {
        let channels = (0..connections.max(1))
            .filter_map(|_| target.channel())
            .map(Arc::new)
            .collect();
        Self {
            target: target.clone(),
            idle: Vec::new(),
            channels,
            next_channel: 0,
        }
    }

    /// A client for exclusive use.
    pub(crate) fn take(&mut self) -> Client {
        if self.channels.is_empty() {
            return Client::Http(
                self.idle
                    .pop()
                    .unwrap_or_else(|| HttpClient::new(self.target.address())),
            );
        }
        // In turn, so that every connection carries about as many requests.
        self.next_channel = (self.next_channel + 1) % self.channels.len();
        Client::Grpc(self.channels[self.next_channel].clone())
    }

    /// Returns a client to the pool for the next request.
    pub(crate) fn put(&mut self, client: Client) {
        if let Client::Http(client) = client {
            self.idle.push(client);
        }
    }
}
