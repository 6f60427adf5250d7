//! The closed loop: each client sends its next request when it has the last answer.

use std::sync::Arc;
use std::time::Instant;

use super::{PlannedRequest, Sender};
use crate::client::Client;
use crate::mix::Picker;

/// Runs this thread's clients until the plan is done.
pub(super) async fn run(sender: &Arc<Sender>, clients: u64) {
    let mut pool = sender.pool();
    let mut ready = Vec::new();
    for _ in 0..clients {
        let mut client = pool.take();
        sender.connect(&mut client).await;
        ready.push(client);
    }
    let start = sender.begin();
    let running: Vec<_> = (0u64..)
        .zip(ready)
        .map(|(at, client)| {
            // A seed for each client of all threads: clients with the same one would send the same
            // requests in step.
            let seed = sender
                .plan()
                .seed
                .wrapping_add(at * sender.plan().threads as u64 + sender.thread as u64);
            tokio::spawn(repeat(sender.clone(), client, seed, start))
        })
        .collect();
    for client in running {
        // A client that panicked has said so on standard error; the others go on.
        let _ = client.await;
    }
}

async fn repeat(sender: Arc<Sender>, mut client: Client, seed: u64, start: Instant) {
    let plan = sender.plan();
    let end = plan.duration.map(|duration| plan.warmup + duration);
    let mut picker = Picker::new(&plan.mix, seed);
    while !sender.shared.is_stopped() {
        let elapsed = start.elapsed();
        if end.is_some_and(|end| elapsed >= end) {
            return;
        }
        let phase = (elapsed >= plan.warmup).then_some(0);
        if phase.is_some() && !sender.may_measure() {
            return;
        }
        let (model, payload) = picker.pick(&plan.mix);
        sender
            .send(
                &mut client,
                PlannedRequest {
                    phase,
                    intended: None,
                    model,
                    payload,
                },
            )
            .await;
    }
}
