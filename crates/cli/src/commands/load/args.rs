//! The command line of `tidegate load`.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::options::plain_server_url;

/// Send load to a server and report latency, throughput and errors
///
///     tidegate load digits --concurrency 8
///     tidegate load digits --rate 500 --arrival poisson --duration 30s --slo 'p99<20ms,errors<0.1%'
#[derive(Clone, Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Load {
    /// The models to send requests to; several models are mixed by weight
    #[arg(value_name = "MODEL[=WEIGHT]", required_unless_present_any = ["raw_body", "path"])]
    pub(crate) models: Vec<Weighted>,

    #[command(flatten)]
    pub(crate) server: Server,
    #[command(flatten)]
    pub(crate) requests: Requests,
    #[command(flatten)]
    pub(crate) rate: RateOptions,
    #[command(flatten)]
    pub(crate) results: Results,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct Server {
    /// The address of REST
    #[arg(
        long,
        visible_alias = "server",
        value_name = "URL",
        value_parser = plain_server_url,
        default_value = "http://127.0.0.1:8000"
    )]
    pub(crate) url: String,
    /// The address of gRPC
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8001")]
    pub(crate) grpc: String,
    /// The protocol of the requests
    #[arg(long, default_value = "rest-json")]
    pub(crate) protocol: Protocol,
    /// A header to send with every request; may be repeated
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    pub(crate) headers: Vec<(String, String)>,
    /// gRPC: HTTP/2 connections that all calls share. HTTP/1.1 with a rate: connections to open before
    /// the load begins
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive)]
    pub(crate) connections: usize,
    /// How long to wait for a response
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = positive_duration)]
    pub(crate) timeout: Duration,
    /// A deadline to send with each request; responses within it count as goodput
    #[arg(long, value_name = "TIME", value_parser = positive_duration)]
    pub(crate) deadline: Option<Duration>,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Requests")]
pub(crate) struct Requests {
    /// A file with the rows to send: .json, .csv or .npy; without one, random inputs are generated
    /// from the signature
    #[arg(long = "input", value_name = "[MODEL=]FILE")]
    pub(crate) inputs: Vec<ModelPath>,
    /// A bundle or folder with the rows to send in heldout/inputs.csv or inputs.csv
    #[arg(long, value_name = "[MODEL=]DIR")]
    pub(crate) samples: Vec<ModelPath>,
    /// Rows in each request
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive)]
    pub(crate) rows: usize,
    /// In generated inputs: the size of dynamic dimensions, except for the rows
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = positive)]
    pub(crate) open_extent: usize,
    /// The seed of generated inputs, of the mix of models and of the gaps between requests
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// A file to send unchanged to --path, instead of requests for models
    #[arg(long, value_name = "FILE", requires = "path", conflicts_with_all = ["models", "inputs", "samples", "deadline"])]
    pub(crate) raw_body: Option<PathBuf>,
    /// The path to send --raw-body to; without a body, GET requests are sent
    #[arg(long, value_name = "PATH", conflicts_with = "models")]
    pub(crate) path: Option<String>,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Rate and duration")]
pub(crate) struct RateOptions {
    /// Closed loop: the number of clients, each of which sends again when it has its response
    /// [default: 8]
    #[arg(long, value_name = "N", group = "pattern", value_parser = positive)]
    pub(crate) concurrency: Option<usize>,
    /// Open loop: requests per second, sent on time even if earlier ones are still unanswered
    #[arg(long, value_name = "R", group = "pattern", value_parser = rate)]
    pub(crate) rate: Option<f64>,
    /// Open loop: several rates, one after the other
    #[arg(long, value_name = "R,R", group = "pattern", value_delimiter = ',', value_parser = rate)]
    pub(crate) steps: Vec<f64>,
    /// Open loop: a file with the times at which to send, in seconds, one per line
    #[arg(
        long,
        value_name = "FILE",
        group = "pattern",
        conflicts_with = "warmup"
    )]
    pub(crate) replay: Option<PathBuf>,
    /// The speed of --replay: 2 sends twice as fast as recorded
    #[arg(long, value_name = "X", default_value_t = 1.0, requires = "replay", value_parser = rate)]
    pub(crate) speed: f64,
    /// The distribution of the gaps between requests
    #[arg(long, default_value = "constant")]
    pub(crate) arrival: Arrival,
    /// How long to measure each step or run [default: 10s, unless --requests or --replay is given]
    #[arg(long, value_name = "TIME", value_parser = positive_duration)]
    pub(crate) duration: Option<Duration>,
    /// How many requests to measure; with --duration, whichever ends first
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) requests: Option<u64>,
    /// How long to send before measuring begins
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration)]
    pub(crate) warmup: Duration,
    /// Open loop: the limit of requests in flight; further requests are not sent and count as errors
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = positive)]
    pub(crate) max_outstanding: usize,
    /// The number of sending threads
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive)]
    pub(crate) threads: usize,
    /// Make one run for each value: concurrency=1,2,4 or rate=100,200 or rows=1,8,64
    #[arg(long, value_name = "NAME=N,N", conflicts_with_all = ["steps", "replay", "path"])]
    pub(crate) sweep: Option<Sweep>,
    /// Find the highest rate that meets --slo: double --rate [default: 100] until --slo is not met,
    /// then bisect
    #[arg(long, requires = "slo", conflicts_with_all = ["sweep", "concurrency", "steps", "replay", "requests"])]
    pub(crate) find_max: bool,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Results")]
