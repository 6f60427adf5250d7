use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::*;
use crate::client::{Alert, Event, Objective};
use crate::commands::top::history::Unreachable;
use crate::commands::top::view::Endpoint;

/// The screen as lines of text.
fn screen(view: &View, state: &State, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, view, state)).unwrap();
    let buffer = terminal.backend().buffer();
    let line = |y| {
        (0..width)
            .map(|x| buffer[(x, y)].symbol())
            .collect::<String>()
            .trim_end()
            .to_owned()
    };
    (0..height).map(line).collect()
}

fn has(lines: &[String], text: &str) -> bool {
    lines.iter().any(|line| line.contains(text))
}

fn pressed(view: &View, codes: &[KeyCode]) -> State {
    let mut state = State::default();
    for code in codes {
        state.key(KeyEvent::new(*code, KeyModifiers::NONE), view);
    }
    state
}

fn view() -> View {
    let version = Endpoint {
        version: "7".to_owned(),
        aliases: vec!["champion".to_owned()],
        ..endpoint("fraud", 12.34)
    };
    let fraud = Endpoint {
        failing: 0.5,
        p50_ms: Some(1.25),
        p95_ms: Some(4.0),
        p99_ms: Some(9.9),
        waiting: 3.0,
        batch: Some(2.5),
        memory_bytes: Some(12_000_000),
        reasons: vec![("queue_full".to_owned(), 30.0)],
        versions: vec![version],
        ..endpoint("fraud", 12.34)
    };
    let header = Header {
        version: "0.1.0".to_owned(),
        state: "degraded",
        problems: vec![
            "the registry cannot be read: gone".to_owned(),
            "another".to_owned(),
        ],
        up_s: Some(3725.0),
        processors: 1.5,
        memory_bytes: 250e6,
        memory_left_bytes: Some(3e9),
        connections: 8.0,
        rate: 340.0,
        ..Header::default()
    };
    View {
        server: "http://a:8000".to_owned(),
        unreachable: None,
        header: Some(header),
        endpoints: vec![endpoint("digits", 0.0), fraud],
        objectives: vec![objective()],
        alerts: vec![alert()],
        events: vec![event()],
    }
}

fn endpoint(model: &str, rate: f64) -> Endpoint {
    Endpoint {
        model: model.to_owned(),
        state: "ready".to_owned(),
        rate,
        ..Endpoint::default()
    }
}

fn objective() -> Objective {
    let text = r#"{"name": "fraud-fast", "endpoint": "fraud", "sli": "latency", "threshold_ms": 51.2, "target": 0.99,
        "window": "30d", "good": 99, "total": 100, "budget_remaining": 0.42, "burn_rates": {"1h": 2.5}, "alerts": []}"#;
    serde_json::from_str(text).unwrap()
}

fn alert() -> Alert {
    let text = r#"{"key": "k", "name": "TidegateOverload", "severity": "page", "state": "firing", "since_ms": 5,
        "labels": {"endpoint": "fraud"}, "annotations": {"summary": "too much\u001b[2J"}}"#;
    serde_json::from_str(text).unwrap()
}

fn event() -> Event {
    serde_json::from_str(
        r#"{"at_ms": 1700000000000, "name": "version.ready", "model": "fraud", "version": "7"}"#,
    )
    .unwrap()
}

#[test]
fn the_list_shows_the_whole_server() {
    let view = view();
    let lines = screen(&view, &State::default(), 120, 24);
    assert_eq!(lines[0], "http://a:8000  degraded  version 0.1.0  up 1h 2m");
    assert_eq!(
        lines[1],
        "340 requests/s  1.50 processors  250 MB (3.0 GB left)  8 connections"
    );
    assert_eq!(lines[2], "the registry cannot be read: gone (and 1 more)");
    let fraud = lines.iter().find(|line| line.contains("fraud ")).unwrap();
    let figures: Vec<&str> = fraud.trim_matches('│').split_whitespace().collect();
    assert_eq!(
        figures,
        [
            "fraud", "ready", "12.3", "0.5", "1.2", "4.0", "9.9", "3.0", "2.5"
        ]
    );
    assert!(has(&lines, "fraud-fast 42.0% left, burn rate 2.5"));
    assert!(
        has(&lines, "page firing TidegateOverload too much\\u{1b}[2J"),
        "{lines:#?}"
    );
    assert!(lines[23].starts_with("q quit") && lines[23].contains("sort: name"));
}

#[test]
fn the_detail_shows_one_endpoint() {
    let view = view();
    let lines = screen(
        &view,
        &pressed(&view, &[KeyCode::Down, KeyCode::Enter]),
        120,
        24,
    );
    for text in [
        " fraud ",
        "7 champion",
        "memory 12 MB",
        "30.0 requests failed in the last minute: queue_full",
        "fraud-fast 42.0%",
        "TidegateOverload",
        "2023-11-14T22:13:20Z  version.ready 7",
    ] {
        assert!(has(&lines, text), "{text}: {lines:#?}");
    }
    assert!(!has(&lines, "digits"));
    let lines = screen(&view, &pressed(&view, &[KeyCode::Enter]), 120, 24);
    assert!(
        has(&lines, " digits ") && !has(&lines, "TidegateOverload"),
        "another endpoint's alerts are not shown"
    );
}

#[test]
fn the_help_names_every_column() {
    let view = view();
    let lines = screen(&view, &pressed(&view, &[KeyCode::Char('?')]), 120, 24);
    for text in [
        "REQ/S, ERR/S",
        "P50, P95, P99",
        "QUEUE",
        "BATCH",
        "sort by name",
    ] {
        assert!(has(&lines, text), "{text}: {lines:#?}");
    }
}

#[test]
fn an_unreachable_server_is_shown_with_its_last_data() {
    let unreachable = Some(Unreachable {
        since_ms: 1,
        why: "cannot reach http://a:8000/v2".to_owned(),
    });
    let lines = screen(
        &View {
            unreachable: unreachable.clone(),
            ..view()
        },
        &State::default(),
        120,
        24,
    );
    assert!(
        has(
            &lines,
            "does not respond: cannot reach http://a:8000/v2; showing the last data"
        ) && has(&lines, "fraud ")
    );
    let never = View {
        unreachable,
        server: "http://a:8000".to_owned(),
        ..View::default()
    };
    assert!(has(
        &screen(&never, &State::default(), 80, 10),
        "does not respond: cannot reach"
    ));
    assert!(has(
        &screen(&View::default(), &State::default(), 80, 10),
        "connecting…"
    ));
}

#[test]
fn no_size_is_too_small() {
    let view = view();
    for (width, height) in [(1, 1), (10, 3), (20, 5), (40, 8), (300, 100)] {
        for keys in [&[][..], &[KeyCode::Enter][..], &[KeyCode::Char('?')][..]] {
            screen(&view, &pressed(&view, keys), width, height);
        }
    }
}

#[test]
fn a_thousand_endpoints_scroll_to_the_chosen_one() {
    let endpoints = (0..1000)
        .map(|at| endpoint(&format!("model-{at:03}"), 0.0))
        .collect();
    let view = View {
        endpoints,
        ..view()
    };
    let lines = screen(&view, &pressed(&view, &[KeyCode::End]), 120, 24);
    assert!(
        has(&lines, "model-999") && !has(&lines, "model-000"),
        "{lines:#?}"
    );
}
