//! `tidegate baseline` and `tidegate drift`.

mod report;
mod table_file;
mod tables;

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use tidegate_quality::DriftReport;
use tidegate_quality::drift::DriftPolicy;
use tidegate_quality::profile::Baseline as Profiles;

use crate::output::{print_json, print_text};

/// Describe the data that a model was trained on
///
/// Reads a table twice: to find bins for each column, and to count the rows in them. `tidegate drift`
/// compares later data with the file that it writes. The data itself is not in that file, but the names
/// of frequent categories are.
#[derive(Debug, Args)]
pub(super) struct Baseline {
    /// A .csv file with a header, a .parquet file, or a folder with .parquet files
    #[arg(value_name = "FILE")]
    data: PathBuf,
    /// The table is of captured predictions: its columns are named as the fields, inputs and outputs
    #[arg(long)]
    captured: bool,
    /// The file to write
    #[arg(long, short, value_name = "FILE", default_value = "baseline.json")]
    output: PathBuf,
    /// A column whose numbers are labels without an order, such as a postal code; can be repeated.
    /// Columns with texts are found without it
    #[arg(long, value_name = "COLUMN")]
    category: Vec<String>,
    /// A column to leave out, such as an id; can be repeated
    #[arg(long, value_name = "COLUMN")]
    skip: Vec<String>,
}

/// Compare data with a baseline, and say which columns have drifted
///
/// Each column is tested: the shares of its bins, the order of its numbers, and what is missing, out
/// of range, new, or of another type. The false alarm rate holds for all columns together, if rows are
/// independent of each other.
#[derive(Debug, Args)]
pub(super) struct Drift {
    /// The file that `tidegate baseline` wrote
    baseline: PathBuf,
    /// A .csv file with a header, a .parquet file, or a folder with .parquet files
    #[arg(value_name = "FILE")]
    data: PathBuf,
    /// The table is of captured predictions: its columns are named as the fields, inputs and outputs
    #[arg(long)]
    captured: bool,
    /// The chance of an alarm on any column although none has drifted
    #[arg(long, value_name = "RATE", default_value_t = 0.01, value_parser = rate)]
    false_alarm_rate: f64,
    /// The least change that counts, as a share of rows: smaller ones are no drift, however sure
    #[arg(long, value_name = "SHARE", default_value_t = 0.02, value_parser = share)]
    least_effect: f64,
    /// Exit with status 1 if a column has drifted
    #[arg(long)]
    fail: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Baseline {
    pub(super) fn run(self) -> Result<ExitCode> {
        let baseline = tables::baseline(&self.data, self.captured, &self.category, &self.skip)?;
        let columns = baseline.columns();
        let rows = columns.first().map_or(0, |column| column.profile.rows());
        let json = baseline.to_file()?;
        std::fs::write(&self.output, json)
            .with_context(|| format!("cannot write {}", self.output.display()))?;
        let output = self.output.display();
        print_text(&format!(
            "{output}: {} columns of {rows} rows\n",
            columns.len()
        ));
        Ok(ExitCode::SUCCESS)
    }
}

impl Drift {
    pub(super) fn run(self) -> Result<ExitCode> {
        let baseline = self.read_baseline()?;
        let window = tables::window(&self.data, self.captured, &baseline)?;
        let policy = DriftPolicy {
            false_alarm_rate: self.false_alarm_rate,
            least_effect: self.least_effect,
            ..DriftPolicy::default()
        };
        let report = DriftReport::new(&baseline, &window, &policy);
        if self.json {
            print_json(&report)?;
        } else {
            print_text(&report::text(&report));
        }
        Ok(match self.fail && report.drifted().next().is_some() {
            true => ExitCode::FAILURE,
            false => ExitCode::SUCCESS,
        })
    }

    fn read_baseline(&self) -> Result<Profiles> {
        let path = self.baseline.display();
        let file = File::open(&self.baseline).with_context(|| format!("cannot read {path}"))?;
        let mut content = Vec::new();
        // One byte more than a baseline may have shows that the file is larger.
        file.take(Profiles::MAX_FILE_BYTES as u64 + 1)
            .read_to_end(&mut content)
            .with_context(|| format!("cannot read {path}"))?;
        Profiles::from_file(&content).with_context(|| format!("{path} is not a baseline"))
    }
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    match rate > 0.0 && rate < 1.0 {
        true => Ok(rate),
        false => Err("must be above 0 and below 1".to_owned()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    match (0.0..=1.0).contains(&share) {
        true => Ok(share),
        false => Err("must be from 0 to 1".to_owned()),
    }
}
