//! The budget of the way of a request in instructions, the measure that no neighbour on the machine
//! changes.
//!
//! Valgrind's callgrind counts what a server executes for requests that come one after the other:
//! this test runs itself once more, under callgrind, as that server. What ONNX Runtime executes is
//! left out. The budgets are what the way takes today and a little more, in the profile that tests
//! are built in, so that it can only get better.

#![allow(clippy::unwrap_used, reason = "these are tests")]
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

#[path = "../../../bench/src/callgrind.rs"]
#[allow(dead_code, reason = "the benchmarks tell callgrind more")]
mod callgrind;
mod support;

/// Rows of a request, and most instructions for it.
const BUDGETS: [(usize, u64); 2] = [(1, 236_000), (32, 2_600_000)];
/// Requests before those that are counted, for what happens only once.
const WARM_UP: u64 = 20;
const COUNTED: u64 = 100;

#[test]
fn requests_are_answered_within_the_budget_of_instructions() {
    for (rows, budget) in BUDGETS {
        let each = instructions(rows);
        println!("{rows} rows: {each} instructions a request, the budget is {budget}");
        assert!(
            each > 1000,
            "{rows} rows: {each} instructions a request: the count does not see the server"
        );
        assert!(
            each <= budget,
            "{rows} rows: {each} instructions a request, the budget is {budget}"
        );
    }
}

/// What a request of so many rows takes.
fn instructions(rows: usize) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Command::new("valgrind")
        .args([
            "--tool=callgrind",
            "--quiet",
            "--instr-atstart=no",
            "--separate-threads=yes",
        ])
        .arg(format!(
            "--callgrind-out-file={}",
            folder.path().join("counts").display()
        ))
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "serve_to_be_counted", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("`cargo xtask setup --tests` installs valgrind");
    let mut control = server.stdin.take().unwrap();
    let mut said = BufReader::new(server.stdout.take().unwrap()).lines();
    let mut hear = |wanted: &str| {
        let line = said
            .by_ref()
            .map(|line| line.unwrap())
            .find(|line| line.starts_with(wanted))
            .unwrap();
        line[wanted.len()..].to_owned()
    };
    let mut client = TcpStream::connect(hear("listening ")).unwrap();
    let request = support::json_request(rows);
    support::ask(&mut client, &request, WARM_UP);
    writeln!(control, "count").unwrap();
    hear("counting");
    support::ask(&mut client, &request, COUNTED);
    drop((client, control));
    assert!(server.wait().unwrap().success());
    own_instructions_of_the_connection(folder.path()) / COUNTED
}

/// The server, for the test above: says where it listens, and begins to count when it is told.
#[test]
#[ignore = "it is a part of the other test, under callgrind"]
fn serve_to_be_counted() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let server = runtime.block_on(support::serve());
    println!("\nlistening {}", server.http());
    for _ in std::io::stdin().lines() {
        callgrind::start();
        println!("counting");
    }
    runtime.block_on(server.stop());
}

/// The instructions of the thread that the connection lives on, the busiest of all: what goes on
/// beside it, such as adding up what was observed, follows the clock.
fn own_instructions_of_the_connection(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap());
    files
        .map(|file| own_instructions(&file.path()))
        .max()
        .unwrap()
}

/// The instructions in a file of callgrind's that were executed outside of ONNX Runtime's library.
///
/// Its format: `ob=(ID) NAME` begins the lines of an object, named only where the number is new; a
/// line that begins with a number, or an offset to the one before, is a place and its cost; one
/// behind `calls=` has the cost of what was called, which is counted there.
fn own_instructions(counts: &Path) -> u64 {
    let mut names: HashMap<String, bool> = HashMap::new();
    let (mut is_own, mut is_call, mut own) = (true, false, 0);
    for line in std::fs::read_to_string(counts).unwrap().lines() {
        if let Some(object) = line
            .strip_prefix("ob=")
            .or_else(|| line.strip_prefix("cob="))
        {
            let (id, name) = object.split_once(' ').unwrap_or((object, ""));
            let known = names
                .entry(id.to_owned())
                .or_insert_with(|| !name.contains("libonnxruntime"));
            if line.starts_with("ob=") {
                is_own = *known;
            }
        } else if line.starts_with("calls=") {
            is_call = true;
        } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
            let cost: u64 = line.rsplit(' ').next().unwrap().parse().unwrap();
            if is_own && !is_call {
                own += cost;
            }
            is_call = false;
        }
    }
    own
}
