//! The generator against a small server whose behaviour the tests control.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use tidegate_load::{
    Arrival, Arrivals, FailureKind, Mix, Pattern, Payload, Plan, Protocol, Run, Target,
};
use tokio::net::TcpListener;
use tokio::sync::watch;

const BODY: &[u8] = br#"{"rows": [1, 2, 3]}"#;

/// Serves until dropped.
struct Server {
    address: SocketAddr,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Server {
    fn start(router: Router) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self {
            address,
            runtime: Some(runtime),
        }
    }

    fn plan(&self, pattern: Pattern) -> Plan {
        let target = Target::new(Protocol::RestJson, &self.address.to_string(), &[]).unwrap();
        let payload = Payload::raw(&target, "/", Some(BODY));
        Plan {
            mix: Mix::default().with("raw", 1.0, vec![payload]),
            target,
            pattern,
            duration: None,
            requests: None,
            warmup: Duration::ZERO,
            timeout: Duration::from_secs(30),
            deadline: None,
            threads: 2,
            connections: 2,
            max_outstanding: 1000,
            seed: 1,
        }
    }

    fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run(plan: &Plan) -> Run {
    let mut runs = tidegate_load::run(plan, &AtomicBool::new(false), &mut |_| {}).unwrap();
    assert_eq!(runs.len(), 1);
    runs.remove(0)
}

fn rate(rate: f64) -> Pattern {
    Pattern::Open(Arrivals::Rates {
        rates: vec![rate],
        arrival: Arrival::Constant,
    })
}

/// Answers of many kinds in turn, by the number of the request.
async fn in_turn(State(count): State<Arc<AtomicU64>>, body: Bytes) -> Response {
    assert_eq!(body, BODY);
    match count.fetch_add(1, Ordering::SeqCst) % 6 {
        0 => (
            StatusCode::TOO_MANY_REQUESTS,
            r#"{"error": "full", "code": "queue_full"}"#,
        )
            .into_response(),
        1 => (StatusCode::BAD_REQUEST, "no JSON").into_response(),
        2 => ([(HeaderName::from_static("connection"), "close")], "bye").into_response(),
        3 => StatusCode::NO_CONTENT.into_response(),
        // A body of unknown length goes out in chunks.
        4 => Body::from_stream(Chunks(3)).into_response(),
        _ => vec![b'x'; 300_000].into_response(),
    }
}

/// So many chunks of a thousand bytes.
struct Chunks(u32);

impl futures_util::Stream for Chunks {
    type Item = Result<Bytes, std::convert::Infallible>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        let left = self.0.checked_sub(1);
        self.0 = left.unwrap_or(0);
        std::task::Poll::Ready(left.map(|_| Ok(Bytes::from_static(&[b'c'; 1000]))))
    }
}

#[test]
fn every_answer_is_counted_under_what_it_was() {
    let count = Arc::new(AtomicU64::new(0));
    let server = Server::start(
        Router::new()
            .route("/", post(in_turn))
            .with_state(count.clone()),
    );
    let plan = Plan {
        requests: Some(600),
        ..server.plan(Pattern::Closed { concurrency: 5 })
    };
    let run = run(&plan);
    assert_eq!(count.load(Ordering::SeqCst), 600);
    assert_eq!(
        (
            run.requests,
            run.answers,
            run.refusals,
            run.errors,
            run.dropped
        ),
        (600, 400, 100, 100, 0)
    );
    let failure = |status: u16| {
        run.failures
            .iter()
            .find(|failure| failure.status == Some(status))
            .unwrap()
    };
    let full = failure(429);
    assert_eq!(
        (full.kind, full.count, full.code.as_deref()),
        (FailureKind::Refused, 100, Some("queue_full"))
    );
    assert_eq!(
        (full.message.as_str(), failure(400).message.as_str()),
        ("full", "no JSON")
    );
    // Five to begin with, and one more whenever the server hung up on a client that goes on.
    assert!(
        (100..=105).contains(&run.connections_opened),
        "{}",
        run.connections_opened
    );
    assert!(
        run.bytes_received > 100 * (300_000 + 3000),
        "{}",
        run.bytes_received
    );
    assert!(run.generator.is_none() && run.send_latency_us.is_none() && run.ended_early.is_none());
}

/// A server that can hold its answers back, and notes when requests arrived meanwhile.
#[derive(Clone)]
struct Gate {
    held: watch::Sender<bool>,
    arrivals: Arc<Mutex<Vec<Instant>>>,
    hold_after: usize,
}

impl Gate {
    fn new(hold_after: usize) -> Self {
        Self {
            held: watch::Sender::new(false),
            arrivals: Arc::default(),
            hold_after,
        }
    }

    fn router(&self) -> Router {
        Router::new()
            .route("/", post(Self::answer))
            .with_state(self.clone())
    }

