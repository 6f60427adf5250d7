//! `tidegate predict`.

use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, bail};
use tidegate_core::{EngineChoice, Tensor};
use tidegate_engines::Engines;
use tidegate_serving::{InferRequest, InferResponse, Metrics, Models, Serving};

use crate::args::{OutputFormat, Predict};
use crate::table;

/// Rows that are in memory at once.
const CHUNK_ROWS: usize = 1024;

/// Runs a file through a model on this machine.
pub(crate) fn run(args: Predict) -> Result<()> {
    let engines = Engines::discover(None, args.engine.map_or(EngineChoice::Auto, Into::into));
    let metrics = Arc::new(Metrics::new());
    let serving = Serving::new(
        Models::new(vec![args.model.clone()], engines, metrics.clone()),
        metrics,
    );
    let report = serving.models().load_all();
    if let Some((name, reason)) = report.failed.first() {
        bail!("{name}: {reason}");
    }
    let [name] = report.ready.as_slice() else {
        bail!(
            "{} holds several models ({}): name one",
            args.model.display(),
            report.ready.join(", ")
        );
    };
    let version = serving.models().version(name, None)?;
    let inputs = table::read(&args.input, version.signature())?;
    let rows = inputs.first().map_or(0, |(_, tensor)| tensor.rows());

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for first in (0..rows).step_by(CHUNK_ROWS) {
        let count = CHUNK_ROWS.min(rows - first);
        let slice =
            |(name, tensor): &(String, Tensor)| (name.clone(), tensor.slice_rows(first, count));
        let request = InferRequest {
            model: name.clone(),
            inputs: inputs.iter().map(slice).collect(),
            ..Default::default()
        };
        let response = runtime.block_on(serving.infer(request, Instant::now()))?;
        print(&mut out, &response, args.output, first == 0, count)?;
    }
    out.flush()?;
    Ok(())
}

fn print(
    out: &mut impl Write,
    response: &InferResponse,
    format: OutputFormat,
    first: bool,
    rows: usize,
) -> Result<()> {
    let signature = response.version.signature();
    let columns: Vec<(&str, Vec<serde_json::Value>)> = response
        .outputs
        .iter()
        .map(|output| {
            (
                signature.outputs[output.index].name.as_str(),
                table::rows(&output.tensor, rows),
            )
        })
        .collect();
    match format {
        OutputFormat::Json => {
            for row in 0..rows {
                let fields = columns
                    .iter()
                    .map(|(name, values)| ((*name).to_owned(), values[row].clone()));
                let object: serde_json::Map<String, serde_json::Value> = fields.collect();
                writeln!(out, "{}", serde_json::Value::Object(object))?;
            }
        }
        OutputFormat::Csv => {
            let mut csv = csv::Writer::from_writer(out);
            if first {
                csv.write_record(
                    columns
                        .iter()
                        .flat_map(|(name, values)| table::header(name, values.first())),
                )?;
            }
            for row in 0..rows {
                csv.write_record(
                    columns
                        .iter()
                        .flat_map(|(_, values)| table::cells(&values[row])),
                )?;
            }
            csv.flush()?;
        }
    }
    Ok(())
}
