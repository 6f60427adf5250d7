//! `tidegate quality`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use form_urlencoded::Serializer;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::client;
use crate::options::ServerUrl;
use crate::output::{print_json_text, print_line, print_table, printable, timestamp};

/// Labels that are sent at once.
const CHUNK_LABELS: usize = 5000;

/// Show whether predictions of a running server are right, and send labels
#[derive(Debug, Args)]
pub(super) struct Quality {
    #[command(subcommand)]
    command: QualityCommand,
    #[command(flatten)]
    server: ServerUrl,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum QualityCommand {
    /// The accuracy of the versions of an endpoint, by the labels that came
    Accuracy(Accuracy),
    /// The columns of a model that drifted in each window, and what changed
    Drift(Drift),
    /// Captured predictions of an endpoint, as JSON lines
    Captures(Captures),
    /// Send the labels of a file: .csv with the columns prediction_id, label, and row if there are several
    Label(Label),
}

#[derive(Debug, Args)]
struct Accuracy {
    /// The endpoint
    #[arg(value_name = "ENDPOINT")]
    endpoint: String,
    /// Over how many hours [default: what the server's configuration says]
    #[arg(long, value_name = "HOURS")]
    window_h: Option<u64>,
    /// Also for each value of a captured column, such as field.country
    #[arg(long, value_name = "COLUMN")]
    by: Option<String>,
}

#[derive(Debug, Args)]
struct Drift {
    /// The model
    #[arg(value_name = "MODEL")]
    model: String,
}

#[derive(Debug, Args)]
struct Captures {
    /// The endpoint
    #[arg(value_name = "ENDPOINT")]
    endpoint: String,
    /// How many hours are searched
    #[arg(long, value_name = "HOURS", default_value_t = 1)]
    window_h: u64,
    /// At most so many rows, up to 1000
    #[arg(long, value_name = "ROWS", default_value_t = 100)]
    limit: u64,
}

#[derive(Debug, Args)]
struct Label {
    /// The endpoint
    #[arg(value_name = "ENDPOINT")]
    endpoint: String,
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

#[derive(Deserialize)]
struct AccuracyReport {
    versions: Vec<VersionReport>,
}

#[derive(Deserialize)]
struct VersionReport {
    version: String,
    predictions: u64,
    labelled: u64,
    unusable_labels: u64,
    metrics: Vec<Metric>,
    #[serde(default)]
    estimated: Estimate,
    segments: Vec<Segment>,
    problem: Option<String>,
}

#[derive(Deserialize)]
struct Segment {
    value: String,
    labelled: u64,
    metrics: Vec<Metric>,
}

#[derive(Deserialize)]
struct Metric {
    name: String,
    value: f64,
    low: f64,
    high: f64,
    n: u64,
}

/// What probabilities say before labels come; a server of an earlier release has none.
#[derive(Default, Deserialize)]
struct Estimate {
    reference_labels: u64,
    metrics: Vec<EstimatedMetric>,
    problem: Option<String>,
}

#[derive(Deserialize)]
struct EstimatedMetric {
    #[serde(flatten)]
    metric: Metric,
    realized: Option<Metric>,
}

#[derive(Deserialize)]
struct DriftAnswer {
    window_s: u64,
    versions: Vec<VersionDrift>,
}

#[derive(Deserialize)]
struct VersionDrift {
    version: String,
    rows: u64,
    windows: Vec<Window>,
    problem: Option<String>,
}

#[derive(Deserialize)]
struct Window {
    begin_ms: i64,
    rows: u64,
    columns: Vec<Column>,
}

#[derive(Deserialize)]
struct Column {
    column: String,
    drifted: bool,
    causes: Vec<String>,
}

#[derive(Default, Deserialize)]
struct Receipt {
    new: u64,
    corrected: u64,
    same: u64,
    not_captured: u64,
}

impl Quality {
    pub(super) fn run(self) -> Result<ExitCode> {
        let url = &self.server.url()?;
        match &self.command {
            QualityCommand::Accuracy(args) => args.run(url, self.json)?,
            QualityCommand::Drift(args) => args.run(url, self.json)?,
            QualityCommand::Captures(args) => args.run(url)?,
            QualityCommand::Label(args) => args.run(url, self.json)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Accuracy {
    fn run(&self, url: &str, json: bool) -> Result<()> {
        let mut query = Serializer::new(String::new());
        query.extend_pairs(self.window_h.map(|hours| ("window_h", hours.to_string())));
        query.extend_pairs(self.by.iter().map(|column| ("by", column)));
        let path = format!("/api/quality/{}/accuracy?{}", self.endpoint, query.finish());
        let text = client::get(url, &path)?;
        if json {
            print_json_text(&text);
            return Ok(());
        }
        let report: AccuracyReport =
            serde_json::from_str(&text).context("the response is not a report of accuracy")?;
        if report.versions.is_empty() {
            print_line!("no predictions were captured in this time");
        }
        for version in &report.versions {
            print_version(version);
        }
        Ok(())
    }
}

fn print_version(version: &VersionReport) {
    let VersionReport {
        version: number,
        predictions,
        labelled,
        unusable_labels,
        ..
    } = version;
    print_line!("version {number}: {labelled} of {predictions} captured rows have a label");
    if let Some(problem) = &version.problem {
        print_line!("  labels are not compared: {}", printable(problem));
    }
    if *unusable_labels > 0 {
        print_line!("  {unusable_labels} labels are not among the values that the model predicts");
    }
    if !version.metrics.is_empty() {
        print_metrics(version);
    }
    print_estimate(&version.estimated);
}

fn print_metrics(version: &VersionReport) {
    let mut rows = vec![["METRIC", "VALUE", "LOW", "HIGH", "LABELS"].map(str::to_owned)];
    rows.extend(version.metrics.iter().map(|metric| {
        let number = |value: f64| format!("{value:.4}");
        [
            metric.name.clone(),
            number(metric.value),
            number(metric.low),
            number(metric.high),
            metric.n.to_string(),
        ]
    }));
    print_table(&rows);
    for segment in &version.segments {
        let figures = segment.metrics.iter().map(|metric| {
            let Metric { name, value, .. } = metric;
            format!("{name} {value:.4}")
        });
        let figures: Vec<String> = figures.collect();
        let (value, labelled) = (printable(&segment.value), segment.labelled);
        print_line!("  {value}: {labelled} labels; {}", figures.join(", "));
    }
}

/// What probabilities say, beside what labels say of the same predictions.
fn print_estimate(estimate: &Estimate) {
    if let Some(problem) = &estimate.problem {
        print_line!(
            "  accuracy is not estimated without labels: {}",
            printable(problem)
        );
    }
    if estimate.metrics.is_empty() {
        return;
    }
    let labels = estimate.reference_labels;
    print_line!("  estimated without labels, calibrated on {labels} labels:");
    let header = [
        "METRIC",
        "ESTIMATED",
        "LOW",
        "HIGH",
        "ROWS",
        "BY LABELS",
        "LABELS",
    ];
    let mut rows = vec![header.map(str::to_owned)];
    rows.extend(estimate.metrics.iter().map(EstimatedMetric::row));
    print_table(&rows);
}

impl EstimatedMetric {
    fn row(&self) -> [String; 7] {
        let Metric {
            name,
            value,
            low,
            high,
            n,
        } = &self.metric;
        let (by_labels, labels) = match &self.realized {
            Some(realized) => (format!("{:.4}", realized.value), realized.n.to_string()),
            None => ("-".to_owned(), "0".to_owned()),
        };
        [
            name.clone(),
            format!("{value:.4}"),
            format!("{low:.4}"),
            format!("{high:.4}"),
            n.to_string(),
            by_labels,
            labels,
        ]
    }
}

impl Drift {
    fn run(&self, url: &str, json: bool) -> Result<()> {
        let text = client::get(url, &format!("/api/quality/{}/drift", self.model))?;
        if json {
            print_json_text(&text);
            return Ok(());
        }
        let answer: DriftAnswer =
            serde_json::from_str(&text).context("the response is not a report of drift")?;
        if answer.versions.is_empty() {
            print_line!("no version with a baseline was called: `tidegate baseline` makes one");
        }
        for version in &answer.versions {
            print_windows(version, answer.window_s);
        }
        Ok(())
    }
}

fn print_windows(version: &VersionDrift, window_s: u64) {
    let (number, rows) = (&version.version, version.rows);
    print_line!("version {number}: {rows} rows in the current window of {window_s} s");
    if let Some(problem) = &version.problem {
        print_line!("  not watched: {}", printable(problem));
    }
    for window in &version.windows {
        let drifted: Vec<&Column> = window.columns.iter().filter(|one| one.drifted).collect();
        print_line!(
            "  {}: {} of {} columns drifted, {} rows",
            timestamp(window.begin_ms),
            drifted.len(),
            window.columns.len(),
            window.rows,
        );
        for column in drifted {
            let (name, causes) = (printable(&column.column), column.causes.join("; "));
            print_line!("    {name}: {}", printable(&causes));
        }
    }
}

impl Captures {
    fn run(&self, url: &str) -> Result<()> {
        let Self {
            endpoint,
            window_h,
            limit,
        } = self;
        let path = format!("/api/captures/{endpoint}?window_h={window_h}&limit={limit}");
        let text = client::get(url, &path)?;
        let answer: Value = serde_json::from_str(&text).context("the response is not JSON")?;
        for row in answer["rows"].as_array().into_iter().flatten() {
            print_line!("{row}");
        }
        Ok(())
    }
}

impl Label {
    fn run(&self, url: &str, json: bool) -> Result<()> {
        let labels = read_labels(&self.file)?;
        let mut total = Receipt::default();
        for chunk in labels.chunks(CHUNK_LABELS) {
            let path = format!("/v1/endpoints/{}/feedback", self.endpoint);
            let answer = client::post_json(url, &path, json!({ "feedback": chunk }))?;
            let receipt: Receipt =
                serde_json::from_str(&answer).context("the response is not a receipt")?;
            total.new += receipt.new;
            total.corrected += receipt.corrected;
            total.same += receipt.same;
            total.not_captured += receipt.not_captured;
        }
        let Receipt {
            new,
            corrected,
            same,
            not_captured,
        } = total;
        if json {
            let receipt = json!({
                "new": new, "corrected": corrected, "same": same, "not_captured": not_captured,
            });
            print_json_text(&receipt.to_string());
            return Ok(());
        }
        print_line!(
            "{new} new, {corrected} corrected, {same} the same; {not_captured} of predictions that are \
             not captured"
        );
        Ok(())
    }
}

/// The labels of a CSV file.
fn read_labels(path: &Path) -> Result<Vec<Value>> {
    let shown = path.display();
    let file = File::open(path).with_context(|| format!("cannot read {shown}"))?;
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(file);
    let header = reader
        .headers()
        .with_context(|| format!("cannot read {shown}"))?
        .clone();
    let place = |name: &str| header.iter().position(|column| column == name);
    let (Some(id), Some(label)) = (place("prediction_id"), place("label")) else {
        bail!("{shown} needs the columns prediction_id and label");
    };
    let row = place("row");
    let mut labels = Vec::new();
    for (at, record) in reader.records().enumerate() {
        let line = at + 2;
        let record = record.with_context(|| format!("{shown}, line {line}"))?;
        let number = match row.and_then(|row| record.get(row)) {
            None => 0,
            Some(text) => text
                .parse::<u32>()
                .with_context(|| format!("{shown}, line {line}: {text:?} is not a row"))?,
        };
        let (id, text) = (
            record.get(id).unwrap_or_default(),
            record.get(label).unwrap_or_default(),
        );
        labels.push(json!({"prediction_id": id, "row": number, "label": label_value(text)}));
    }
    Ok(labels)
}

/// A label of a file: a number or a truth where it looks like one, else a text.
fn label_value(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(value @ (Value::Number(_) | Value::Bool(_))) => value,
        _ => Value::String(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_a_file_are_numbers_truths_or_texts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labels.csv");
        let text = "prediction_id,row,label\na,1,0.5\na,2,true\na,3,fraud\n";
        std::fs::write(&path, text).unwrap();
        let labels = read_labels(&path).unwrap();
        let values: Vec<&Value> = labels.iter().map(|one| &one["label"]).collect();
        assert_eq!(values, [&json!(0.5), &json!(true), &json!("fraud")]);
        assert_eq!(labels[2]["row"], 3);
        std::fs::write(&path, "prediction_id,row,label\na,x,1\n").unwrap();
        let error = read_labels(&path).unwrap_err().to_string();
        assert!(error.contains("line 2: \"x\" is not a row"), "{error}");
    }
}
