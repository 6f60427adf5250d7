//! The scheduler over an engine whose runs the test lets through one by one.

use std::num::NonZeroUsize;
use std::sync::mpsc;

use proptest::prelude::*;
use tidegate_core::{Batching, Shape, Signature};
use tidegate_engines::{LoadError, RunError};

use super::*;
use crate::Metrics;

/// An engine that doubles its input, waits at a gate, and remembers the first value of every row
/// that it ran.
#[derive(Clone)]
struct Doubler {
    signature: Signature,
    ran: Arc<Mutex<Vec<Vec<f32>>>>,
    gate: Option<Arc<Mutex<mpsc::Receiver<()>>>>,
}

/// A value that makes the engine fail, and one that makes it panic.
const BAD: f32 = -1.0;
const POISON: f32 = -2.0;

impl Doubler {
    fn new() -> Self {
        Self {
            signature: Signature::default(),
            ran: Arc::default(),
            gate: None,
        }
    }

    /// Runs wait until the returned sender lets each through.
    fn gated() -> (Self, mpsc::Sender<()>) {
        let (open, gate) = mpsc::channel();
        (
            Self {
                gate: Some(Arc::new(Mutex::new(gate))),
                ..Self::new()
            },
            open,
        )
    }

    fn scheduler(&self, limits: Limits) -> Arc<Scheduler> {
        let stats = VersionStats::new(&Metrics::new(), "doubler", "1", 64);
        let artifact = Arc::new(self.clone());
        let instances = vec![artifact.instance().unwrap()];
        Arc::new(Scheduler::new(
            "doubler:1".into(),
            limits,
            artifact,
            instances,
            Arc::new(stats),
        ))
    }

    /// Batches that ran, by the first values of their rows.
    fn batches(&self) -> Vec<Vec<f32>> {
        self.ran.lock().clone()
    }

    /// Waits until that many batches have begun.
    async fn begun(&self, batches: usize) {
        while self.ran.lock().len() < batches {
            tokio::task::yield_now().await;
        }
    }
}

impl LoadedArtifact for Doubler {
    fn engine(&self) -> &'static str {
        "doubler"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn default_instances(&self) -> usize {
        1
    }

    fn run_time_is_bounded(&self) -> bool {
        true
    }

    fn instance(&self) -> Result<Box<dyn Instance>, LoadError> {
        Ok(Box::new(self.clone()))
    }
}

impl Instance for Doubler {
    fn run(&mut self, inputs: &[Option<Tensor>]) -> Result<Vec<Tensor>, RunError> {
        let tensor = inputs[0].as_ref().unwrap();
        let values = tensor.to_vec::<f32>().unwrap();
        let width = values.len() / tensor.rows();
        self.ran
            .lock()
            .push(values.iter().copied().step_by(width.max(1)).collect());
        if let Some(gate) = &self.gate {
            gate.lock().recv().unwrap();
        }
        if values.contains(&POISON) {
            panic!("poisoned");
        }
        if values.contains(&BAD) {
            return Err(RunError::Engine("bad value".into()));
        }
        let doubled = values.iter().map(|value| value * 2.0).collect();
        Ok(vec![
            Tensor::from_vec(tensor.shape().clone(), doubled).unwrap(),
        ])
    }
}

fn limits(max_batch_rows: usize) -> Limits {
    Limits::new(&Batching::default(), NonZeroUsize::new(max_batch_rows))
}

/// A row is one FP32.
const ROW_BYTES: usize = 4;

fn work(values: &[f32]) -> Work {
    let shape = Shape::new(&[values.len(), 1]).unwrap();
    let inputs = vec![Some(Tensor::from_vec(shape, values.to_vec()).unwrap())];
    Work {
        inputs,
        rows: values.len(),
        deadline: None,
        level: 1,
    }
}

fn doubled(answer: Result<Completed, InferError>) -> Vec<f32> {
    answer.unwrap().outputs[0].to_vec().unwrap()
}

