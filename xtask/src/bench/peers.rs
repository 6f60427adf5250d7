//! Tidegate beside other servers of models, installed as their users install them.
//!
//! One server runs at a time: some keep a core busy while they idle. All get the same model,
//! bodies, client, warm-up and time, and one thread in each run of the model.

mod peer;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use self::peer::{PEERS, Peer};
use super::Effort;
use super::client::{Figures, Load, wrk};
use super::contestant::Contestant;
use super::http::Case;
use super::report::{Cell, Section};
use super::rounds::{Comparison, in_turn};
use crate::demo::{Answer, Example};
use crate::root;

/// Seconds of load before each figure.
const WARM_UP: u64 = 2;
/// How far a probability may be from the one that Python's onnxruntime gave.
const TOLERANCE: f64 = 1e-5;

const CASES: [Case; 2] = [
    Case {
        title: "digits, 1 JSON row",
        model: "digits",
        rows: 1,
        binary: false,
        connections: 16,
        naive: false,
    },
    Case {
        title: "digits, 32 JSON rows",
        model: "digits",
        rows: 32,
        binary: false,
        connections: 16,
        naive: false,
    },
];

/// The figures of one server in one round, in the order of the cases.
type Turn = Vec<Figures>;

/// Measures Tidegate and every peer that can be installed and answers right; says of the others why
/// not.
pub(super) fn run(effort: Effort) -> Result<Section> {
    let mut section = Section::new(
        "Peers",
        &[
            "load",
            "server",
            "version",
            "requests/s",
            "p50 µs",
            "p99 µs",
            "tidegate's rate",
            "its p50",
            "its p99",
        ],
    );
    let (mut takers, mut absent) = (Vec::new(), Vec::new());
    for peer in &PEERS {
        match peer.install().and_then(|_| turn(Some(peer), 1)) {
            Ok(_) => takers.push(peer),
            Err(error) => absent.push((peer, format!("not measured: {error:#}"))),
        }
    }
    let rounds = in_turn(takers.len() + 1, effort.rounds, |at| {
        Ok(turn(
            at.checked_sub(1).map(|peer| takers[peer]),
            effort.seconds,
        ))
    })?;
    // A peer that fails in one round is not measured, but the others are.
    let mut rounds = rounds
        .into_iter()
        .map(|own| own.into_iter().collect::<Result<Vec<Turn>>>());
    let first = rounds.next().context("Tidegate takes part")??;
    let mut stood = Vec::new();
    for (peer, own) in takers.into_iter().zip(rounds) {
        match own {
            Ok(own) => stood.push((peer, own)),
            Err(error) => absent.push((peer, format!("not measured: {error:#}"))),
        }
    }
    for (at, case) in CASES.iter().enumerate() {
        let first = of_case(&first, at);
        section.row(row(
            case,
            env!("CARGO_PKG_VERSION"),
            &Comparison::new("tidegate", &first, &first),
        ));
        for (peer, own) in &stood {
            section.row(row(
                case,
                &peer.version()?,
                &Comparison::new(peer.title, &first, &of_case(own, at)),
            ));
        }
    }
    for (peer, reason) in absent {
        let mut cells = vec![
            "".into(),
            peer.title.into(),
            peer.version()?.into(),
            reason.into(),
        ];
        cells.extend((0..5).map(|_| "".into()));
        section.row(cells);
    }
    Ok(section)
}

/// What was measured in one case, by rounds.
fn of_case(rounds: &[Turn], at: usize) -> Vec<Figures> {
    rounds.iter().map(|turn| turn[at]).collect()
}

fn row(case: &Case, version: &str, comparison: &Comparison) -> Vec<Cell> {
    let named = [case.title.into(), comparison.name.into(), version.into()];
    named
        .into_iter()
        .chain(comparison.cells())
        .chain(comparison.ratio_cells())
        .collect()
}

/// Starts a server, checks its answers, warms it up, measures it and stops it. No peer is Tidegate.
fn turn(peer: Option<&Peer>, seconds: u64) -> Result<Turn> {
    let server = match peer {
        None => Contestant::tidegate("tidegate")?,
        Some(peer) => peer.start(&CASES[0].load()?)?,
    };
    let mut turn = Turn::new();
    for case in &CASES {
        let load: Load = case.load()?;
        check(&server, &load, case.rows)
            .with_context(|| format!("{} answers wrong", server.name))?;
        wrk(&server.url, &load, WARM_UP)?;
        turn.push(wrk(&server.url, &load, seconds)?);
    }
    Ok(turn)
}

/// Insists on the labels and probabilities that Python's onnxruntime gave for the rows.
fn check(server: &Contestant, load: &Load, rows: usize) -> Result<()> {
    let answer: Value = serde_json::from_slice(&server.ask(load)?)?;
    let answers =
        Answer::all(&answer).context("the answer is none of the Open Inference Protocol")?;
    let example = Example::read(&root().join("examples/models"), "digits")?.first(rows);
    let differing = example.differences(&answers, TOLERANCE);
    ensure!(
        differing == 0,
        "{differing} of {rows} rows have another label or other probabilities"
    );
    Ok(())
}
