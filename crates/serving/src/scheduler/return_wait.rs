//! A short wait of an idle instance for the clients of the batch that has just ended.
//!
//! ```text
//! instance  ─── batch of 16 rows ───┤ wait ├─── batch of 16 rows ───┤
//! clients                           └─► 16 answers, 16 new requests
//!                                       ▲
//!           without the wait: a batch of the 2 or 3 rows that came first
//! ```
//!
//! Clients in a closed loop ask again right after their answer. Taking the first of them at once
//! would give small batches whose rows are expensive.
//!
//! Invariants: no wait is longer than [`MAX_WAIT`], and none starts unless measured run times show
//! that more rows pay. Rows that waited before the batch ended count.

use std::time::{Duration, Instant};

use super::Limits;
use super::queue::Queue;
use super::run_time_model::RunTimeModel;

/// The longest wait, as a part of the time of a run like the last one: 1 of so many.
const MAX_PART_OF_RUN: u32 = 8;
/// The longest wait, whatever a run takes.
pub(super) const MAX_WAIT: Duration = Duration::from_micros(300);
/// Waiting for fewer rows was measured to cost as much as it gains.
const MIN_ROWS: usize = 8;

/// The batch that ended last.
#[derive(Clone, Copy, Debug)]
pub(super) struct EndedBatch {
    pub(super) at: Instant,
    pub(super) rows: usize,
}

/// How long, and for how many waiting rows, an instance waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReturnWait {
    pub(super) until: Instant,
    pub(super) rows: usize,
}

impl ReturnWait {
    /// The wait after a batch; `None` where no more rows would pay, or as many are there.
    pub(super) fn after(
        last_batch: EndedBatch,
        queue: &Queue,
        limits: &Limits,
        run_times: &RunTimeModel,
    ) -> Option<Self> {
        let row_bytes = queue.head()?.work.row_bytes();
        let rows = run_times
            .efficient_rows(row_bytes, limits.max_rows())
            .min(last_batch.rows);
        if rows < MIN_ROWS || queue.rows() >= rows {
            return None;
        }
        let last_run = run_times.expected(row_bytes * last_batch.rows)?;
        let wait = (last_run / MAX_PART_OF_RUN).min(MAX_WAIT);
        Some(Self {
            until: last_batch.at + wait,
            rows,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use tidegate_core::{Batching, Shape, Tensor};
    use tidegate_gateway::TenantShare;

    use super::*;
    use crate::scheduler::Work;
    use crate::scheduler::accepted_work::{AcceptedWork, Response};

    /// A row is one FP32.
    const ROW_BYTES: usize = 4;

    struct Fixture {
        queue: Queue,
        responses: Vec<Response>,
        run_times: RunTimeModel,
        ended_at: Instant,
    }

    impl Fixture {
        fn push_row(&mut self) {
            let row = Tensor::from_vec(Shape::new(&[1, 1]).unwrap(), vec![1.0f32]).unwrap();
            let (request, response) = AcceptedWork::new(Work {
                inputs: vec![Some(row)],
                rows: 1,
                deadline: None,
                level: 1,
                runs_alone: false,
                share: TenantShare::default(),
            });
            self.queue.push(request);
            self.responses.push(response);
        }

        /// The wait in microseconds and the rows that it is for, after a batch of so many rows.
        fn wait_after(&self, rows: usize) -> Option<(u128, usize)> {
            let last_batch = EndedBatch {
                at: self.ended_at,
                rows,
            };
            let limits = Limits::new(&Batching::default(), NonZeroUsize::new(64));
            let wait = ReturnWait::after(last_batch, &self.queue, &limits, &self.run_times)?;
            Some(((wait.until - self.ended_at).as_micros(), wait.rows))
        }
    }

    #[test]
    fn an_instance_waits_for_the_clients_of_its_last_batch_only_where_their_rows_pay() {
        let mut fixture = Fixture {
            queue: Queue::new(1),
            responses: Vec::new(),
            run_times: RunTimeModel::default(),
            ended_at: Instant::now(),
        };
        assert_eq!(fixture.wait_after(16), None, "nobody waits");
        fixture.push_row();
        assert_eq!(fixture.wait_after(16), None, "no run time is known");
        // Sixteen rows take twice as long as one.
        for (rows, us) in [
            (1, 800),
            (2, 850),
            (4, 950),
            (8, 1150),
            (16, 1600),
            (32, 3200),
            (64, 6400),
        ] {
            fixture
                .run_times
                .learn(rows * ROW_BYTES, Duration::from_micros(us));
        }
        assert_eq!(
            fixture.wait_after(16),
            Some((200, 16)),
            "an eighth of the run"
        );
        assert_eq!(
            fixture.wait_after(64),
            Some((MAX_WAIT.as_micros(), 16)),
            "more rows get no cheaper"
        );
        assert_eq!(fixture.wait_after(7), None, "too few to wait for");
        (1..16).for_each(|_| fixture.push_row());
        assert_eq!(fixture.wait_after(16), None, "all are there");
    }
}