/// Submits in a task of its own and waits until the request is in the queue.
async fn submit(
    scheduler: &Arc<Scheduler>,
    work: Work,
) -> tokio::task::JoinHandle<Result<Completed, InferError>> {
    let before = scheduler.queued();
    let task = tokio::spawn({
        let scheduler = scheduler.clone();
        async move { scheduler.submit(work).await }
    });
    while scheduler.queued() == before {
        tokio::task::yield_now().await;
    }
    task
}

/// Fills the only instance with a run that waits at the gate.
async fn occupy(
    scheduler: &Arc<Scheduler>,
    doubler: &Doubler,
) -> tokio::task::JoinHandle<Result<Completed, InferError>> {
    let begun = doubler.batches().len();
    let task = tokio::spawn({
        let scheduler = scheduler.clone();
        async move { scheduler.submit(work(&[0.0])).await }
    });
    doubler.begun(begun + 1).await;
    task
}

#[tokio::test]
async fn what_waits_runs_together_and_each_gets_its_own_rows() {
    let (doubler, gate) = Doubler::gated();
    let scheduler = doubler.scheduler(limits(8));
    let first = occupy(&scheduler, &doubler).await;
    let second = submit(&scheduler, work(&[1.0, 2.0])).await;
    let third = submit(&scheduler, work(&[3.0])).await;
    let fourth = submit(&scheduler, work(&[4.0; 6])).await;
    for _ in 0..3 {
        gate.send(()).unwrap();
    }
    assert_eq!(doubled(first.await.unwrap()), [0.0]);
    assert_eq!(doubled(second.await.unwrap()), [2.0, 4.0]);
    assert_eq!(doubled(third.await.unwrap()), [6.0]);
    assert_eq!(doubled(fourth.await.unwrap()), [8.0; 6]);
    assert_eq!(
        doubler.batches(),
        [vec![0.0], vec![1.0, 2.0, 3.0], vec![4.0; 6]]
    );
}

#[tokio::test]
async fn requests_that_differ_beside_the_batch_axis_do_not_share_a_run() {
    let (doubler, gate) = Doubler::gated();
    let scheduler = doubler.scheduler(limits(8));
    let first = occupy(&scheduler, &doubler).await;
    let narrow = submit(&scheduler, work(&[1.0])).await;
    let wide_tensor = Tensor::from_vec(Shape::new(&[1, 2]).unwrap(), vec![5.0f32, 6.0]).unwrap();
    let wide = submit(
        &scheduler,
        Work {
            inputs: vec![Some(wide_tensor)],
            ..work(&[5.0])
        },
    )
    .await;
    let narrow_too = submit(&scheduler, work(&[2.0])).await;
    for _ in 0..3 {
        gate.send(()).unwrap();
    }
    assert_eq!(doubled(wide.await.unwrap()), [10.0, 12.0]);
    assert_eq!(doubled(narrow.await.unwrap()), [2.0]);
    assert_eq!(doubled(narrow_too.await.unwrap()), [4.0]);
    assert_eq!(doubled(first.await.unwrap()), [0.0]);
    assert_eq!(doubler.batches(), [vec![0.0], vec![1.0, 2.0], vec![5.0]]);
}

#[tokio::test]
async fn urgent_requests_run_first_and_equal_ones_in_order() {
    let (doubler, gate) = Doubler::gated();
    let scheduler = doubler.scheduler(limits(1));
    let mut tasks = vec![occupy(&scheduler, &doubler).await];
    for (value, level) in [(1.0, 2), (2.0, 1), (3.0, 0), (4.0, 1)] {
        tasks.push(
            submit(
                &scheduler,
                Work {
                    level,
                    ..work(&[value])
                },
            )
            .await,
        );
    }
    for _ in 0..5 {
        gate.send(()).unwrap();
    }
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(doubler.batches(), [[0.0], [3.0], [2.0], [4.0], [1.0]]);
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let (doubler, gate) = Doubler::gated();
    let scheduler = doubler.scheduler(Limits {
        max_queue_requests: 1,
        ..limits(8)
    });
    let first = occupy(&scheduler, &doubler).await;
    let second = submit(&scheduler, work(&[1.0])).await;
    let refused = scheduler.submit(work(&[2.0])).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::QueueFull);
    gate.send(()).unwrap();
    gate.send(()).unwrap();
    first.await.unwrap().unwrap();
    assert_eq!(doubled(second.await.unwrap()), [2.0]);
}

