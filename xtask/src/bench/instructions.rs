//! Where the instructions of a request go: what callgrind counts in a server, by the part of the
//! way that it belongs to.
//!
//! A count of instructions is the same on a busy machine, and says which part to look at next. It
//! is no time: callgrind does not see the kernel, and a miss of the cache costs a count of one.

mod counted;
mod part;
mod profile;
mod shares;

use anyhow::{Result, ensure};

use self::counted::Counted;
use self::part::Part;
use self::shares::Shares;
use super::Effort;
use super::http::Case;
use super::report::{Cell, Section};
use crate::root;

const CASES: [Case; 3] = [
    Case {
        title: "1 JSON row",
        model: "digits",
        rows: 1,
        binary: false,
        connections: 1,
        naive: false,
    },
    Case {
        title: "32 JSON rows",
        model: "digits",
        rows: 32,
        binary: false,
        connections: 1,
        naive: false,
    },
    Case {
        title: "32 binary rows",
        model: "digits",
        rows: 32,
        binary: true,
        connections: 1,
        naive: false,
    },
];
/// Requests before those that are counted, for what happens only once.
const WARM_UP: usize = 300;
const REQUESTS: usize = 1000;

/// Counts all cases in one server, one after the other; callgrind's counts need no rounds.
pub(super) fn run(_: Effort) -> Result<Section> {
    let mut server = Counted::start(&root().join("examples/models/digits"))?;
    for case in &CASES {
        server.count(&case.load()?, WARM_UP, REQUESTS)?;
    }
    let profiles = server.finish()?;
    ensure!(
        profiles.len() == CASES.len(),
        "callgrind wrote {} profiles for {} loads",
        profiles.len(),
        CASES.len()
    );
    let shares: Vec<Shares> = profiles.iter().map(Shares::of).collect();
    let mut columns = vec!["instructions a request"];
    columns.extend(CASES.iter().flat_map(|case| [case.title, "share %"]));
    let mut section = Section::new("Instructions", &columns);
    for part in Part::ALL {
        section.row(line(part.title(), &shares, |shares| shares.part(part)));
    }
    section.row(line("all but ONNX Runtime", &shares, own));
    Ok(section)
}

/// All but ONNX Runtime's own instructions.
fn own(shares: &Shares) -> f64 {
    shares.total() - shares.part(Part::Runtime)
}

/// A figure of each load and its share of the whole, without ONNX Runtime's own.
fn line(title: &str, shares: &[Shares], of: impl Fn(&Shares) -> f64) -> Vec<Cell> {
    let cells = shares.iter().flat_map(|shares| {
        let each = of(shares) / REQUESTS as f64;
        [
            each.round().into(),
            (100.0 * of(shares) / own(shares)).into(),
        ]
    });
    std::iter::once(title.into()).chain(cells).collect()
}
