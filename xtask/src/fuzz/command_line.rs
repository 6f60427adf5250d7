//! Files that the command line reads: models' manifests, configurations, objectives, tables, records,
//! times of requests, and Triton's repositories.
//!
//! A finding is: a command ends by a signal or a panic, runs longer than ten seconds (a debug build on a
//! busy machine takes one to start), or takes more than 400 MB.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Session, binary, seeds};
use crate::root;

const PATIENCE: Duration = Duration::from_secs(10);
const MOST_RESIDENT_MB: f64 = 400.0;
/// What the process ends with that panicked.
const PANICKED: i32 = 101;

/// A file, and the command that reads it.
struct Reader {
    seeds: Vec<Vec<u8>>,
    /// Where the file is, below the folder of the run.
    file: &'static str,
    /// Arguments; `FOLDER` stands for the folder of the run, `EXAMPLES` for that of the example models.
    arguments: &'static [&'static str],
}

pub(super) fn run(session: &mut Session) -> Result<()> {
    let folder = std::env::temp_dir().join(format!("tidegate-fuzz-files-{}", std::process::id()));
    let outcome = run_in(&folder, session);
    let _ = std::fs::remove_dir_all(&folder);
    outcome
}

fn run_in(folder: &Path, session: &mut Session) -> Result<()> {
    let model = root().join("examples/models/digits/model.onnx");
    for bundle in ["bundle", "triton/digits/1"] {
        std::fs::create_dir_all(folder.join(bundle))?;
        std::fs::copy(&model, folder.join(bundle).join("model.onnx"))?;
    }
    let readers = readers()?;
    while session.next() {
        let reader = session.random.choose(&readers);
        let seed = session.random.choose(&reader.seeds);
        let input = session.random.mutate(seed);
        std::fs::write(folder.join(reader.file), &input)?;
        if let Some(problem) = reader.problem(folder)? {
            session.report(&format!("{}: {problem}", reader.file), &input)?;
        }
    }
    Ok(())
}

fn readers() -> Result<Vec<Reader>> {
    let seeds_of = |target: &str| seeds(&root().join("fuzz/seeds").join(target));
    let manifests = seeds_of("model_toml")?;
    let pixels = vec!["1.5"; 64].join(",");
    let names: Vec<String> = (0..64).map(|at| format!("image_{at}")).collect();
    let csv = format!("{}\n{pixels}\n{pixels}\n", names.join(","));
    Ok(vec![
        Reader {
            seeds: manifests,
            file: "bundle/model.toml",
            arguments: &["check", "FOLDER/bundle"],
        },
        Reader {
            seeds: seeds_of("config_pbtxt")?,
            file: "triton/digits/config.pbtxt",
            arguments: &["models", "FOLDER/triton"],
        },
        Reader {
            seeds: vec![csv.into_bytes()],
            file: "rows.csv",
            arguments: &["predict", "--input", "FOLDER/rows.csv", "EXAMPLES/digits"],
        },
        Reader {
            seeds: vec![format!("[{{\"image\": [{pixels}]}}]").into_bytes()],
            file: "rows.json",
            arguments: &["predict", "--input", "FOLDER/rows.json", "EXAMPLES/digits"],
        },
        Reader {
            seeds: vec![npy()],
            file: "rows.npy",
            arguments: &["predict", "--input", "FOLDER/rows.npy", "EXAMPLES/digits"],
        },
        Reader {
            seeds: vec![
                b"[server]\nmax_body_bytes = 1000\n[fleet]\nlazy = true\npinned = [\"a\"]\n"
                    .to_vec(),
                b"[[objectives]]\nname = \"a\"\n[alerts]\n[batching]\nmax_delay_us = 1\n".to_vec(),
            ],
            file: "tidegate.toml",
            arguments: &["registry", "list", "--config", "FOLDER/tidegate.toml"],
        },
        Reader {
            seeds: vec![OBJECTIVES.as_bytes().to_vec()],
            file: "slo.toml",
            arguments: &["observe", "rules", "--config", "FOLDER/slo.toml"],
        },
        Reader {
            seeds: vec![OPENSLO.as_bytes().to_vec()],
            file: "slo.yaml",
            arguments: &["observe", "import", "FOLDER/slo.yaml"],
        },
        Reader {
            seeds: vec![
                format!("[{{\"text\": {TEXT:?}}}]").into_bytes(),
                format!("{{\"text\": {TEXT:?}}}\n").into_bytes(),
            ],
            file: "records.json",
            arguments: &[
                "predict",
                "--input",
                "FOLDER/records.json",
                "EXAMPLES/language",
            ],
        },
        Reader {
            seeds: vec![format!("text\n\"{TEXT}\"\n").into_bytes()],
            file: "records.csv",
            arguments: &[
                "predict",
                "--input",
                "FOLDER/records.csv",
                "EXAMPLES/language",
            ],
        },
        Reader {
            seeds: vec![b"0\n0.25\n1e-3\n".to_vec()],
            file: "times",
            // Nothing listens there: the file is read before the first request is sent.
            arguments: &[
                "load",
                "--url",
                "http://127.0.0.1:9",
                "--replay",
                "FOLDER/times",
                "digits",
            ],
        },
    ])
}

