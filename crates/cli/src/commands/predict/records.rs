//! Records through the pipeline of a model.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tidegate_core::{FieldType, PipelineSpec, Tensor};
use tidegate_pipeline::{Answer, BadRows, Pipeline};
use tidegate_serving::{InProcess, InferRequest, Serving, Target, Version};

use super::{CHUNK_ROWS, OutputFormat, Predict};
use crate::output::{DataOutput, printable_json};

impl Predict {
    /// Answers each record, as the server does.
    pub(super) fn predict_records(
        &self,
        serving: &Serving,
        version: &Version,
        pipeline: &Pipeline,
    ) -> Result<ExitCode> {
        let spec = version.plan().manifest.pipeline.as_ref();
        let spec = spec.context("a version with a pipeline has a section [pipeline]")?;
        let read = bodies(&self.input, spec);
        let bodies = read.with_context(|| format!("cannot read {}", self.input.display()))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let mut out = DataOutput::new();
        for (at, body) in bodies.iter().enumerate() {
            let records = pipeline.read_with_features(body, BadRows::FailRequest)?;
            let mut run = pipeline.before(records)?;
            let target = Target {
                endpoint: version.model().to_owned(),
                version: None,
            };
            let request = InferRequest {
                inputs: run.take_inputs(),
                outputs: version.pipeline_outputs(),
                ..InferRequest::default()
            };
            let response = runtime.block_on(serving.answer(InProcess::new(target, request)))?;
            let outputs = response.outputs.into_iter();
            let outputs: Vec<(usize, Tensor)> = outputs
                .map(|output| (output.index, output.tensor))
                .collect();
            let answer = pipeline.after(run, &outputs)?;
            match self.output {
                OutputFormat::Json => print_json(&mut out, &answer)?,
                OutputFormat::Csv => print_csv(&mut out, pipeline, &answer, at == 0)?,
            }
        }
        out.flush()?;
        Ok(ExitCode::SUCCESS)
    }
}

fn print_json(out: &mut DataOutput, answer: &Answer<'_>) -> Result<()> {
    for row in 0..answer.rows() {
        let mut json = Vec::new();
        answer.encode_row(row, &mut json);
        writeln!(out, "{}", printable_json(&String::from_utf8(json)?))?;
    }
    Ok(())
}

fn print_csv(
    out: &mut DataOutput,
    pipeline: &Pipeline,
    answer: &Answer<'_>,
    with_header: bool,
) -> Result<()> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    let fields = pipeline.response().count();
    if with_header {
        csv.write_record(pipeline.response().map(|name| out.cell(name.to_owned())))?;
    }
    for row in 0..answer.rows() {
        let mut cells = Vec::with_capacity(fields);
        for field in 0..fields {
            let mut json = Vec::new();
            answer.encode_value(field, row, &mut json);
            cells.push(out.cell(cell(&String::from_utf8(json)?)?));
        }
        csv.write_record(cells)?;
    }
    out.write_all(&csv.into_inner()?)?;
    Ok(())
}

/// Text without its quotes; numbers as they are, and nothing for a missing value.
fn cell(json: &str) -> Result<String> {
    if json.starts_with('"') {
        return Ok(serde_json::from_str(json)?);
    }
    Ok(if json == "null" { "" } else { json }.to_owned())
}

/// The records of a file as bodies of requests. The text of JSON is kept, so that its numbers are
/// read as those of a client.
fn bodies(path: &Path, spec: &PipelineSpec) -> Result<Vec<Vec<u8>>> {
    let extension = path.extension().and_then(|extension| extension.to_str());
    match extension.unwrap_or_default() {
        "json" => {
            let text = std::fs::read_to_string(path)?;
            Ok(vec![match text.trim_start().starts_with('[') {
                true => format!("{{\"instances\":{text}}}").into_bytes(),
                false => text.into_bytes(),
            }])
        }
        "jsonl" => {
            let text = std::fs::read_to_string(path)?;
            let lines = text.lines().filter(|line| !line.trim().is_empty());
            Ok(in_chunks(&lines.map(str::to_owned).collect::<Vec<_>>()))
        }
        "csv" => Ok(in_chunks(&csv_records(path, spec)?)),
        other => bail!("records can be read from .json, .jsonl and .csv files, not from {other:?}"),
    }
}

fn in_chunks(records: &[String]) -> Vec<Vec<u8>> {
    let chunks = records.chunks(CHUNK_ROWS);
    chunks
        .map(|chunk| format!("{{\"instances\":[{}]}}", chunk.join(",")).into_bytes())
        .collect()
}

/// Each row of a table as an object of JSON.
fn csv_records(path: &Path, spec: &PipelineSpec) -> Result<Vec<String>> {
    let mut reader = csv::Reader::from_path(path)?;
    let headers = reader.headers()?.clone();
    let mut records = Vec::new();
    for row in reader.records() {
        let row = row?;
        let mut members = Vec::with_capacity(headers.len());
        for (name, text) in headers.iter().zip(row.iter()) {
            let value = json_value(text, type_of(spec, name));
            members.push(format!("{}:{value}", Value::from(name)));
        }
        records.push(format!("{{{}}}", members.join(",")));
    }
    Ok(records)
}

/// The type of a field, or of a feature that is looked up.
fn type_of(spec: &PipelineSpec, name: &str) -> Option<FieldType> {
    let field = spec.fields.iter().find(|field| field.name == name);
    if let Some(field) = field {
        return Some(field.field_type);
    }
    let mut features = spec.lookups.iter().flat_map(|lookup| &lookup.features);
    let feature = features.find(|feature| feature.name == name);
    feature.map(|feature| feature.feature_type)
}

/// A cell as JSON. A cell that is not a value of the type stays text, which the pipeline refuses by
/// name.
fn json_value(text: &str, field_type: Option<FieldType>) -> String {
    let is_plain = match field_type {
        _ if text.is_empty() => return "null".to_owned(),
        Some(FieldType::Number | FieldType::Integer) => text.parse::<serde_json::Number>().is_ok(),
        Some(FieldType::Boolean) => text == "true" || text == "false",
        _ => false,
    };
    if is_plain {
        text.to_owned()
    } else {
        Value::from(text).to_string()
    }
}
