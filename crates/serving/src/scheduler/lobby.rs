//! Short runs: what arrives on one thread within one turn of its event loop runs together, on that
//! thread.
//!
//! A run of some microseconds is not worth a hop to another thread and back, but the connections
//! that are ready in the same turn are worth one run together: a batch costs little more than a
//! row. The first request to arrive leads: it lets the thread poll what else is ready, once, and
//! then runs everything that has joined it. Where nobody ever joins, it does not look either. What
//! would keep the thread for too long waits for its next turn, as does all of it for some turns if
//! others have the instances: once handed to other threads, short runs would go on there, which
//! contend with this one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::Shared;
use super::queue::Job;

/// A meeting place for each thread, roughly: threads beyond as many share.
pub(super) struct Lobbies(Box<[Lobby]>);

/// Alone on its cache line, for each is used by one thread nearly always.
#[derive(Default)]
#[repr(align(64))]
struct Lobby(Mutex<Guests>);

#[derive(Default)]
struct Guests {
    jobs: Vec<Job>,
    /// Whether one of them leads.
    led: bool,
    /// Leaders in a row that nobody joined.
    alone: u32,
}

/// After so many leaders that nobody joined, most leaders do not look for others any more, and one
/// in so many does.
const LONELY: u32 = 8;
const LOOK_AGAIN: u32 = 16;
/// After so many turns in a row without an instance, requests are left to the runners.
const FRUITLESS_TURNS: u32 = 4;

impl Lobbies {
    pub(super) fn new(threads: usize) -> Self {
        Self((0..threads.max(1)).map(|_| Lobby::default()).collect())
    }

    /// Puts a request with the others of this thread. The first is to lead; a full lobby gives the
    /// request back.
    pub(super) fn join(&self, shared: &Arc<Shared>, job: Job) -> Result<Option<Lead>, Job> {
        let at = thread_number() % self.0.len();
        let mut guests = self.0[at].0.lock();
        if guests.jobs.len() >= shared.limits.max_queue_requests {
            return Err(job);
        }
        guests.jobs.push(job);
        let leads = !std::mem::replace(&mut guests.led, true);
        let look = guests.alone < LONELY || guests.alone.is_multiple_of(LOOK_AGAIN);
        Ok(leads.then(|| Lead {
            shared: shared.clone(),
            at,
            look,
            fruitless: 0,
            done: false,
        }))
    }

    /// Puts what is left back, before those who came since. Whether the duty is still the caller's:
    /// it is not if somebody else leads by now.
    fn stay(&self, at: usize, mut left: Vec<Job>) -> bool {
        let mut guests = self.0[at].0.lock();
        left.append(&mut guests.jobs);
        guests.jobs = left;
        !std::mem::replace(&mut guests.led, true)
    }

    fn leave(&self, at: usize) -> Vec<Job> {
        let mut guests = self.0[at].0.lock();
        guests.led = false;
        guests.alone = if guests.jobs.len() > 1 {
            0
        } else {
            guests.alone.wrapping_add(1)
        };
        std::mem::take(&mut guests.jobs)
    }
}

/// The duty to run what has gathered. Dropped before that, as when the leader's client hangs up, it
/// leaves the others to the queue.
pub(super) struct Lead {
    shared: Arc<Shared>,
    at: usize,
    /// Whether others may have come in the same turn.
    look: bool,
    /// Turns in a row in which nothing could be run.
    fruitless: u32,
    /// Whether the duty is done.
    done: bool,
}

impl Lead {
    /// Lets the thread look once at what else is ready, and runs everything that has joined.
    pub(super) async fn run(mut self) {
        if self.look {
            tokio::task::yield_now().await;
        }
        self.turn();
        if !self.done {
            // By itself: the leader's own answer must not wait for those of others, who may come
            // without end.
            tokio::spawn(self.go_on());
        }
    }

    /// Runs what is left, in as many turns of the thread as it takes.
    async fn go_on(mut self) {
        while !self.done {
            tokio::task::yield_now().await;
            self.turn();
        }
    }

    /// Runs as much as the thread has time for.
    fn turn(&mut self) {
        let jobs = self.shared.lobbies.leave(self.at);
        let before = jobs.len();
        let left = self.shared.run_here(jobs);
        self.fruitless = if left.len() < before {
            0
        } else {
            self.fruitless + 1
        };
        self.done = if left.is_empty() {
            true
        } else if self.fruitless >= FRUITLESS_TURNS {
            self.shared.queue(left);
            true
        } else {
            !self.shared.lobbies.stay(self.at, left)
        };
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        if !self.done {
            let stranded = self.shared.lobbies.leave(self.at);
            self.shared.queue(stranded);
        }
    }
}

/// A small number for this thread.
fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    NUMBER.with(|number| *number)
}