    async fn answer(State(gate): State<Self>) -> &'static str {
        let arrived = {
            let mut arrivals = gate.arrivals.lock().unwrap();
            arrivals.push(Instant::now());
            arrivals.len()
        };
        if arrived == gate.hold_after {
            gate.held.send_replace(true);
        }
        let _ = gate.held.subscribe().wait_for(|held| !held).await;
        "released"
    }

    /// Waits until so many requests arrived, then lets all answers go; gives when.
    fn release_after(&self, count: usize) -> Instant {
        while self.arrivals.lock().unwrap().len() < count {
            std::thread::yield_now();
        }
        let now = Instant::now();
        self.held.send_replace(false);
        now
    }
}

#[test]
fn a_stall_is_felt_by_every_request_that_was_meant_to_be_sent_in_it() {
    let gate = Gate::new(50);
    let server = Server::start(gate.router());
    let plan = Plan {
        requests: Some(300),
        ..server.plan(rate(500.0))
    };
    let (run, released) = std::thread::scope(|scope| {
        let released = scope.spawn(|| gate.release_after(200));
        (run(&plan), released.join().unwrap())
    });
    assert_eq!((run.requests, run.answers), (300, 300));
    let arrivals = gate.arrivals.lock().unwrap();
    // Nobody waited for the server: requests went on arriving while no answer came.
    let waits: Vec<Duration> = arrivals[49..]
        .iter()
        .map(|at| released.saturating_duration_since(*at))
        .collect();
    let stall = waits[0];
    let long = waits.iter().filter(|wait| **wait >= stall / 2).count();
    assert!(
        long > 30,
        "{long} requests arrived in the first half of a stall of {stall:?}"
    );
    // The shortest of so many of the longest latencies. Values are kept with three digits.
    let share = 1.0 - (long as f64 - 1.0) / 300.0;
    let reached = run.quantile_us(share).unwrap();
    assert!(
        reached >= stall.as_micros() as f64 / 2.0 * 0.998,
        "{reached} us, the stall took {stall:?}"
    );
    assert!(run.latency_us.unwrap().max >= stall.as_micros() as f64 * 0.998);
}

#[test]
fn requests_over_the_limit_are_dropped_and_those_without_an_answer_time_out() {
    let gate = Gate::new(1);
    let server = Server::start(gate.router());
    let timeout = Duration::from_secs(2);
    let run = run(&Plan {
        requests: Some(200),
        max_outstanding: 6,
        timeout,
        ..server.plan(rate(2000.0))
    });
    assert_eq!(
        (run.requests, run.answers, run.errors, run.dropped),
        (200, 0, 6, 194),
        "{:?}",
        run.failures
    );
    assert_eq!(
        (run.failures[0].kind, run.failures[0].count),
        (FailureKind::Timeout, 6)
    );
    assert_eq!(gate.arrivals.lock().unwrap().len(), 6);
    assert!(run.latency_us.is_none() && run.generator.is_some());
}

#[test]
fn a_server_that_dies_ends_the_run_and_leaves_a_report() {
    let gate = Gate::new(usize::MAX);
    let mut server = Server::start(gate.router());
    let plan = Plan {
        requests: Some(10_000_000),
        timeout: Duration::from_millis(300),
        ..server.plan(Pattern::Closed { concurrency: 4 })
    };
    let run = std::thread::scope(|scope| {
        scope.spawn(|| {
            gate.release_after(100);
            server.stop();
        });
        run(&plan)
    });
    assert!(run.answers >= 90, "{}", run.answers);
    assert!(
        run.ended_early
            .as_ref()
            .is_some_and(|reason| reason.contains("no connection")),
        "{:?}",
        run.ended_early
    );
    assert!(
        run.failures
            .iter()
            .any(|failure| failure.kind == FailureKind::Connect),
        "{:?}",
        run.failures
    );
    assert_eq!(run.requests, run.answers + run.errors);
}

#[test]
fn steps_are_reported_on_their_own_and_warming_up_is_left_out() {
    let count = Arc::new(AtomicU64::new(0));
    let counted = count.clone();
    let answer = move || async move {
        counted.fetch_add(1, Ordering::SeqCst);
    };
    let server = Server::start(Router::new().route("/", post(answer)));
    let rates = Arrivals::Rates {
        rates: vec![100.0, 300.0],
        arrival: Arrival::Constant,
    };
    let plan = Plan {
        duration: Some(Duration::from_millis(500)),
        warmup: Duration::from_millis(200),
        ..server.plan(Pattern::Open(rates))
    };
    let mut seen = 0;
    let runs = tidegate_load::run(&plan, &AtomicBool::new(false), &mut |_| seen += 1).unwrap();
    let requests: Vec<u64> = runs.iter().map(|run| run.requests).collect();
    assert_eq!(requests, [50, 150]);
    assert_eq!(count.load(Ordering::SeqCst), 20 + 50 + 150);
    assert_eq!(
        runs.iter()
            .map(|run| run.label.as_str())
            .collect::<Vec<_>>(),
        ["rate=100", "rate=300"]
    );
    assert!(runs.iter().all(|run| !run.timeline.is_empty()), "{runs:?}");
    assert!(seen >= 1);
}
