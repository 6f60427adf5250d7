//! `tidegate cascade`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, Subcommand};
use serde_json::Value;
use tidegate_delivery::cascade::{Pair, Threshold, class, confidence, fit};

use crate::output::{print_json, print_line};

/// Let a cheap version answer where it is confident
///
/// Find the confidence from which on version 1 may answer for version 2:
///
///     tidegate predict fraud-1 --input rows.csv > first.json
///     tidegate predict fraud-2 --input rows.csv > second.json
///     tidegate cascade fit first.json second.json --output probabilities --target 0.99
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Cascade {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Find the confidence from which on the first version may answer
    Fit(Fit),
}

#[derive(Debug, Args)]
struct Fit {
    /// What the cheap version answers to some rows, as `tidegate predict` prints it
    #[arg(value_name = "FIRST")]
    first: PathBuf,
    /// What the expensive version answers to the same rows
    #[arg(value_name = "SECOND")]
    second: PathBuf,
    /// The output with the probabilities
    #[arg(long, value_name = "NAME")]
    output: String,
    /// The share of all requests on which the cascade must name the class of the second version
    #[arg(long, value_name = "SHARE", default_value_t = 0.99)]
    target: f64,
    /// The chance that it does not, although the rows say so
    #[arg(long, value_name = "CHANCE", default_value_t = 0.05)]
    delta: f64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Cascade {
    pub(super) fn run(self) -> Result<ExitCode> {
        let Subcommands::Fit(fit) = self.command;
        fit.run()?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Fit {
    fn run(&self) -> Result<()> {
        let first = read(&self.first, &self.output)?;
        let second = read(&self.second, &self.output)?;
        let pairs = pairs(&first, &second)?;
        let threshold = fit(&pairs, self.target, self.delta)?;
        if self.json {
            return Ok(print_json(&threshold)?);
        }
        self.print(&threshold);
        Ok(())
    }

    fn print(&self, threshold: &Threshold) {
        let percent = |share: f64| format!("{:.2}%", 100.0 * share);
        let Threshold {
            confidence, pairs, ..
        } = *threshold;
        print_line!(
            "from a confidence of {confidence} on, the first version answers {} of the requests",
            percent(threshold.answered)
        );
        print_line!(
            "the cascade names the class of the second version in {} of {pairs} rows, and in at least {} with \
             a chance of {}",
            percent(threshold.agreement),
            percent(threshold.agreement_at_least),
            percent(1.0 - self.delta)
        );
        print_line!("");
        print_line!("[cascade]");
        print_line!("first = 1  # the number of the cheap version");
        print_line!("output = {:?}", self.output);
        print_line!("confidence = {confidence}");
        print_line!("audit = \"1%\"");
        // Where the first version answers less than all, it may disagree more often in what it answers.
        let agreement = 1.0 - (1.0 - self.target) / threshold.answered;
        if agreement > 0.0 {
            print_line!("agreement = {agreement:.4}");
        }
    }
}

/// The probabilities of each row.
fn read(path: &Path, output: &str) -> Result<Vec<Vec<f64>>> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
    let mut rows = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let number = number + 1;
        let row = serde_json::from_str::<Value>(line)
            .with_context(|| format!("{shown}: line {number} is no JSON"))?;
        let value = row.get(output);
        let value = value.ok_or_else(|| anyhow!("{shown}: line {number} has no {output:?}"))?;
        let probabilities = probabilities(value);
        rows.push(probabilities.ok_or_else(|| {
            anyhow!("{shown}: line {number}: {output:?} has something else than probabilities")
        })?);
    }
    Ok(rows)
}

/// The probabilities of a row: of each class, or of one alone.
fn probabilities(value: &Value) -> Option<Vec<f64>> {
    let numbers: Vec<f64> = match value {
        Value::Array(values) => values.iter().map(Value::as_f64).collect::<Option<_>>()?,
        alone => vec![alone.as_f64()?],
    };
    let is_probability = |number: &f64| (0.0..=1.0).contains(number);
    (!numbers.is_empty() && numbers.iter().all(is_probability)).then_some(numbers)
}

fn pairs(first: &[Vec<f64>], second: &[Vec<f64>]) -> Result<Vec<Pair>> {
    if first.len() != second.len() {
        let (first, second) = (first.len(), second.len());
        bail!("the first version has {first} rows and the second {second}: they must be the same");
    }
    let mut pairs = Vec::with_capacity(first.len());
    for (number, (first, second)) in first.iter().zip(second).enumerate() {
        if first.len() != second.len() {
            bail!("row {}: the versions have different classes", number + 1);
        }
        pairs.push(Pair {
            confidence: confidence(first),
            agrees: class(first) == class(second),
        });
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_both_versions_become_pairs() {
        let first = [vec![0.9, 0.1], vec![0.4, 0.6]];
        let second = [vec![0.6, 0.4], vec![0.7, 0.3]];
        let pairs = pairs(&first, &second).unwrap();
        assert_eq!((pairs[0].confidence, pairs[0].agrees), (0.9, true));
        assert_eq!((pairs[1].confidence, pairs[1].agrees), (0.6, false));
        assert!(super::pairs(&first, &second[..1]).is_err());
    }

    #[test]
    fn one_probability_is_confident_on_both_sides() {
        assert_eq!((confidence(&[0.1]), class(&[0.1])), (0.9, 0));
        assert_eq!(probabilities(&serde_json::json!([0.1, 1.2])), None);
        assert_eq!(probabilities(&serde_json::json!(0.3)), Some(vec![0.3]));
    }
}
