//! Runs on the thread that brought the requests.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::batch::Batch;
use super::queue::{self, Job};
use super::{Shared, Work};

impl Shared {
    /// Whether so many runs over inputs of so many bytes are short even one after the other.
    pub(super) fn is_short(&self, runs: usize, bytes: usize) -> bool {
        let each = self.limits.inline_run / u32::try_from(runs).unwrap_or(u32::MAX);
        self.may_run_inline && self.run_times.stays_below(each, bytes)
    }

    /// Whether this request should run on the thread that brought it.
    pub(super) fn may_run_here(&self, work: &Work) -> bool {
        if !self.may_run_inline
            || work
                .deadline
                .is_some_and(|deadline| deadline <= Instant::now())
        {
            return false;
        }
        if !self
            .run_times
            .stays_below(self.limits.inline_run, work.bytes())
        {
            return false;
        }
        self.state.lock().queue.is_empty()
    }

    /// Runs requests on this thread, the most urgent first, as long as an instance is idle and all
    /// of it stays short; gives the rest back.
    pub(super) fn run_here(self: &Arc<Self>, jobs: Vec<Job>) -> Vec<Job> {
        let began = Instant::now();
        let waiting = jobs.iter().map(|job| job.work.rows).sum();
        let mut jobs = VecDeque::from(jobs);
        queue::shed(&mut jobs, self.late(waiting, began));
        let mut jobs = Vec::from(jobs);
        if let [first, others @ ..] = jobs.as_slice()
            && !others.is_empty()
        {
            // Rows that are cheapest in a batch too long for this thread are left to the runners
            // together.
            let others = others.iter().map(|job| job.work.rows).sum();
            let limit = self.limits.inline_run;
            let pays = |rows| {
                self.run_times
                    .pays_together(first.work.row_bytes(), rows, limit)
            };
            if self
                .batch(&first.work, others)
                .is_some_and(|(rows, run)| run > limit && pays(rows))
            {
                self.queue(jobs);
                return Vec::new();
            }
        }
        jobs.sort_by_key(|job| job.work.level);
        let mut is_first = true;
        while !jobs.is_empty() && (is_first || began.elapsed() < self.limits.inline_run) {
            is_first = false;
            let Some(instance) = self.state.lock().idle.pop() else {
                break;
            };
            let together = self.take_together(&mut jobs);
            self.run(instance, Batch::new(together));
        }
        jobs
    }

    /// The first request and those that can run with it, up to the largest batch that stays short.
    fn take_together(&self, jobs: &mut Vec<Job>) -> Vec<Job> {
        let most = self.limits.most_rows();
        let short = |bytes| {
            self.run_times
                .expected(bytes)
                .is_none_or(|run| run <= self.limits.inline_run)
        };
        let (mut rows, mut bytes) = (0, 0);
        let mut together: Vec<Job> = Vec::with_capacity(jobs.len());
        let mut rest = Vec::new();
        for job in jobs.drain(..) {
            let (with_rows, with_bytes) = (rows + job.work.rows, bytes + job.work.bytes());
            let joins = match together.first() {
                None => true,
                Some(first) => first.fits(&job) && with_rows <= most && short(with_bytes),
            };
            if joins {
                (rows, bytes) = (with_rows, with_bytes);
                together.push(job);
            } else {
                rest.push(job);
            }
        }
        *jobs = rest;
        together
    }
}
