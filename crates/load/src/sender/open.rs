//! The open loop: requests are sent when they are due, even if earlier ones are still unanswered.
//!
//! Latency counts from when a request was *meant* to be sent. A generator that waited for a stalled
//! server and counted from when it finally sent would leave out just the requests that suffered
//! from the stall: coordinated omission.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{PlannedRequest, Sender};
use crate::client::Pool;
use crate::mix::Picker;
use crate::pace::Timer;
use crate::payload::Payload;
use crate::plan::Plan;
use crate::schedule::{Arrivals, arrivals};

/// How often a waiting generator checks whether it was stopped.
const CHECK_STOP_EVERY: Duration = Duration::from_millis(200);
/// Requests started in a row before the runtime gets to run those in flight.
const BURST: u32 = 16;

/// Sends this thread's arrivals and waits for their answers.
pub(super) async fn run(sender: &Arc<Sender>, when: &Arrivals) -> std::io::Result<()> {
    let plan = sender.plan();
    // Before the load begins, so that the first requests do not measure connecting.
    let pool = Arc::new(Mutex::new(connected(sender).await));
    let most = usize::try_from(plan.share(plan.max_outstanding as u64, sender.thread))
        .unwrap_or(usize::MAX);
    let most = most.clamp(1, Semaphore::MAX_PERMITS);
    let permits = Arc::new(Semaphore::new(most));
    let mut picker = Picker::new(&plan.mix, plan.seed.wrapping_add(sender.thread as u64));
    let start = sender.begin();
    let mut timer = Timer::new()?;
    let mut in_a_row = 0;
    let last_call = last_call(plan, start);
    for arriving in arrivals(
        when,
        plan.warmup,
        plan.duration,
        plan.seed,
        (sender.thread, plan.threads),
    ) {
        if arriving.phase.is_some() && !sender.may_measure() {
            break;
        }
        let intended = start + arriving.at;
        in_a_row = if wait(sender, &mut timer, intended).await? {
            0
        } else {
            in_a_row + 1
        };
        if sender.shared.is_stopped() {
            break;
        }
        // A generator that is late has nothing to wait for, and would never let its requests run.
        if in_a_row == BURST {
            in_a_row = 0;
            tokio::task::yield_now().await;
        }
        let is_too_late = last_call.is_some_and(|last_call| Instant::now() > last_call);
        // Tried and not waited for: waiting would shift all later requests and hide the stall.
        match permits.clone().try_acquire_owned() {
            Ok(permit) if !is_too_late => {
                let (model, payload) = picker.pick(&plan.mix);
                let due = Due {
                    phase: arriving.phase,
                    intended,
                    model,
                    payload: payload.clone(),
                };
                tokio::spawn(send(sender.clone(), pool.clone(), due, permit));
            }
            refused => skip(sender, arriving.phase, refused.is_ok()),
        }
    }
    // All permits are back when all requests have ended, at the latest by their timeout.
    let all = permits
        .acquire_many(u32::try_from(most).unwrap_or(u32::MAX))
        .await;
    drop(all);
    Ok(())
}

/// After this, a generator will not catch up: the rest is counted, but not sent.
fn last_call(plan: &Plan, start: Instant) -> Option<Instant> {
    let end = plan.phases().last()?.end?;
    Some(start + end + plan.timeout)
}

/// A request that its task owns.
struct Due {
    phase: Option<usize>,
    intended: Instant,
    model: usize,
    payload: Payload,
}

async fn send(sender: Arc<Sender>, pool: Arc<Mutex<Pool>>, due: Due, permit: OwnedSemaphorePermit) {
    let request = PlannedRequest {
        phase: due.phase,
        intended: Some(due.intended),
        model: due.model,
        payload: &due.payload,
    };
    // HTTP takes the connection that was given back last, or a new one; gRPC takes them in turn.
    let mut client = lock(&pool).take();
    sender.send(&mut client, request).await;
    lock(&pool).put(client);
    drop(permit);
}

/// A pool whose connections are open.
async fn connected(sender: &Sender) -> Pool {
    let mut pool = sender.pool();
    let count = sender
        .plan()
        .share(sender.plan().connections as u64, sender.thread);
    let mut clients: Vec<_> = (0..count.max(1)).map(|_| pool.take()).collect();
    for client in &mut clients {
        sender.connect(client).await;
    }
    clients.into_iter().for_each(|client| pool.put(client));
    pool
}

/// Waits until a request is due, or the load was stopped; whether there was anything to wait for.
async fn wait(sender: &Sender, timer: &mut Timer, due: Instant) -> std::io::Result<bool> {
    let mut waited = false;
    while !sender.shared.is_stopped() {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        timer.sleep(left.min(CHECK_STOP_EVERY)).await?;
        waited = true;
    }
    Ok(waited)
}

/// Counts a request that is not sent.
fn skip(sender: &Sender, phase: Option<usize>, is_too_late: bool) {
    let Some(phase) = phase else { return };
    let mut recorder = sender.recorder();
    let window = recorder.window(phase);
    if is_too_late {
        window.unsent += 1;
    } else {
        window.dropped += 1;
    }
}

fn lock(pool: &Mutex<Pool>) -> std::sync::MutexGuard<'_, Pool> {
    pool.lock().unwrap_or_else(PoisonError::into_inner)
}
