//! Tenants take turns, and none of them fills the queue.

use super::*;

fn work_of(tenant: &str, value: f32) -> Work {
    Work {
        share: TenantShare::new(tenant, 1),
        ..work(&[value])
    }
}

#[tokio::test]
async fn a_tenant_with_many_requests_does_not_hold_up_another() {
    let (doubler, gate) = Doubler::gated();
    let scheduler = doubler.scheduler(limits(1));
    let mut tasks = vec![occupy(&scheduler, &doubler).await];
    for value in 1..=4u8 {
        tasks.push(submit(&scheduler, work_of("busy", f32::from(value))).await);
    }
    tasks.push(submit(&scheduler, work_of("quiet", 100.0)).await);
    for _ in 0..6 {
        gate.send(()).unwrap();
    }
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(
        doubler.batches(),
        [[0.0], [1.0], [100.0], [2.0], [3.0], [4.0]]
    );
}

#[tokio::test]
async fn a_full_queue_takes_a_tenant_below_its_share_in_place_of_one_above_it() {
    let (doubler, gate) = Doubler::gated();
    let scheduler = doubler.scheduler(Limits {
        max_queue_requests: 3,
        ..limits(1)
    });
    let first = occupy(&scheduler, &doubler).await;
    let mut busy = Vec::new();
    for value in [1.0, 2.0, 3.0] {
        busy.push(submit(&scheduler, work_of("busy", value)).await);
    }
    let refused = scheduler.submit(work_of("busy", 4.0)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::QueueFull);
    let quiet = tokio::spawn({
        let scheduler = scheduler.clone();
        async move { scheduler.submit(work_of("quiet", 100.0)).await }
    });
    // The latest request of the tenant that is most above its share.
    let displaced = busy.pop().unwrap().await.unwrap().unwrap_err();
    assert_eq!(displaced.code, ErrorCode::QueueFull);
    assert!(displaced.message.contains("share"), "{displaced}");
    assert_eq!(scheduler.queued(), 3);
    for _ in 0..4 {
        gate.send(()).unwrap();
    }
    assert_eq!(doubled(quiet.await.unwrap()), [200.0]);
    for task in busy.into_iter().chain([first]) {
        task.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_newcomer_that_cannot_be_in_time_displaces_nobody() {
    let (doubler, gate) = Doubler::gated();
    let scheduler = doubler.scheduler(Limits {
        max_queue_requests: 2,
        ..limits(1)
    });
    scheduler.learn(ROW_BYTES, Duration::from_secs(3));
    let mut tasks = vec![occupy(&scheduler, &doubler).await];
    for value in [1.0, 2.0] {
        tasks.push(submit(&scheduler, work_of("busy", value)).await);
    }
    let late = Work {
        deadline: Some(Instant::now() + Duration::from_secs(1)),
        ..work_of("quiet", 100.0)
    };
    let refused = scheduler.submit(late).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::DeadlineExceeded);
    assert_eq!(scheduler.queued(), 2);
    for _ in 0..3 {
        gate.send(()).unwrap();
    }
    for task in tasks {
        task.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_displaced_part_of_a_large_request_waits_again() {
    let (doubler, gate) = Doubler::gated();
    let scheduler = doubler.scheduler(Limits {
        max_queue_requests: 2,
        ..limits(1)
    });
    let first = occupy(&scheduler, &doubler).await;
    let large = Work {
        share: TenantShare::new("busy", 1),
        ..work(&[1.0, 2.0, 3.0])
    };
    let large = tokio::spawn({
        let scheduler = scheduler.clone();
        async move { scheduler.submit(large).await }
    });
    while scheduler.queued() < 2 {
        tokio::task::yield_now().await;
    }
    let mut quiet = std::pin::pin!(scheduler.submit(work_of("quiet", 100.0)));
    assert!(poll_once(quiet.as_mut()).is_none());
    for _ in 0..5 {
        gate.send(()).unwrap();
    }
    first.await.unwrap().unwrap();
    assert_eq!(doubled(quiet.await), [200.0]);
    assert_eq!(doubled(large.await.unwrap()), [2.0, 4.0, 6.0]);
    let mut ran = doubler.batches().concat();
    ran.sort_by(f32::total_cmp);
    assert_eq!(ran, [0.0, 1.0, 2.0, 3.0, 100.0], "each part ran once");
}

#[tokio::test]
async fn a_request_of_a_higher_priority_is_not_displaced() {
    let (doubler, gate) = Doubler::gated();
    let scheduler = doubler.scheduler(Limits {
        max_queue_requests: 2,
        ..limits(1)
    });
    let mut tasks = vec![occupy(&scheduler, &doubler).await];
    for value in [1.0, 2.0] {
        let urgent = Work {
            level: 0,
            ..work_of("busy", value)
        };
        tasks.push(submit(&scheduler, urgent).await);
    }
    let refused = scheduler.submit(work_of("quiet", 100.0)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::QueueFull);
    for _ in 0..3 {
        gate.send(()).unwrap();
    }
    for task in tasks {
        task.await.unwrap().unwrap();
    }
}
