//! `tidegate predict`.

mod records;

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use serde_json::{Map, Value};
use tidegate_serving::{
    InProcess, InferRequest, InferResponse, MetricRegistry, Models, SequenceId, SequenceRequest,
    Serving, Target,
};

use crate::options::Engine;
use crate::output::{DataOutput, named_problem, printable_json};
use crate::{engines, rows};

/// Rows that are run at once; bounds the memory for inputs and outputs of large files.
const CHUNK_ROWS: usize = 1024;

/// Run the rows of a file through a model, without a server
#[derive(Debug, Args)]
pub(super) struct Predict {
    /// The model: an .onnx file, a bundle, or a Triton model
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// The file with the rows: .json, .csv or .npy; records for a model with a pipeline
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// The format of the outputs
    #[arg(long, default_value = "json")]
    output: OutputFormat,
    /// The engine that runs the model
    #[arg(long)]
    engine: Option<Engine>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OutputFormat {
    /// One JSON object per row
    Json,
    /// A header and one line per row
    Csv,
}

/// In the environment of the process that runs the model.
const IS_CHILD: &str = "TIDEGATE_PREDICT_CHILD";

impl Predict {
    /// The model runs in a child: if it ends its process, there is still somebody to say so.
    pub(super) fn run(self) -> Result<ExitCode> {
        if std::env::var_os(IS_CHILD).is_some() {
            let kill = Some(rustix::process::Signal::KILL);
            let _ = rustix::process::set_parent_process_death_signal(kill);
            return self.predict();
        }
        let child = std::process::Command::new("/proc/self/exe")
            .args(std::env::args_os().skip(1))
            .env(IS_CHILD, "1")
            .status();
        let Ok(status) = child else {
            return self.predict();
        };
        match (status.code(), status.signal()) {
            (Some(code), _) => Ok(ExitCode::from(u8::try_from(code).unwrap_or(1))),
            (None, signal) => bail!(
                "{} crashed the process that ran it (signal {}): it may need more memory than there is",
                self.model.display(),
                signal.unwrap_or_default()
            ),
        }
    }

    fn predict(self) -> Result<ExitCode> {
        let engines = engines::discover_silently(self.engine.clone());
        // The request pipeline of the server, in this process: a row gets the same answer as over
        // HTTP.
        let models = Models::new(vec![self.model.clone()], engines, &MetricRegistry::new());
        let serving = Serving::new(models);
        let name = self.load(&serving)?;
        let version = serving.models().version(&name, None)?;
        if let Some(pipeline) = version.pipeline() {
            return self.predict_records(&serving, &version, pipeline);
        }
        let inputs = rows::read(
            &self.input,
            version.signature(),
            &version.plan().manifest.signature,
        )?;
        let total = inputs.first().map_or(0, |(_, tensor)| tensor.rows());

        // The chunks run one after the other, so one thread is enough.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let mut out = DataOutput::new();
        // A model with states takes the rows of the file as one sequence.
        let is_sequence = version.keeps_states();
        let chunk_rows = if is_sequence { 1 } else { CHUNK_ROWS };
        for first in (0..total).step_by(chunk_rows) {
            let count = chunk_rows.min(total - first);
            let target = Target {
                endpoint: name.clone(),
                version: None,
            };
            let mut request = InferRequest {
                sequence: is_sequence.then(|| place(first, total)),
                ..InferRequest::default()
            };
            for (input, tensor) in &inputs {
                let chunk = tensor.slice_rows(first, count);
                request.inputs.push((input.clone(), chunk));
            }
            let response = runtime.block_on(serving.answer(InProcess::new(target, request)))?;
            let columns = columns(&response, count);
            match self.output {
                OutputFormat::Json => print_json(&mut out, &columns, count)?,
                OutputFormat::Csv => print_csv(&mut out, &columns, count, first == 0)?,
            }
        }
        // Dropping the buffer flushes it too, but would hide an error such as a full disk.
        out.flush()?;
        Ok(ExitCode::SUCCESS)
    }

    /// Loads the model, and gives its name.
    fn load(&self, serving: &Serving) -> Result<String> {
        let report = serving.models().load_all();
        if let Some((name, reason)) = report.failed.first() {
            bail!(named_problem(name, reason));
        }
        match report.ready.as_slice() {
            [name] => Ok(name.clone()),
            names => bail!(
                "{} has several models ({}): give the path of one",
                self.model.display(),
                names.join(", ")
            ),
        }
    }
}

/// The place of a row in the sequence of all rows.
fn place(row: usize, rows: usize) -> Box<SequenceRequest> {
    Box::new(SequenceRequest {
        id: SequenceId::Number(1),
        start: row == 0,
        end: row + 1 == rows,
    })
}

/// An output with one value per row.
type Column<'a> = (&'a str, Vec<Value>);

fn columns(response: &InferResponse, count: usize) -> Vec<Column<'_>> {
    let specs = &response.version.signature().outputs;
    response
        .outputs
        .iter()
        .map(|output| {
            let name = specs[output.index].name.as_str();
            (name, rows::output_values(&output.tensor, count))
        })
        .collect()
}

fn print_json(out: &mut DataOutput, columns: &[Column<'_>], count: usize) -> Result<()> {
    for row in 0..count {
        let object: Map<String, Value> = columns
            .iter()
            .map(|(name, values)| ((*name).to_owned(), values[row].clone()))
            .collect();
        let line = Value::Object(object).to_string();
        writeln!(out, "{}", printable_json(&line))?;
    }
    Ok(())
}

fn print_csv(
    out: &mut DataOutput,
    columns: &[Column<'_>],
    count: usize,
    with_header: bool,
) -> Result<()> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    if with_header {
        let names = columns
            .iter()
            .flat_map(|(name, values)| rows::csv_header(name, values.first()));
        csv.write_record(names.map(|name| out.cell(name)))?;
    }
    for row in 0..count {
        let cells = columns
            .iter()
            .flat_map(|(_, values)| rows::csv_cells(&values[row]));
        csv.write_record(cells.map(|cell| out.cell(cell)))?;
    }
    out.write_all(&csv.into_inner()?)?;
    Ok(())
}
