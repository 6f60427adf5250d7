//! What counts against availability is what the reference of errors says.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::collections::BTreeSet;
use std::fs;

use tidegate_observe::SERVER_FAULTS;

#[test]
fn faults_of_the_server_are_statuses_from_500_and_a_full_queue() {
    let page = fs::read_to_string(support::root().join("docs/reference/errors.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let codes: Vec<(&str, u16)> = rows
        .map(|row| {
            let mut cells = row.split('|').map(|cell| cell.trim().trim_end_matches('`'));
            (
                cells.next().unwrap(),
                cells.next().unwrap().parse().unwrap(),
            )
        })
        .collect();
    assert!(codes.len() > 20, "{codes:?}");
    let faults = codes
        .into_iter()
        .filter(|&(code, status)| status >= 500 || code == "queue_full");
    assert_eq!(
        faults.map(|(code, _)| code).collect::<BTreeSet<_>>(),
        SERVER_FAULTS.into()
    );
}