#[tokio::test]
async fn a_client_that_goes_frees_its_place() {
    let (doubler, gate) = Doubler::gated();
    let scheduler = doubler.scheduler(Limits {
        max_queue_requests: 1,
        ..limits(8)
    });
    let first = occupy(&scheduler, &doubler).await;
    let gone = submit(&scheduler, work(&[1.0])).await;
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    assert_eq!(scheduler.queued(), 0);
    let next = submit(&scheduler, work(&[2.0])).await;
    gate.send(()).unwrap();
    gate.send(()).unwrap();
    first.await.unwrap().unwrap();
    assert_eq!(doubled(next.await.unwrap()), [4.0]);
    assert_eq!(doubler.batches(), [[0.0], [2.0]]);
}

#[tokio::test]
async fn a_late_request_is_answered_at_its_deadline_and_never_runs() {
    let (doubler, gate) = Doubler::gated();
    let scheduler = doubler.scheduler(limits(8));
    let first = occupy(&scheduler, &doubler).await;
    let deadline = Some(Instant::now() + Duration::from_millis(5));
    let late = scheduler
        .submit(Work {
            deadline,
            ..work(&[1.0])
        })
        .await
        .unwrap_err();
    assert_eq!(late.code, ErrorCode::DeadlineExceeded);
    assert_eq!(scheduler.queued(), 0);
    gate.send(()).unwrap();
    first.await.unwrap().unwrap();
    assert_eq!(doubler.batches(), [[0.0]]);
    let past = scheduler
        .submit(Work {
            deadline: Some(Instant::now()),
            ..work(&[1.0])
        })
        .await
        .unwrap_err();
    assert_eq!(past.code, ErrorCode::DeadlineExceeded);
}

#[tokio::test]
async fn what_cannot_be_answered_in_time_is_refused_when_it_comes() {
    let (doubler, gate) = Doubler::gated();
    let scheduler = doubler.scheduler(limits(1));
    scheduler.learn(ROW_BYTES, Duration::from_secs(3));
    let first = occupy(&scheduler, &doubler).await;
    let second = submit(&scheduler, work(&[1.0])).await;
    let deadline = Some(Instant::now() + Duration::from_secs(1));
    let refused = scheduler
        .submit(Work {
            deadline,
            ..work(&[2.0])
        })
        .await
        .unwrap_err();
    assert_eq!(refused.code, ErrorCode::DeadlineExceeded);
    assert!(refused.message.contains("ahead"), "{refused}");
    gate.send(()).unwrap();
    gate.send(()).unwrap();
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
}

#[tokio::test]
async fn one_bad_request_fails_alone() {
    let (doubler, gate) = Doubler::gated();
    let scheduler = doubler.scheduler(limits(8));
    let first = occupy(&scheduler, &doubler).await;
    let good = submit(&scheduler, work(&[1.0])).await;
    let bad = submit(&scheduler, work(&[BAD])).await;
    let good_too = submit(&scheduler, work(&[2.0])).await;
    for _ in 0..5 {
        gate.send(()).unwrap();
    }
    assert_eq!(
        bad.await.unwrap().unwrap_err().code,
        ErrorCode::ExecutionFailed
    );
    assert_eq!(doubled(good.await.unwrap()), [2.0]);
    assert_eq!(doubled(good_too.await.unwrap()), [4.0]);
    first.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_panic_fails_its_batch_and_the_next_request_is_answered() {
    let doubler = Doubler::new();
    let scheduler = doubler.scheduler(limits(8));
    let error = scheduler.submit(work(&[POISON])).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::ExecutionFailed);
    assert!(error.message.contains("poisoned"), "{error}");
    assert_eq!(doubled(scheduler.submit(work(&[4.0])).await), [8.0]);
}

