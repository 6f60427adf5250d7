//! Looking at the server again and again, on a thread of its own: a server that answers slowly
//! holds up no key.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::ask::{Asker, Look};

/// Looks, or why there was none. At most one waits to be taken.
pub(super) struct Poll {
    pub(super) looks: Receiver<Result<Look, String>>,
    /// Dropped with the poll: so the thread knows when to end.
    _stop: SyncSender<()>,
}

impl Poll {
    /// Begins to look at a server.
    pub(super) fn start(server: &str, interval: Duration) -> Self {
        let (sender, looks) = sync_channel(1);
        let (stop, stopped) = sync_channel(0);
        let asker = Asker::new(server);
        thread::spawn(move || poll(&asker, interval, &sender, &stopped));
        Self { looks, _stop: stop }
    }
}

fn poll(
    asker: &Asker,
    interval: Duration,
    looks: &SyncSender<Result<Look, String>>,
    stopped: &Receiver<()>,
) {
    loop {
        let began = Instant::now();
        let look = asker.look().map_err(|error| format!("{error:#}"));
        if let Err(TrySendError::Disconnected(_)) = looks.try_send(look) {
            return;
        }
        let rest = interval.saturating_sub(began.elapsed());
        if stopped.recv_timeout(rest) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}
