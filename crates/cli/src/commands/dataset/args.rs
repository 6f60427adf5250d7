//! The command line of `tidegate dataset`.

use std::path::PathBuf;
use std::str::FromStr;

use chrono::{DateTime, NaiveDate};
use clap::{Args, Subcommand};
use tidegate_datasets::DatasetReference;

use crate::options::{Place, period_or_zero};

/// Make data sets of captured predictions and their labels
#[derive(Debug, Args)]
pub(crate) struct Dataset {
    #[command(subcommand)]
    pub(super) command: DatasetCommand,
    #[command(flatten)]
    pub(super) place: Place,
    /// Print JSON
    #[arg(long, global = true)]
    pub(super) json: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum DatasetCommand {
    /// Make a data set; the same rows and labels again are the same data set
    Create(Create),
    /// List data sets
    List {
        /// Only those of this name
        #[arg(value_name = "NAME")]
        name: Option<String>,
    },
    /// Show the columns of a data set, and what it was made from
    Show {
        /// The data set, such as fraud@3
        #[arg(value_name = "DATASET", value_parser = reference)]
        dataset: DatasetReference,
    },
    /// Compare two data sets
    Diff {
        /// The first data set
        #[arg(value_name = "FROM", value_parser = reference)]
        from: DatasetReference,
        /// The second data set
        #[arg(value_name = "TO", value_parser = reference)]
        to: DatasetReference,
    },
    /// Write a data set to a Parquet file, and verify its digest
    Export(Export),
    /// Remove the file of a data set; what is known of it stays
    Delete {
        /// The data set, such as fraud@3
        #[arg(value_name = "DATASET", value_parser = reference)]
        dataset: DatasetReference,
    },
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// The endpoint whose predictions were captured
    #[arg(value_name = "ENDPOINT")]
    pub(super) endpoint: String,
    /// From when on: a day or a time in UTC, or how long ago, such as 7d
    #[arg(long, value_name = "TIME", default_value = "7d")]
    pub(super) from: Moment,
    /// Until before when [default: now]
    #[arg(long, value_name = "TIME")]
    pub(super) to: Option<Moment>,
    /// Only rows that have a label
    #[arg(long)]
    pub(super) labelled: bool,
    /// Only what this version answered
    #[arg(long, value_name = "NUMBER")]
    pub(super) version: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Export {
    /// The data set, such as fraud@3
    #[arg(value_name = "DATASET", value_parser = reference)]
    pub(super) dataset: DatasetReference,
    /// The file to write, such as fraud.parquet
    #[arg(long, short, value_name = "FILE")]
    pub(super) output: PathBuf,
    /// Replace the file if it exists
    #[arg(long)]
    pub(super) force: bool,
}

/// A moment, as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// In milliseconds since 1970.
    At(u64),
    /// So many milliseconds ago.
    Ago(u64),
}

impl Moment {
    /// In milliseconds since 1970.
    pub(super) fn at_ms(self, now_ms: u64) -> u64 {
        match self {
            Self::At(at_ms) => at_ms,
            Self::Ago(ago_ms) => now_ms.saturating_sub(ago_ms),
        }
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(period) = period_or_zero(text) {
            let ago_ms = u64::try_from(period.as_millis());
            return Ok(Self::Ago(ago_ms.unwrap_or(u64::MAX)));
        }
        let day = text.parse::<NaiveDate>().ok();
        let day = day.and_then(|day| Some(day.and_hms_opt(0, 0, 0)?.and_utc()));
        let time = day.or_else(|| Some(DateTime::parse_from_rfc3339(text).ok()?.to_utc()));
        let at_ms = time.and_then(|time| u64::try_from(time.timestamp_millis()).ok());
        at_ms.map(Self::At).ok_or_else(|| {
            format!("{text:?} is neither a day or time such as 2026-11-28T15:00:00Z nor a period such as 7d")
        })
    }
}

fn reference(text: &str) -> Result<DatasetReference, String> {
    text.parse()
        .map_err(|error: tidegate_datasets::DatasetError| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_day_a_time_or_how_long_ago() {
        let at_ms = |text: &str| {
            text.parse::<Moment>()
                .map(|moment| moment.at_ms(100_000_000))
        };
        assert_eq!(at_ms("1970-01-02"), Ok(86_400_000));
        assert_eq!(at_ms("1970-01-01T00:00:01.5Z"), Ok(1500));
        assert_eq!(at_ms("1970-01-01T01:00:00+01:00"), Ok(0));
        assert_eq!(at_ms("1d"), Ok(13_600_000));
        for wrong in ["", "yesterday", "1969-12-31", "2026-11-31", "7"] {
            assert!(at_ms(wrong).is_err(), "{wrong}");
        }
    }
}