const TEXT: &str = "Wer reitet so sp\u{e4}t durch Nacht und Wind?";

const OBJECTIVES: &str = "\
[[slo]]
name = \"fast\"
endpoint = \"fraud\"
sli = \"latency\"
threshold_ms = 51.2
target = 0.99
window = \"28d\"
[[alerts.rules]]
name = \"BreakerOpen\"
metric = \"tidegate_breaker_state\"
by = [\"model\"]
threshold = 1
for_s = 30
";

const OPENSLO: &str = "\
apiVersion: openslo/v1
kind: SLO
metadata:
  name: available
spec:
  service: tidegate
  budgetingMethod: Occurrences
  timeWindow:
    - duration: 30d
      isRolling: true
  objectives:
    - target: 0.999
  indicator:
    metadata:
      name: available
    spec:
      ratioMetric:
        counter: true
        good: {metricSource: {type: Prometheus, spec: {query: a}}}
        total: {metricSource: {type: Prometheus, spec: {query: b}}}
";

/// Two rows in NumPy's format, version 1.
fn npy() -> Vec<u8> {
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 64), }";
    let mut bytes = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    bytes.extend_from_slice(format!("{header:<117}\n").as_bytes());
    bytes.extend(std::iter::repeat_n(1.5f32.to_le_bytes(), 128).flatten());
    bytes
}

impl Reader {
    fn problem(&self, folder: &Path) -> Result<Option<String>> {
        let examples = root().join("examples/models").display().to_string();
        let folder = folder.display().to_string();
        let arguments = self.arguments.iter();
        let arguments = arguments.map(|each| {
            each.replace("FOLDER", &folder)
                .replace("EXAMPLES", &examples)
        });
        let mut child = Command::new(binary())
            .args(arguments)
            .current_dir(&folder)
            .env("XDG_DATA_HOME", PathBuf::from(&folder).join("data"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let started = Instant::now();
        let mut problem = None;
        loop {
            if let Some(status) = child.try_wait()? {
                let has_crashed = status.code().is_none_or(|code| code == PANICKED);
                let crash = has_crashed.then(|| format!("it ended with {status}"));
                return Ok(problem.or(crash));
            }
            let resident = crate::bench::resident_mb(child.id()).unwrap_or(0.0);
            if resident > MOST_RESIDENT_MB {
                problem = Some(format!("it took {resident:.0} MB"));
            } else if started.elapsed() > PATIENCE {
                problem = Some("it ran for ten seconds".to_owned());
            }
            if problem.is_some() {
                child.kill()?;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