#[tokio::test]
async fn a_request_larger_than_a_batch_is_split_and_joined_in_order() {
    let doubler = Doubler::new();
    let scheduler = doubler.scheduler(limits(3));
    let values: Vec<f32> = (0..8).map(|value| value as f32).collect();
    let expected: Vec<f32> = values.iter().map(|value| value * 2.0).collect();
    assert_eq!(doubled(scheduler.submit(work(&values)).await), expected);
    assert_eq!(
        doubler.batches().iter().map(Vec::len).collect::<Vec<_>>(),
        [3, 3, 2]
    );
}

#[tokio::test]
async fn a_request_that_no_queue_could_hold_is_refused_for_good_before_memory_is_taken() {
    let doubler = Doubler::new();
    let scheduler = doubler.scheduler(Limits {
        max_queue_requests: 3,
        ..limits(2)
    });
    assert_eq!(doubled(scheduler.submit(work(&[1.0; 6])).await), [2.0; 6]);
    assert_eq!(
        scheduler.submit(work(&[1.0; 7])).await.unwrap_err().code,
        ErrorCode::ShapeOverflow
    );
    // A row without elements takes no bytes of the body.
    let rows = 1 << 58;
    let empty = Tensor::from_vec(Shape::new(&[rows, 0]).unwrap(), Vec::<f32>::new()).unwrap();
    let refused = scheduler
        .submit(Work {
            inputs: vec![Some(empty)],
            rows,
            deadline: None,
            level: 0,
        })
        .await;
    assert_eq!(refused.unwrap_err().code, ErrorCode::ShapeOverflow);
}

#[tokio::test]
async fn with_a_delay_a_preferred_size_runs_at_once_and_less_waits() {
    let doubler = Doubler::new();
    let patient = Limits {
        queue_delay: Duration::from_secs(600),
        preferred_rows: vec![2, 4],
        ..limits(8)
    };
    let scheduler = doubler.scheduler(patient);
    let first = submit(&scheduler, work(&[1.0])).await;
    assert!(doubler.batches().is_empty());
    assert_eq!(doubled(scheduler.submit(work(&[2.0])).await), [4.0]);
    assert_eq!(doubled(first.await.unwrap()), [2.0]);
    assert_eq!(doubler.batches(), [[1.0, 2.0]]);
}

#[tokio::test]
async fn a_short_run_happens_on_the_thread_that_brought_it() {
    let doubler = Doubler::new();
    let scheduler = doubler.scheduler(limits(8));
    scheduler.learn(ROW_BYTES, Duration::from_micros(10));
    assert_eq!(doubled(scheduler.submit(work(&[1.0])).await), [2.0]);
    assert_eq!(scheduler.shared.state.lock().runners, 0);
    scheduler.submit(work(&[1.0; 9])).await.unwrap();
    assert_eq!(scheduler.shared.state.lock().runners, 1);
}

#[tokio::test]
async fn short_requests_that_are_ready_together_run_together() {
    let doubler = Doubler::new();
    let scheduler = doubler.scheduler(limits(8));
    for rows in [1, 2, 4] {
        scheduler.learn(rows * ROW_BYTES, Duration::from_micros(10));
    }
    // Leaders that nobody joins stop looking for others, but not for ever.
    for _ in 0..40 {
        scheduler.submit(work(&[0.5])).await.unwrap();
    }
    let alone = doubler.batches().len();
    for _ in 0..40 {
        let (one, two, three) = (work(&[1.0]), work(&[2.0]), work(&[3.0]));
        let answers = tokio::join!(
            scheduler.submit(one),
            scheduler.submit(two),
            scheduler.submit(three)
        );
        assert_eq!(
            [doubled(answers.0), doubled(answers.1), doubled(answers.2)],
            [[2.0], [4.0], [6.0]]
        );
    }
    let together = doubler.batches()[alone..]
        .iter()
        .filter(|batch| **batch == [1.0, 2.0, 3.0])
        .count();
    assert!(together > 20, "{together} of 40 times");
    assert_eq!(scheduler.shared.state.lock().runners, 0);
}

