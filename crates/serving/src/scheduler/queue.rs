//! Requests that wait: first come, first served within a priority level.

use std::collections::VecDeque;
use std::time::Instant;

use tokio::sync::oneshot;

use super::estimate::RunTimes;
use super::{Completed, Limits, Work};
use crate::InferError;

/// A request with the way back to whoever waits for it.
pub(super) struct Job {
    pub(super) work: Work,
    pub(super) enqueued: Instant,
    pub(super) reply: oneshot::Sender<Result<Completed, InferError>>,
    number: u64,
}

impl Job {
    pub(super) fn new(work: Work) -> (Self, oneshot::Receiver<Result<Completed, InferError>>) {
        let (reply, answer) = oneshot::channel();
        (
            Self {
                work,
                enqueued: Instant::now(),
                reply,
                number: 0,
            },
            answer,
        )
    }

    /// Whether two requests can share a run: they agree in everything but the number of rows.
    pub(super) fn fits(&self, other: &Self) -> bool {
        let mut pairs = self.work.inputs.iter().zip(&other.work.inputs);
        pairs.all(|pair| match pair {
            (None, None) => true,
            (Some(one), Some(two)) => one.shape().get(1..) == two.shape().get(1..),
            _ => false,
        })
    }
}

/// Names a queued request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    level: usize,
    number: u64,
}

/// Waiting requests by priority level, the most urgent first.
pub(super) struct Queue {
    levels: Vec<VecDeque<Job>>,
    /// Rows that wait, by level.
    rows: Vec<usize>,
    len: usize,
    next_number: u64,
}

