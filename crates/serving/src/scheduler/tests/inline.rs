//! Short runs on the thread that brought the requests.

use super::*;

#[tokio::test]
async fn a_short_run_stays_on_the_thread_of_its_connection() {
    let doubler = Doubler::new();
    let scheduler = doubler.scheduler(limits(8));
    scheduler.learn(ROW_BYTES, Duration::from_micros(10));
    assert_eq!(doubled(scheduler.submit(work(&[1.0])).await), [2.0]);
    assert_eq!(scheduler.pool.runners(), 0);
    scheduler.submit(work(&[1.0; 9])).await.unwrap();
    assert_eq!(scheduler.pool.runners(), 1);
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
    assert_eq!(scheduler.pool.runners(), 0);
}

#[tokio::test]
async fn all_parts_of_a_large_request_stay_on_its_thread_if_they_are_short() {
    let doubler = Doubler::new();
    for us in [50, 100] {
        let scheduler = doubler.scheduler(limits(4));
        scheduler.learn(4 * ROW_BYTES, Duration::from_micros(us));
        scheduler.learn(2 * ROW_BYTES, Duration::from_micros(us));
        let values: Vec<f32> = (0..10u8).map(f32::from).collect();
        let expected: Vec<f32> = values.iter().map(|value| value * 2.0).collect();
        assert_eq!(doubled(scheduler.submit(work(&values)).await), expected);
        assert_eq!(
            scheduler.pool.runners() > 0,
            us == 100,
            "three runs of {us} us"
        );
    }
}

#[tokio::test]
async fn any_number_of_short_requests_stays_on_its_thread() {
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
    assert_eq!(scheduler.pool.runners(), 0);
}

#[tokio::test]
async fn a_leader_is_answered_before_the_requests_that_it_leads() {
    let doubler = Doubler::new();
    let scheduler = doubler.scheduler(limits(1));
    scheduler.learn(ROW_BYTES, Duration::from_micros(10));
    let mut leader = Box::pin(scheduler.submit(work(&[0.5])));
    assert!(poll_once(leader.as_mut()).is_none());
    let mut others: Vec<_> = (0..1000)
        .map(|_| Box::pin(scheduler.submit(work(&[1.0]))))
        .collect();
    for other in &mut others {
        assert!(poll_once(other.as_mut()).is_none());
    }
    assert_eq!(
        doubled(poll_once(leader.as_mut()).expect("its run was the first")),
        [1.0]
    );
    for other in others {
        assert_eq!(doubled(other.await), [2.0]);
    }
    assert_eq!(scheduler.pool.runners(), 0);
}

#[tokio::test]
async fn a_short_request_without_an_idle_instance_moves_to_the_queue() {
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
    assert!(poll_once(leader.as_mut()).is_none());
    let mut other = Box::pin(scheduler.submit(work(&[2.0])));
    assert!(poll_once(other.as_mut()).is_none());
    drop(leader);
    assert_eq!(doubled(other.await), [4.0]);
    assert_eq!(doubler.batches(), [[2.0]]);
}