#[tokio::test]
async fn a_request_larger_than_a_batch_stays_on_its_thread_if_all_of_it_is_short() {
    let doubler = Doubler::new();
    for us in [50, 100] {
        let scheduler = doubler.scheduler(limits(4));
        scheduler.learn(4 * ROW_BYTES, Duration::from_micros(us));
        scheduler.learn(2 * ROW_BYTES, Duration::from_micros(us));
        let values: Vec<f32> = (0..10u8).map(f32::from).collect();
        let expected: Vec<f32> = values.iter().map(|value| value * 2.0).collect();
        assert_eq!(doubled(scheduler.submit(work(&values)).await), expected);
        assert_eq!(
            scheduler.shared.state.lock().runners > 0,
            us == 100,
            "three runs of {us} us"
        );
    }
}

#[tokio::test]
async fn short_requests_stay_on_their_thread_however_many_they_are() {
    let doubler = Doubler::new();
    let scheduler = doubler.scheduler(limits(1));
    scheduler.learn(ROW_BYTES, Duration::from_micros(10));
    let ask = |at: u16| {
        let scheduler = scheduler.clone();
        tokio::spawn(async move { scheduler.submit(work(&[f32::from(at)])).await })
    };
    let answers: Vec<_> = (0..1000).map(ask).collect();
    for (at, answer) in (0u16..).zip(answers) {
        assert_eq!(doubled(answer.await.unwrap()), [2.0 * f32::from(at)]);
    }
    // Together they took the thread for far longer than any of them may.
    assert_eq!(scheduler.shared.state.lock().runners, 0);
}

#[tokio::test]
async fn a_leader_is_answered_before_all_that_it_leads() {
    let doubler = Doubler::new();
    let scheduler = doubler.scheduler(limits(1));
    scheduler.learn(ROW_BYTES, Duration::from_micros(10));
    let mut leader = Box::pin(scheduler.submit(work(&[0.5])));
    assert!(futures_poll(leader.as_mut()).is_none());
    let mut others: Vec<_> = (0..1000)
        .map(|_| Box::pin(scheduler.submit(work(&[1.0]))))
        .collect();
    for other in &mut others {
        assert!(futures_poll(other.as_mut()).is_none());
    }
    assert_eq!(
        doubled(futures_poll(leader.as_mut()).expect("its run was the first")),
        [1.0]
    );
    for other in others {
        assert_eq!(doubled(other.await), [2.0]);
    }
    assert_eq!(scheduler.shared.state.lock().runners, 0);
}

#[tokio::test]
async fn a_short_request_without_an_instance_waits_in_the_queue_before_long() {
    let (doubler, gate) = Doubler::gated();
    let scheduler = doubler.scheduler(limits(8));
    let first = occupy(&scheduler, &doubler).await;
    scheduler.learn(ROW_BYTES, Duration::from_micros(10));
    let short = submit(&scheduler, work(&[1.0])).await;
    gate.send(()).unwrap();
    gate.send(()).unwrap();
    first.await.unwrap().unwrap();
    assert_eq!(doubled(short.await.unwrap()), [2.0]);
}

#[tokio::test]
async fn others_are_answered_when_their_leader_hangs_up() {
    let doubler = Doubler::new();
    let scheduler = doubler.scheduler(limits(8));
    scheduler.learn(ROW_BYTES, Duration::from_micros(10));
    let mut leader = Box::pin(scheduler.submit(work(&[1.0])));
    assert!(futures_poll(leader.as_mut()).is_none());
    let mut other = Box::pin(scheduler.submit(work(&[2.0])));
    assert!(futures_poll(other.as_mut()).is_none());
    drop(leader);
    assert_eq!(doubled(other.await), [4.0]);
    assert_eq!(doubler.batches(), [[2.0]]);
}