impl Queue {
    pub(super) fn new(levels: usize) -> Self {
        let levels = levels.max(1);
        Self {
            levels: (0..levels).map(|_| VecDeque::new()).collect(),
            rows: vec![0; levels],
            len: 0,
            next_number: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn push(&mut self, mut job: Job) -> Ticket {
        let level = job.work.level.min(self.levels.len() - 1);
        let number = self.next_number;
        job.number = number;
        self.next_number += 1;
        self.len += 1;
        self.rows[level] += job.work.rows;
        self.levels[level].push_back(job);
        Ticket { level, number }
    }

    /// Takes a request out whose client has gone; nothing happens if it already runs.
    pub(super) fn remove(&mut self, ticket: Ticket) {
        let level = &mut self.levels[ticket.level];
        // Numbers ascend within a level.
        let found = level
            .binary_search_by_key(&ticket.number, |job| job.number)
            .ok();
        if let Some(job) = found.and_then(|at| level.remove(at)) {
            self.rows[ticket.level] -= job.work.rows;
            self.len -= 1;
        }
    }

    /// Rows that wait.
    pub(super) fn rows(&self) -> usize {
        self.rows.iter().sum()
    }

    /// Rows that run before a new request of `level`.
    pub(super) fn rows_before(&self, level: usize) -> usize {
        self.rows.iter().take(level + 1).sum()
    }

    /// As [`shed`], for all that wait.
    pub(super) fn shed(&mut self, mut late: impl FnMut(&Job) -> Option<InferError>) {
        for (level, rows) in self.levels.iter_mut().zip(&mut self.rows) {
            let before = level.len();
            shed(level, &mut late);
            if level.len() < before {
                self.len -= before - level.len();
                *rows = level.iter().map(|job| job.work.rows).sum();
            }
        }
    }

    /// Answers every waiting request with the same error.
    pub(super) fn refuse_all(&mut self, error: &InferError) {
        self.shed(|_| Some(error.clone()));
    }

    /// When the requests at the head may run; `None` for at once.
    pub(super) fn ready_at(&self, limits: &Limits) -> Option<Instant> {
        let head = self.head()?;
        if limits.queue_delay.is_zero() {
            return None;
        }
        let most = limits.max_batch_rows?.get();
        let enough = limits
            .preferred_rows
            .first()
            .copied()
            .unwrap_or(most)
            .min(most);
        let rows: usize = self
            .levels
            .iter()
            .flatten()
            .filter(|job| head.fits(job))
            .map(|job| job.work.rows)
            .sum();
        if rows >= enough {
            None
        } else {
            Some(self.oldest(head) + limits.queue_delay)
        }
    }

    pub(super) fn head(&self) -> Option<&Job> {
        self.levels.iter().find_map(VecDeque::front)
    }

    fn oldest(&self, head: &Job) -> Instant {
        self.levels
            .iter()
            .filter_map(VecDeque::front)
            .map(|job| job.enqueued)
            .min()
            .unwrap_or(head.enqueued)
    }

    /// Takes the head and what can run with it, in order, up to the largest batch that pays, or to
    /// the largest preferred size that can be filled.
    pub(super) fn take(&mut self, limits: &Limits, run_times: &RunTimes) -> Vec<Job> {
        let Some(level) = self.levels.iter().position(|level| !level.is_empty()) else {
            return Vec::new();
        };
        let head = self.levels[level]
            .pop_front()
            .expect("the level is not empty");
        self.len -= 1;
        self.rows[level] -= head.work.rows;
        let Some(most) = limits.max_batch_rows else {
            return vec![head];
        };
        let most = self.target(&head, limits, most.get(), run_times);
        let mut rows = head.work.rows;
        let mut batch = vec![head];
        'levels: for (level, level_rows) in
            self.levels[level..].iter_mut().zip(&mut self.rows[level..])
        {
            let mut at = 0;
            while rows < most {
                let Some(job) = level.get(at) else {
                    continue 'levels;
                };
                if !batch[0].fits(job) {
                    at += 1;
                    continue;
                }
                if rows + job.work.rows > most {
                    break 'levels;
                }
                rows += job.work.rows;
                *level_rows -= job.work.rows;
                batch.push(level.remove(at).expect("the place was just looked at"));
                self.len -= 1;
            }
        }
        batch
    }

    fn target(&self, head: &Job, limits: &Limits, most: usize, run_times: &RunTimes) -> usize {
        if limits.preferred_rows.is_empty() {
            return run_times.efficient_rows(head.work.row_bytes(), most);
        }
        let waiting: usize = self
            .levels
            .iter()
            .flatten()
            .filter(|job| head.fits(job))
            .map(|job| job.work.rows)
            .sum();
        let waiting = waiting + head.work.rows;
        let preferred = limits
            .preferred_rows
            .iter()
            .rev()
            .find(|rows| **rows <= waiting && **rows <= most);
        preferred.copied().unwrap_or(most)
    }
}

/// Drops requests that nobody waits for any more, and refuses every one for which `late` has an
/// error.
pub(super) fn shed(jobs: &mut VecDeque<Job>, mut late: impl FnMut(&Job) -> Option<InferError>) {
    jobs.retain(|job| !job.reply.is_closed());
    let mut at = 0;
    while let Some(job) = jobs.get(at) {
        match late(job) {
            None => at += 1,
            Some(error) => {
                let job = jobs.remove(at).expect("the place was just looked at");
                // Nobody may be waiting any more.
                let _ = job.reply.send(Err(error));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn job(level: usize, rows: usize) -> (Job, oneshot::Receiver<Result<Completed, InferError>>) {
        Job::new(Work {
            inputs: Vec::new(),
            rows,
            deadline: None,
            level,
        })
    }

    fn limits(most: usize) -> Limits {
        let batching = tidegate_core::Batching::default();
        Limits {
            levels: 3,
            ..Limits::new(&batching, std::num::NonZeroUsize::new(most))
        }
    }

    proptest! {
        #[test]
        fn the_rows_that_wait_are_counted_through_every_change(
            steps in prop::collection::vec((0..5u8, 0..3usize, 1..9usize), 1..200),
        ) {
            let mut queue = Queue::new(3);
            let mut tickets = Vec::new();
            let mut answers = Vec::new();
            let times = RunTimes::default();
            for (step, level, rows) in steps {
                match step {
                    0 | 1 => {
                        let (job, answer) = job(level, rows);
                        tickets.push(queue.push(job));
                        answers.push(answer);
                    }
                    2 if !tickets.is_empty() => queue.remove(tickets.swap_remove(rows % tickets.len())),
                    3 => drop(queue.take(&limits(8), &times)),
                    4 => {
                        answers.truncate(answers.len() / 2);
                        queue.shed(|job| (job.work.rows == rows).then(|| crate::scheduler::too_late("late")));
                    }
                    _ => {}
                }
                let counted = |level: &VecDeque<Job>| level.iter().map(|job| job.work.rows).sum::<usize>();
                prop_assert_eq!(queue.rows(), queue.levels.iter().map(counted).sum::<usize>());
                prop_assert_eq!(queue.rows_before(1), queue.levels[..2].iter().map(counted).sum::<usize>());
                prop_assert_eq!(queue.len(), queue.levels.iter().map(VecDeque::len).sum::<usize>());
            }
        }
    }
}
