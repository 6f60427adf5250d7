//! What waits runs in batches, in order of urgency.

use proptest::prelude::*;

use super::*;

#[tokio::test]
async fn waiting_requests_run_together_and_each_gets_its_own_rows() {
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
async fn requests_of_different_row_shapes_do_not_share_a_run() {
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
async fn with_a_delay_a_preferred_size_runs_at_once_and_fewer_rows_wait() {
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
async fn closing_the_scheduler_runs_what_waits() {
    let (doubler, gate) = Doubler::gated();
    let scheduler = doubler.scheduler(limits(1));
    let first = occupy(&scheduler, &doubler).await;
    let queued = {
        let mut queued =
            Box::pin(async { scheduler.enqueue(work(&[7.0])).unwrap().outcome().await });
        assert!(poll_once(queued.as_mut()).is_none());
        queued
    };
    scheduler.pool.close();
    gate.send(()).unwrap();
    gate.send(()).unwrap();
    assert_eq!(doubled(queued.await), [14.0]);
    first.await.unwrap().unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the sizes, the limits, the order and the requests given up: each answer is its own
    /// request's.
    #[test]
    fn every_request_gets_exactly_its_own_rows_in_any_interleaving(
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
