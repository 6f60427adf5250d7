//! An example model's held-out rows, their true labels, and the answers of Python's onnxruntime.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// An example with its held-out rows.
pub(crate) struct Example {
    pub(crate) name: String,
    /// Feature names, or the name of the text column.
    pub(crate) columns: Vec<String>,
    /// Cells as they stand in the file.
    pub(crate) rows: Vec<Vec<String>>,
    pub(crate) labels: Vec<String>,
    /// Names of the classes, in the order of the probabilities.
    pub(crate) classes: Vec<String>,
    expected: Vec<Answer>,
}

/// What a model answers for one row.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) label: String,
    pub(crate) probabilities: Vec<f64>,
}

impl Example {
    /// Reads `models/NAME/heldout`.
    pub(crate) fn read(models: &Path, name: &str) -> Result<Self> {
        let folder = models.join(name).join("heldout");
        let (columns, rows) = table(&folder.join("inputs.csv"))?;
        let (_, labels) = table(&folder.join("labels.csv"))?;
        let (header, expected) = table(&folder.join("expected.csv"))?;
        let expected = expected.into_iter().map(|cells| {
            let probabilities = cells[1..]
                .iter()
                .map(|cell| cell.parse())
                .collect::<Result<_, _>>()?;
            Ok(Answer {
                label: cells[0].clone(),
                probabilities,
            })
        });
        Ok(Self {
            name: name.to_owned(),
            columns,
            rows,
            labels: labels
                .into_iter()
                .map(|mut cells| cells.remove(0))
                .collect(),
            classes: header[1..].to_vec(),
            expected: expected.collect::<Result<_>>()?,
        })
    }

    /// The same with its first rows only.
    pub(crate) fn first(mut self, rows: usize) -> Self {
        self.rows.truncate(rows);
        self.labels.truncate(rows);
        self.expected.truncate(rows);
        self
    }

    /// The request for one row, as a client would write it.
    pub(crate) fn request(&self, row: usize) -> Value {
        let cells = &self.rows[row];
        let (datatype, data) = match self.name.as_str() {
            "language" => ("BYTES", json!(cells)),
            _ => {
                let numbers: Vec<Value> = cells
                    .iter()
                    .map(|cell| serde_json::from_str(cell).unwrap_or_default())
                    .collect();
                ("FP32", json!(numbers))
            }
        };
        let name = self.input_name();
        json!({"inputs": [{"name": name, "datatype": datatype, "shape": [1, cells.len()], "data": data}]})
    }

    /// The name of the model's only input.
    pub(crate) fn input_name(&self) -> &'static str {
        match self.name.as_str() {
            "language" => "text",
            "digits" => "image",
            _ => "transaction",
        }
    }

    /// The share of rows whose label is the true one.
    pub(crate) fn accuracy(&self, answers: &[Answer]) -> f64 {
        let right = answers
            .iter()
            .zip(&self.labels)
            .filter(|(answer, label)| answer.label == **label)
            .count();
        right as f64 / self.labels.len() as f64
    }

    /// Rows whose label differs from the expected one, or a probability by more than the tolerance.
    pub(crate) fn differences(&self, answers: &[Answer], tolerance: f64) -> usize {
        let missing = self.expected.len().abs_diff(answers.len());
        let pairs = answers.iter().zip(&self.expected);
        missing
            + pairs
                .filter(|(answer, expected)| answer.differs(expected, tolerance))
                .count()
    }
}

impl Answer {
    /// Whether the label is another, or a probability further away than the tolerance.
    fn differs(&self, expected: &Self, tolerance: f64) -> bool {
        let mut pairs = self.probabilities.iter().zip(&expected.probabilities);
        self.label != expected.label
            || self.probabilities.len() != expected.probabilities.len()
            || pairs.any(|(a, b)| (a - b).abs() > tolerance * (1.0 + b.abs()))
    }

    /// Reads the first row of a response of the Open Inference Protocol.
    pub(crate) fn of(response: &Value) -> Option<Self> {
        Self::all(response)?.into_iter().next()
    }

    /// Reads all rows of a response of the Open Inference Protocol.
    pub(crate) fn all(response: &Value) -> Option<Vec<Self>> {
        let outputs = response["outputs"].as_array()?;
        let labels = output(outputs, "label")?;
        let probabilities = output(outputs, "probabilities")?;
        let classes = probabilities.len().checked_div(labels.len())?.max(1);
        let rows = labels.iter().zip(probabilities.chunks(classes));
        Some(
            rows.map(|(label, probabilities)| Self::new(label, probabilities))
                .collect(),
        )
    }

    fn new(label: &Value, probabilities: &[Value]) -> Self {
        let text = label.as_str().map(str::to_owned);
        Self {
            label: text.unwrap_or_else(|| label.to_string()),
            probabilities: probabilities.iter().filter_map(Value::as_f64).collect(),
        }
    }
}

/// The data of the output of this name.
fn output<'a>(outputs: &'a [Value], name: &str) -> Option<&'a Vec<Value>> {
    outputs.iter().find(|output| output["name"] == name)?["data"].as_array()
}

fn table(path: &Path) -> Result<(Vec<String>, Vec<Vec<String>>)> {
    let mut reader =
        csv::Reader::from_path(path).with_context(|| format!("cannot read {}", path.display()))?;
    let header = reader.headers()?.iter().map(str::to_owned).collect();
    let mut rows = Vec::new();
    for record in reader.records() {
        rows.push(record?.iter().map(str::to_owned).collect());
    }
    Ok((header, rows))
}
