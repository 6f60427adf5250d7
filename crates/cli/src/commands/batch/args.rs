//! The arguments of `tidegate batch`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use tidegate_batch::{Format, JobSpec};

use crate::options::{Engine, RegistryLocation};

/// Score tables with a version: files in, predictions in Parquet out, exactly once
#[derive(Debug, Args)]
pub(in crate::commands) struct Batch {
    #[command(subcommand)]
    pub(super) command: BatchCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum BatchCommand {
    /// Score tables; run again after a crash, it does only what is missing
    Run(Box<RunArgs>),
    /// Show how far a job has come, and what it has made
    Show(ShowArgs),
    /// List the jobs that were begun on this machine
    List(ListArgs),
    /// Go on with a job where it stopped, with the version that it began with
    Resume(ResumeArgs),
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// The version, such as fraud:7 or fraud@champion, or the path of a model
    #[arg(long, value_name = "MODEL")]
    pub(super) model: String,
    /// Files, folders or patterns such as 'data/dt=*/*.parquet'; may be given several times
    #[arg(long, value_name = "PATH", required = true, num_args = 1..)]
    pub(super) input: Vec<String>,
    /// The folder for the predictions
    #[arg(long, value_name = "FOLDER", required_unless_present = "explain")]
    pub(super) output: Option<PathBuf>,
    /// Columns of the input to write beside the predictions, or `all`
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub(super) keep: Vec<String>,
    /// The columns of the model's only input, in order, if model.toml does not declare them
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub(super) columns: Vec<String>,
    /// The format of all files [default: by the end of each name]
    #[arg(long)]
    pub(super) format: Option<FormatArg>,
    /// The least rows of a unit of work, which is done as a whole
    #[arg(long, value_name = "ROWS", default_value_t = JobSpec::UNIT_ROWS)]
    pub(super) unit_rows: u64,
    /// Show the plan, the binding of columns and an estimate, and write nothing
    #[arg(long)]
    pub(super) explain: bool,
    #[command(flatten)]
    pub(super) resources: Resources,
    #[command(flatten)]
    pub(super) location: RegistryLocation,
}

/// How a job runs, which does not change what it makes.
#[derive(Debug, Args)]
pub(super) struct Resources {
    /// Stop if more rows than this cannot be scored [default: no limit]
    #[arg(long, value_name = "N")]
    pub(super) max_errors: Option<u64>,
    /// How many units to work on at the same time [default: the number of cores]
    #[arg(long, value_name = "N")]
    pub(super) threads: Option<usize>,
    /// The engine, where the bundle leaves it open
    #[arg(long)]
    pub(super) engine: Option<Engine>,
    /// Print the outcome as JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct ResumeArgs {
    /// The output folder of the job, or its id as `batch list` shows it
    #[arg(value_name = "JOB")]
    pub(super) job: String,
    #[command(flatten)]
    pub(super) resources: Resources,
    #[command(flatten)]
    pub(super) location: RegistryLocation,
}

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// The output folder of the job, or its id as `batch list` shows it
    #[arg(value_name = "JOB")]
    pub(super) job: String,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) location: RegistryLocation,
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) location: RegistryLocation,
}

/// A format of tables.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum FormatArg {
    Parquet,
    Csv,
    Jsonl,
    Arrow,
}

impl From<FormatArg> for Format {
    fn from(format: FormatArg) -> Self {
        match format {
            FormatArg::Parquet => Self::Parquet,
            FormatArg::Csv => Self::Csv,
            FormatArg::Jsonl => Self::JsonLines,
            FormatArg::Arrow => Self::Arrow,
        }
    }
}
