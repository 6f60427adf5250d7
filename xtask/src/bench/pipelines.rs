//! Records through the pipeline of a version, beside the same rows sent as tensors.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Result, ensure};
use serde::Deserialize;
use serde_json::Value;

use super::client::{Figures, Load, wrk};
use super::contestant::{baseline, post};
use super::http::Case;
use super::report::Section;
use super::rounds::{in_turn, middle, ratio};
use super::{Effort, binary};
use crate::demo::Example;
use crate::root;
use crate::server::Server;

/// Rows of each request.
const ROWS: usize = 32;

/// What `tidegate-bench records` prints.
#[derive(Deserialize)]
struct StepsAlone {
    us_per_row: f64,
}

/// Measures `fraud`, whose 30 numbers come as records, columns and tensors.
pub(super) fn run(effort: Effort) -> Result<Section> {
    let mut section = Section::new(
        "Pipelines",
        &[
            "32 rows of fraud",
            "requests/s",
            "rate to that of tensors",
            "p99 to that of tensors",
            "µs a row to the model's input",
        ],
    );
    let folder =
        std::env::temp_dir().join(format!("tidegate-bench-pipelines-{}", std::process::id()));
    let outcome = measure(&folder, effort, &mut section);
    let _ = std::fs::remove_dir_all(&folder);
    outcome.map(|()| section)
}

fn measure(folder: &Path, effort: Effort, section: &mut Section) -> Result<()> {
    let models = root().join("examples/models");
    let example = Example::read(&models, "fraud")?;
    let columns = example.rows[0].len();
    let bundle = folder.join("fraud");
    std::fs::create_dir_all(&bundle)?;
    std::fs::copy(models.join("fraud/model.onnx"), bundle.join("model.onnx"))?;
    let manifest = "schema = 1\nname = \"fraud\"";
    let pipeline = pipeline(columns, example.input_name());
    std::fs::write(bundle.join("model.toml"), format!("{manifest}\n{pipeline}"))?;

    let rows = &example.rows[..ROWS];
    let tensors = Case {
        title: "",
        model: "fraud",
        rows: ROWS,
        binary: false,
        connections: 16,
        naive: false,
    };
    let tensors = tensors.load()?;
    let records = |body: String| Load {
        path: "/v1/endpoints/fraud/predict".to_owned(),
        body: body.into_bytes(),
        ..tensors.clone()
    };
    let (by_rows, by_columns) = (instances(rows), by_columns(rows));
    let body = folder.join("records.json");
    std::fs::write(&body, &by_rows)?;
    let loads = [
        ("JSON tensors", tensors.clone()),
        ("JSON records", records(by_rows)),
        ("JSON columns", records(by_columns)),
    ];
    let server = Server::start_with(&binary(), &[&bundle], &folder.join("data"), &[])?;
    let alone = steps_alone(&bundle, &body)?;
    compare(&server, &loads, alone, effort, section)?;
    server.stop()
}

/// From the records to the tensor on one thread, without a server.
fn steps_alone(bundle: &Path, body: &Path) -> Result<f64> {
    let mut steps = baseline(&["records"])?;
    steps.arg("--model").arg(bundle).arg("--body").arg(body);
    let output = steps.output()?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let alone: StepsAlone = serde_json::from_slice(&output.stdout)?;
    Ok(alone.us_per_row)
}

fn compare(
    server: &Server,
    loads: &[(&str, Load)],
    alone: f64,
    effort: Effort,
    section: &mut Section,
) -> Result<()> {
    for (name, load) in loads {
        let answer: Value = serde_json::from_slice(&post(&server.http, load)?)?;
        let is_answered = answer["outputs"].is_array() || !answer["predictions"].is_null();
        ensure!(is_answered, "{name}: {answer}");
        wrk(&server.http, load, 2)?;
    }
    let rounds = in_turn(loads.len(), effort.rounds, |at| {
        wrk(&server.http, &loads[at].1, effort.seconds)
    })?;
    for (own, (name, _)) in rounds.iter().zip(loads) {
        section.row(vec![
            (*name).into(),
            middle(own, Figures::rate).round().into(),
            ratio(own, &rounds[0], Figures::rate).into(),
            ratio(own, &rounds[0], Figures::p99).into(),
            if *name == "JSON records" {
                alone.into()
            } else {
                "".into()
            },
        ]);
    }
    Ok(())
}

/// A field for each column, all scaled, and the probabilities as they are.
fn pipeline(columns: usize, input: &str) -> String {
    let mut text = String::from("[pipeline]\nfields = [\n");
    let names: Vec<String> = (0..columns).map(|at| format!("\"v{at}\"")).collect();
    for name in &names {
        let _ = writeln!(
            text,
            "    {{ name = {name}, type = \"number\", min = -1e9 }},"
        );
    }
    let names = names.join(", ");
    let _ = write!(
        text,
        "]\nbefore = [\n    {{ step = \"concat\", inputs = [{names}], output = \"all\" }},\n    \
         {{ step = \"scale\", input = \"all\", subtract = 0.0, divide = 1.0 }},\n]\n\
         inputs = [{{ name = \"{input}\", columns = [\"all\"] }}]\n"
    );
    text
}

fn instances(rows: &[Vec<String>]) -> String {
    let records: Vec<String> = rows
        .iter()
        .map(|row| {
            let cells = row.iter().enumerate();
            let members: Vec<String> = cells
                .map(|(at, cell)| format!("\"v{at}\":{cell}"))
                .collect();
            format!("{{{}}}", members.join(","))
        })
        .collect();
    format!("{{\"instances\":[{}]}}", records.join(","))
}

fn by_columns(rows: &[Vec<String>]) -> String {
    let columns: Vec<String> = (0..rows[0].len())
        .map(|at| {
            let cells: Vec<&str> = rows.iter().map(|row| row[at].as_str()).collect();
            format!("\"v{at}\":[{}]", cells.join(","))
        })
        .collect();
    format!("{{\"columns\":{{{}}}}}", columns.join(","))
}
