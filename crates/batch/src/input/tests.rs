#![allow(clippy::unwrap_used, reason = "these are tests")]

use super::*;

#[test]
fn row_groups_become_units_that_cover_every_row_once() {
    let ranges = ranges_of_groups(&[10, 10, 0, 50, 3], 20);
    let parts: Vec<_> = ranges
        .iter()
        .map(|range| (range.first_row, range.rows, range.part))
        .collect();
    assert_eq!(
        parts,
        [
            (0, 20, Part::Groups(0, 2)),
            (20, 50, Part::Groups(2, 4)),
            (70, 3, Part::Groups(4, 5)),
        ]
    );
    assert!(ranges_of_groups(&[0, 0], 20).is_empty());
}
