//! Fuzzing: parsers with coverage, whole requests over a live server, and files of the command line.

mod command_line;
mod coverage;
mod live;
mod mutation;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;

use self::mutation::Random;
use crate::{root, target};

/// What is fuzzed, and how long.
#[derive(Args)]
pub(crate) struct FuzzArgs {
    /// Seconds for each target
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// The number that mutations follow from; the same one repeats them
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Fuzz only this target: one of `fuzz/Cargo.toml`, `live_http`, `live_grpc` or `command_line`
    target: Option<String>,
}

/// A target of this program.
type Fuzz = fn(&mut Session) -> Result<()>;

/// Fuzzes until the time is over. What is found lies in `fuzz/artifacts/TARGET`, and is an error.
pub(crate) fn run(args: &FuzzArgs) -> Result<()> {
    let own: [(&str, Fuzz); 3] = [
        ("live_http", live::http),
        ("live_grpc", live::grpc),
        ("command_line", command_line::run),
    ];
    let mut names: Vec<String> = coverage::targets(&root())?;
    names.extend(own.map(|(name, _)| name.to_owned()));
    if let Some(wanted) = &args.target {
        names.retain(|name| name == wanted);
        if names.is_empty() {
            bail!("there is no target \"{wanted}\"");
        }
    }
    let mut findings = 0;
    for name in &names {
        let Some((_, fuzz)) = own.iter().find(|(known, _)| known == name) else {
            findings += coverage::run(name, args.seconds)?;
            continue;
        };
        let mut session = Session::new(name, args);
        fuzz(&mut session)?;
        println!(
            "{name}: {} inputs in {:.0} s, {} findings",
            session.inputs,
            session.started.elapsed().as_secs_f64(),
            session.findings
        );
        findings += session.findings;
    }
    if findings > 0 {
        bail!("{findings} findings, see fuzz/artifacts");
    }
    Ok(())
}

/// One target in progress.
struct Session {
    artifacts: PathBuf,
    random: Random,
    started: Instant,
    length: Duration,
    inputs: usize,
    findings: usize,
}

impl Session {
    fn new(target: &str, args: &FuzzArgs) -> Self {
        Self {
            artifacts: root().join("fuzz/artifacts").join(target),
            random: Random::new(args.seed),
            started: Instant::now(),
            length: Duration::from_secs(args.seconds),
            inputs: 0,
            findings: 0,
        }
    }

    /// Whether there is time for one more input, which counts.
    fn next(&mut self) -> bool {
        self.inputs += 1;
        self.started.elapsed() < self.length
    }

    /// Writes an input down that showed a fault.
    fn report(&mut self, problem: &str, input: &[u8]) -> Result<()> {
        self.findings += 1;
        std::fs::create_dir_all(&self.artifacts)?;
        let file = self.artifacts.join(format!("{:05}", self.inputs));
        std::fs::write(&file, input)?;
        println!("{}: {problem}", file.display());
        Ok(())
    }
}

/// The server and the command line that are fuzzed: `TIDEGATE_BIN`, or else the last debug build.
fn binary() -> PathBuf {
    std::env::var_os("TIDEGATE_BIN").map_or_else(|| target().join("debug/tidegate"), PathBuf::from)
}

/// The contents of all files in a folder of seeds.
fn seeds(folder: &Path) -> Result<Vec<Vec<u8>>> {
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        files.push(entry?.path());
    }
    files.sort();
    let contents: std::io::Result<Vec<Vec<u8>>> = files.iter().map(std::fs::read).collect();
    Ok(contents?)
}