#[tokio::test]
async fn dropping_the_scheduler_answers_what_waits() {
    let (doubler, gate) = Doubler::gated();
    let scheduler = doubler.scheduler(limits(1));
    let first = occupy(&scheduler, &doubler).await;
    let queued = {
        let mut queued =
            Box::pin(async { scheduler.enqueue(work(&[7.0])).unwrap().answer().await });
        assert!(futures_poll(queued.as_mut()).is_none());
        queued
    };
    scheduler.shared.state.lock().closed = true;
    gate.send(()).unwrap();
    gate.send(()).unwrap();
    assert_eq!(doubled(queued.await), [14.0]);
    first.await.unwrap().unwrap();
}

/// Polls once.
fn futures_poll<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Option<T> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.poll(&mut context) {
        std::task::Poll::Ready(value) => Some(value),
        std::task::Poll::Pending => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the sizes, the limits, the order and the requests given up: each answer is its own
    /// request's.
    #[test]
    fn any_interleaving_gives_each_exactly_its_rows(
        sizes in prop::collection::vec((1usize..9, 0usize..3, prop::bool::weighted(0.15)), 1..40),
        most in 1usize..7,
        short in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let doubler = Doubler::new();
            let scheduler = doubler.scheduler(limits(most));
            if short {
                (1..9).for_each(|rows| scheduler.learn(rows * ROW_BYTES, Duration::from_nanos(1)));
            }
            let mut tasks = Vec::new();
            for (request, (rows, level, given_up)) in sizes.into_iter().enumerate() {
                let values: Vec<f32> = (0..rows).map(|row| (request * 10 + row) as f32).collect();
                let scheduler = scheduler.clone();
                let task = tokio::spawn(async move {
                    let answer = scheduler.submit(Work { level, ..work(&values) }).await;
                    (values, doubled(answer))
                });
                if given_up {
                    task.abort();
                } else {
                    tasks.push(task);
                }
            }
            for task in tasks {
                let (values, answer) = task.await.unwrap();
                assert_eq!(answer, values.iter().map(|value| value * 2.0).collect::<Vec<_>>());
            }
            assert!(doubler.batches().iter().all(|batch| batch.len() <= most));
        });
    }
}

#[test]
fn an_instance_waits_for_the_clients_of_its_last_batch_only_where_their_rows_pay() {
    let scheduler = Doubler::new().scheduler(limits(64));
    let mut queue = Queue::new(1);
    let ended = Instant::now();
    let returning = |queue: &Queue, rows| scheduler.shared.returning(queue, Some((ended, rows)));
    assert_eq!(returning(&queue, 16), None, "nobody waits");
    let mut answers = Vec::new();
    let mut push = |queue: &mut Queue| {
        let (job, answer) = queue::Job::new(work(&[1.0]));
        queue.push(job);
        answers.push(answer);
    };
    push(&mut queue);
    assert_eq!(returning(&queue, 16), None, "nothing is known of the run");
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
        scheduler.learn(rows * ROW_BYTES, Duration::from_micros(us));
    }
    assert_eq!(
        returning(&queue, 16),
        Some((ended + Duration::from_micros(200), 16)),
        "an eighth of the run"
    );
    assert_eq!(
        returning(&queue, 64),
        Some((ended + RETURN_AT_MOST, 16)),
        "more rows get no cheaper"
    );
    assert_eq!(returning(&queue, 7), None, "too few to wait for");
    assert_eq!(
        scheduler.shared.returning(&queue, None),
        None,
        "no batch has ended yet"
    );
    (1..16).for_each(|_| push(&mut queue));
    assert_eq!(returning(&queue, 16), None, "they are there");
}
