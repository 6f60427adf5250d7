//! Snapshots of the server, taken on a thread of their own: a server that is slow to respond does not
//! delay the response to keys.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::client::{ServerClient, ServerSnapshot};

/// A snapshot, or why there is none.
pub(super) type Polled = std::result::Result<ServerSnapshot, String>;

/// A thread that polls the server.
pub(super) struct Poll {
    /// At most one snapshot waits to be taken; newer ones are dropped meanwhile.
    pub(super) snapshots: Receiver<Polled>,
    /// Stops the thread, by being dropped with the poll.
    _stop: SyncSender<()>,
}

impl Poll {
    /// Starts the thread.
    pub(super) fn start(server: &str, interval: Duration) -> Result<Self> {
        let (sender, snapshots) = sync_channel(1);
        let (stop, stopped) = sync_channel(0);
        let client = ServerClient::new(server)?;
        thread::spawn(move || poll(&client, interval, &sender, &stopped));
        Ok(Self {
            snapshots,
            _stop: stop,
        })
    }
}

fn poll(
    client: &ServerClient,
    interval: Duration,
    snapshots: &SyncSender<Polled>,
    stopped: &Receiver<()>,
) {
    loop {
        let start = Instant::now();
        let snapshot = client.snapshot().map_err(|error| format!("{error:#}"));
        // Full: the screen has not taken the last one yet, and this one is dropped.
        if let Err(TrySendError::Disconnected(_)) = snapshots.try_send(snapshot) {
            return;
        }
        let rest = interval.saturating_sub(start.elapsed());
        // A wait that ends as soon as the poll is dropped; nothing is ever sent.
        if stopped.recv_timeout(rest) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}
