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

/// A large request of a tenant that is busy.
fn large(values: &[f32]) -> Work {
    Work {
        share: TenantShare::new("busy", 1),
        ..work(values)
    }
}

#[tokio::test]
async fn a_displaced_part_of_a_short_large_request_waits_again() {
    let doubler = Doubler::new();
    let scheduler = doubler.scheduler(Limits {
        max_queue_requests: 2,
        ..limits(1)
    });
    scheduler.learn(ROW_BYTES, Duration::from_micros(10));
    let mut leader = Box::pin(scheduler.submit(work_of("busy", 0.0)));
    let mut large = Box::pin(scheduler.submit(large(&[1.0, 2.0, 3.0])));
    let mut quiet = Box::pin(scheduler.submit(work_of("quiet", 100.0)));
    assert!(poll_once(leader.as_mut()).is_none());
    assert!(poll_once(large.as_mut()).is_none());
    assert!(poll_once(quiet.as_mut()).is_none());
    assert_eq!(doubled(leader.await), [0.0]);
    assert_eq!(doubled(quiet.await), [200.0]);
    assert_eq!(doubler.batches(), [[0.0], [100.0]], "the part gave way");
    assert_eq!(doubled(large.await), [2.0, 4.0, 6.0]);
}

#[tokio::test]
async fn a_request_that_is_refused_after_a_part_of_it_has_run_says_so() {
    let (doubler, gate) = Doubler::gated();
    let scheduler = doubler.scheduler(Limits {
        max_queue_requests: 2,
        ..limits(1)
    });
    // Requests of runs that were short lately would not wait in the queue.
    scheduler.learn(ROW_BYTES, Duration::from_secs(3));
    let first = occupy(&scheduler, &doubler).await;
    let mut large = Box::pin(scheduler.submit(large(&[1.0, 2.0, 3.0])));
    assert!(poll_once(large.as_mut()).is_none());
    // The second part gives way.
    let mut others = vec![Box::pin(scheduler.submit(work_of("a", 10.0)))];
    assert!(poll_once(others[0].as_mut()).is_none());
    for ran in [2, 3] {
        gate.send(()).unwrap();
        doubler.begun(ran).await;
    }
    for tenant in ["b", "c"] {
        let mut other = Box::pin(scheduler.submit(work_of(tenant, 20.0)));
        assert!(poll_once(other.as_mut()).is_none());
        others.push(other);
    }
    let unrun = scheduler.submit(work_of("d", 30.0)).await.unwrap_err();
    assert_eq!((unrun.code, unrun.has_run), (ErrorCode::QueueFull, false));
    let refused = large.await.unwrap_err();
    assert_eq!(
        (refused.code, refused.has_run),
        (ErrorCode::QueueFull, true)
    );
    for _ in 0..3 {
        gate.send(()).unwrap();
    }
    for other in others {
        other.await.unwrap();
    }
    first.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_deadline_that_passes_in_the_queue_is_no_run() {
    let (doubler, gate) = Doubler::gated();
    let scheduler = doubler.scheduler(limits(1));
    let soon = |value| Work {
        deadline: Some(Instant::now() + Duration::from_millis(20)),
        ..work(&[value])
    };
    let late = scheduler.submit(soon(1.0)).await.unwrap_err();
    assert_eq!(
        (late.code, late.has_run),
        (ErrorCode::DeadlineExceeded, true)
    );
    let late = scheduler.submit(soon(2.0)).await.unwrap_err();
    assert_eq!(
        (late.code, late.has_run),
        (ErrorCode::DeadlineExceeded, false)
    );
    gate.send(()).unwrap();
}

#[tokio::test]
async fn a_failed_run_is_a_run() {
    let scheduler = Doubler::new().scheduler(limits(1));
    let failed = scheduler.submit(work(&[BAD])).await.unwrap_err();
    assert_eq!(
        (failed.code, failed.has_run),
        (ErrorCode::ExecutionFailed, true)
    );
}

#[tokio::test]
async fn a_tenant_that_calls_all_its_requests_urgent_shuts_nobody_out() {
    let (doubler, gate) = Doubler::gated();
    let scheduler = doubler.scheduler(Limits {
        max_queue_requests: 4,
        ..limits(1)
    });
    let urgent = |tenant, value| Work {
        level: 0,
        ..work_of(tenant, value)
    };
    let first = occupy(&scheduler, &doubler).await;
    let mut busy = Vec::new();
    for value in [1.0, 2.0, 3.0, 4.0] {
        busy.push(submit(&scheduler, urgent("busy", value)).await);
    }
    let mut quiet = Vec::new();
    for value in [101.0, 102.0] {
        let mut request = Box::pin(scheduler.submit(work_of("quiet", value)));
        assert!(poll_once(request.as_mut()).is_none(), "it waits");
        quiet.push(request);
        let displaced = busy.pop().unwrap().await.unwrap().unwrap_err();
        assert_eq!(displaced.code, ErrorCode::QueueFull);
    }
    // Half of the places are the share of each.
    let refused = scheduler.submit(work_of("quiet", 103.0)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::QueueFull);
    for _ in 0..5 {
        gate.send(()).unwrap();
    }
    for task in busy.into_iter().chain([first]) {
        task.await.unwrap().unwrap();
    }
    for (request, value) in quiet.into_iter().zip([202.0, 204.0]) {
        assert_eq!(doubled(request.await), [value]);
    }
}
