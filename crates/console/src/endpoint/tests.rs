use super::*;

const NOW: u64 = 1_800_000_000_000;

fn version(number: u64, answered: u64) -> VersionTraffic {
    let traffic = Traffic {
        answered,
        ..Traffic::default()
    };
    VersionTraffic {
        version: number.to_string(),
        state: None,
        is_default: false,
        aliases: Vec::new(),
        queued: 0,
        points: vec![Point {
            at_ms: NOW - 60_000,
            traffic,
        }],
    }
}

fn endpoint(versions: Vec<VersionTraffic>) -> Endpoint {
    Endpoint {
        name: "<i>".to_owned(),
        range: Range::Hour,
        step_ms: 60_000,
        started_ms: 0,
        now_ms: NOW,
        tone: Tone::Good,
        state: "ready".to_owned(),
        queued: 0,
        points: Vec::new(),
        versions,
        events: Vec::new(),
        alerts: Vec::new(),
        objectives: Vec::new(),
    }
}

#[test]
fn the_busiest_versions_are_lines_and_the_rest_is_one() {
    let endpoint = endpoint((1..=9).map(|number| version(number, number * 60)).collect());
    let timeline = Timeline::new(Range::Hour.ms(), 60_000, 0, NOW);
    let lines = endpoint.by_version(&timeline);
    let names: Vec<&str> = lines.iter().map(|line| line.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "version 4",
            "version 5",
            "version 6",
            "version 7",
            "version 8",
            "version 9",
            "3 others"
        ]
    );
    let most = lines[6]
        .values
        .iter()
        .filter_map(|value| value.1)
        .fold(0.0, f64::max);
    assert_eq!(most, 6.0, "1 + 2 + 3 a second");
}

#[test]
fn the_page_is_whole_without_anything_to_show_and_escapes_the_name() {
    let frame = crate::Frame {
        version: "1",
        state: "ready",
        tone: Tone::Good,
        firing: 0,
        now_ms: NOW,
        user: None,
    };
    let page = endpoint(Vec::new()).page().render(&frame);
    assert!(
        page.contains("&lt;i&gt;")
            && !page.contains("<i>")
            && page.contains("/console/endpoints/%3Ci%3E?range=6h")
    );
    assert_eq!(page.matches("<figure").count(), 6);
}
