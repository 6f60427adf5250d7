//! Which requests are refused, and when.

use super::*;

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
async fn a_client_that_disconnects_frees_its_place_in_the_queue() {
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
async fn a_request_that_cannot_be_in_time_is_refused_on_arrival() {
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
async fn a_request_of_more_batches_than_the_queue_has_places_is_answered_in_order() {
    let doubler = Doubler::new();
    let scheduler = doubler.scheduler(Limits {
        max_queue_requests: 3,
        // Everything goes through the queue.
        inline_run: Duration::ZERO,
        ..limits(2)
    });
    let rows: Vec<f32> = (0..5001u16).map(f32::from).collect();
    let answer = doubled(scheduler.submit(work(&rows)).await);
    assert_eq!(answer, rows.iter().map(|row| row * 2.0).collect::<Vec<_>>());
    assert_eq!(scheduler.queued(), 0);
}

#[tokio::test]
async fn rows_without_elements_are_bounded_before_memory_is_taken() {
    let doubler = Doubler::new();
    let scheduler = doubler.scheduler(Limits {
        max_queue_requests: 3,
        ..limits(2)
    });
    // A row without elements takes no bytes of the body.
    let rows = 1 << 58;
    let empty = Tensor::from_vec(Shape::new(&[rows, 0]).unwrap(), Vec::<f32>::new()).unwrap();
    let refused = scheduler
        .submit(Work {
            inputs: vec![Some(empty)],
            rows,
            deadline: None,
            level: 0,
            runs_alone: false,
            share: TenantShare::default(),
        })
        .await;
    assert_eq!(refused.unwrap_err().code, ErrorCode::ShapeOverflow);
}

#[test]
fn a_deadline_shorter_than_an_idle_run_is_the_clients_mistake() {
    let scheduler = Doubler::new().scheduler(limits(8));
    // As warm-up measured it.
    scheduler.learn(4, Duration::from_millis(5));
    let now = Instant::now();
    let code = |allowed: Option<Duration>, error: ErrorCode| {
        let mut work = work(&[1.0]);
        work.deadline = allowed.map(|allowed| now + allowed);
        let allowed = AllowedTime::of(&work, now);
        let error = InferError::new(error, "x");
        scheduler.explain_deadline(error, allowed).code
    };
    use ErrorCode::{DeadlineExceeded, DeadlineTooShort, QueueFull};
    let short = Some(Duration::from_micros(1));
    assert_eq!(code(short, DeadlineExceeded), DeadlineTooShort);
    assert_eq!(code(short, QueueFull), QueueFull);
    let enough = Some(Duration::from_millis(6));
    assert_eq!(code(enough, DeadlineExceeded), DeadlineExceeded);
    assert_eq!(code(None, DeadlineExceeded), DeadlineExceeded);
}