pub(crate) struct Results {
    /// Write the report as JSON; - prints it instead of the table
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write the runs as CSV, one per line; - prints them instead of the table
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Option<PathBuf>,
    /// Write the report as one self-contained HTML page with plots
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Objectives, such as 'p99<20ms,errors<0.1%'; if one is not met, the exit status is 1
    #[arg(long, value_name = "OBJECTIVES")]
    pub(crate) slo: Option<String>,
    /// Do not show progress
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    /// Open Inference Protocol over HTTP/1.1, tensors as JSON
    RestJson,
    /// Open Inference Protocol over HTTP/1.1, tensors as bytes
    RestBinary,
    /// Open Inference Protocol over gRPC
    Grpc,
}

impl From<Protocol> for tidegate_load::Protocol {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::RestJson => Self::RestJson,
            Protocol::RestBinary => Self::RestBinary,
            Protocol::Grpc => Self::Grpc,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Arrival {
    /// Equal gaps
    Constant,
    /// Exponential gaps, as from many independent users
    Poisson,
}

impl From<Arrival> for tidegate_load::Arrival {
    fn from(arrival: Arrival) -> Self {
        match arrival {
            Arrival::Constant => Self::Constant,
            Arrival::Poisson => Self::Poisson,
        }
    }
}

/// A model and its weight in the mix.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Weighted {
    pub(crate) model: String,
    pub(crate) weight: f64,
}

impl FromStr for Weighted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (model, weight) = match text.split_once('=') {
            None => (text, 1.0),
            Some((model, weight)) => (model, rate(weight)?),
        };
        if model.is_empty() {
            return Err("the model has no name".to_owned());
        }
        Ok(Self {
            model: model.to_owned(),
            weight,
        })
    }
}

/// What changes from run to run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Sweep {
    Concurrency(Vec<usize>),
    Rate(Vec<f64>),
    Rows(Vec<usize>),
}

impl FromStr for Sweep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (what, values) = text.split_once('=').ok_or("write a sweep as NAME=N,N")?;
        let values = values.split(',').map(str::trim);
        match what.trim() {
            "concurrency" => values
                .map(positive)
                .collect::<Result<_, _>>()
                .map(Self::Concurrency),
            "rate" => values.map(rate).collect::<Result<_, _>>().map(Self::Rate),
            "rows" => values
                .map(positive)
                .collect::<Result<_, _>>()
                .map(Self::Rows),
            other => Err(format!(
                "a sweep changes concurrency, rate or rows, not {other:?}"
            )),
        }
    }
}

/// A path for one model, or for all of them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ModelPath {
    pub(crate) model: Option<String>,
    pub(crate) path: PathBuf,
}

impl FromStr for ModelPath {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.split_once('=') {
            // A path may have a = of its own; the name of a model has no slash.
            Some((model, path)) if !model.contains('/') => Self {
                model: Some(model.to_owned()),
                path: path.into(),
            },
            _ => Self {
                model: None,
                path: text.into(),
            },
        })
    }
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or("write a header as NAME: VALUE")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

fn positive(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|number| *number > 0)
        .ok_or_else(|| "write a whole number from 1".to_owned())
}

fn rate(text: &str) -> Result<f64, String> {
    let number = text
        .parse::<f64>()
        .ok()
        // `inf` and `nan` parse as floats, but no schedule can be made of them.
        .filter(|number| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| "write a number above 0".to_owned())
}

fn positive_duration(text: &str) -> Result<Duration, String> {
    let duration = duration(text)?;
    if duration.is_zero() {
        Err("write a duration above 0".to_owned())
    } else {
        Ok(duration)
    }
}

/// A duration with a unit; a number alone is in seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let at = text.find(|c: char| c.is_alphabetic()).unwrap_or(text.len());
    let seconds = match &text[at..] {
        "us" => 1e-6,
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        unit => {
            return Err(format!(
                "{unit:?} is not a unit of time: write us, ms, s, m or h"
            ));
        }
    };
    let number: f64 = text[..at]
        .trim()
        .parse()
        .map_err(|_| "write a duration such as 500ms, 10s or 2m".to_owned())?;
    Duration::try_from_secs_f64(number * seconds).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(positive_duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(positive_duration("50ms"), Ok(Duration::from_millis(50)));
        assert_eq!(positive_duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(positive_duration("3"), Ok(Duration::from_secs(3)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        for wrong in ["", "s", "-1s", "0", "1 day", "1e400s", "NaNs"] {
            assert!(positive_duration(wrong).is_err(), "{wrong:?} was taken");
        }
    }

    #[test]
    fn sweeps_have_values() {
        assert_eq!(
            "concurrency=1, 2".parse(),
            Ok(Sweep::Concurrency(vec![1, 2]))
        );
        assert_eq!("rate=0.5".parse(), Ok(Sweep::Rate(vec![0.5])));
        assert_eq!("rows=8".parse(), Ok(Sweep::Rows(vec![8])));
        for wrong in ["rows", "rows=", "rows=0", "rate=x", "colour=1"] {
            assert!(wrong.parse::<Sweep>().is_err(), "{wrong:?} was taken");
        }
    }

    #[test]
    fn models_have_weights_and_paths_may_have_models() {
        assert_eq!(
            "a=2.5".parse(),
            Ok(Weighted {
                model: "a".to_owned(),
                weight: 2.5
            })
        );
        assert_eq!(
            "a".parse(),
            Ok(Weighted {
                model: "a".to_owned(),
                weight: 1.0
            })
        );
        assert!("a=0".parse::<Weighted>().is_err() && "=1".parse::<Weighted>().is_err());
        let of = |text: &str| text.parse::<ModelPath>().unwrap();
        assert_eq!(
            of("a=b/c.csv"),
            ModelPath {
                model: Some("a".to_owned()),
                path: "b/c.csv".into()
            }
        );
        assert_eq!(
            of("b/x=c.csv"),
            ModelPath {
                model: None,
                path: "b/x=c.csv".into()
            }
        );
    }
}
