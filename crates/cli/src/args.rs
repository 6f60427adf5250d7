//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

use crate::registry::args::{Check, Keys, Location, Push, RegistryCommand, Rollback};

/// Serve trained models: fast, safe, and in the protocols that your clients already speak.
///
/// Start with a model you have:
///
///     tidegate serve model.onnx
///     curl localhost:8000/v2/models/model
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, verbatim_doc_comment)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Answer requests over REST (8000) and gRPC (8001)
    Serve(Serve),
    /// Run rows of a file through a model, without a server
    Predict(Predict),
    Load(Box<crate::load::Load>),
    /// List models: of a running server, or those found under paths
    Models(Models),
    /// Show what a model takes and gives, what it is made of, and what it needs
    Inspect(Inspect),
    /// Make a version of a model in the registry
    Push(Push),
    /// Hold a bundle against what it promises, for a continuous build
    Check(Check),
    /// Point an alias back at the last version that was good
    Rollback(Rollback),
    /// Look into the registry and keep it
    Registry {
        #[command(subcommand)]
        command: RegistryCommand,
        #[command(flatten)]
        location: Location,
    },
    /// Keys that sign versions, and those that encrypt them
    Keys(Keys),
    Doctor(crate::doctor::Doctor),
    Top(crate::top::Top),
    /// How the service level objectives of a running server stand
    Slo(Slo),
    /// The alerts of a running server
    Alerts(Alerts),
    /// What a running server costs
    Cost {
        #[command(subcommand)]
        command: crate::cost::CostCommand,
    },
    /// Tell nobody of some alerts for a while
    Silence {
        #[command(subcommand)]
        command: crate::silence::SilenceCommand,
    },
    /// Write rules for Prometheus, dashboards for Grafana and documents of OpenSLO
    Observe {
        #[command(subcommand)]
        command: crate::observe::ObserveCommand,
    },
    /// Print the OpenAPI description of the REST interface
    Openapi,
    /// Print a completion script for a shell
    Completions {
        /// The shell to complete for
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Default, ClapArgs)]
pub(crate) struct Serve {
    /// What to serve: an .onnx file, a bundle (a folder with model.toml), a Triton model, or a
    /// folder of these; without any, the registry is followed
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Follow the registry, also beside paths
    #[arg(long)]
    pub(crate) registry: bool,
    /// Where REST and /metrics listen; port 0 picks a free one [default: 127.0.0.1:8000]
    #[arg(long, value_name = "ADDR")]
    pub(crate) http: Option<SocketAddr>,
    /// Where gRPC listens; port 0 picks a free one [default: 127.0.0.1:8001]
    #[arg(long, value_name = "ADDR")]
    pub(crate) grpc: Option<SocketAddr>,
    /// The folder that belongs to this server; a second server on the same folder is refused
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// The configuration file; see docs/reference/configuration.md
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The engine of models that do not choose one themselves
    #[arg(long)]
    pub(crate) engine: Option<Engine>,
    /// How the log on standard error looks
    #[arg(long)]
    pub(crate) log_format: Option<LogFormat>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Predict {
    /// The model: an .onnx file, a bundle, or a Triton model
    #[arg(value_name = "MODEL")]
    pub(crate) model: PathBuf,
    /// The rows: .json, .csv or .npy
    #[arg(long, value_name = "FILE")]
    pub(crate) input: PathBuf,
    /// How the outputs are printed
    #[arg(long, default_value = "json")]
    pub(crate) output: OutputFormat,
    /// The engine
    #[arg(long)]
    pub(crate) engine: Option<Engine>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Models {
    /// Where to look for models; without it a running server is asked
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// The server to ask
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8000")]
    pub(crate) url: String,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Slo {
    #[command(subcommand)]
    pub(crate) command: Option<crate::slo::SloCommand>,
    /// The server to ask
    #[arg(
        long,
        global = true,
        value_name = "URL",
        default_value = "http://127.0.0.1:8000"
    )]
    pub(crate) url: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Alerts {
    /// The server to ask
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8000")]
    pub(crate) url: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Inspect {
    /// An .onnx file, a bundle, a Triton model, or a folder of these
    #[arg(value_name = "PATH")]
    pub(crate) path: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    /// ONNX Runtime where its library is found, else portable
    Auto,
    /// ONNX Runtime, from its shared library
    Onnxruntime,
    /// Pure Rust, no shared library, fewer operators
    Portable,
}

impl From<Engine> for tidegate_core::EngineChoice {
    fn from(engine: Engine) -> Self {
        match engine {
            Engine::Auto => Self::Auto,
            Engine::Onnxruntime => Self::OnnxRuntime,
            Engine::Portable => Self::Portable,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One JSON object per line
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// One JSON object per row
    Json,
    /// A header and one line per row
    Csv,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What stands for something of the reader's.
    fn filled(command: &str) -> String {
        let (command, _) = command.split_once(" #").unwrap_or((command, ""));
        command
            .replace("$SERVER", "http://127.0.0.1:8000")
            .replace("\"…\"", "\"x\"")
            .replace("$(tidegate registry fetch fraud@champion)", "FOLDER")
    }

    /// The words of a command as a shell would part them; only `"` and `'` are used in the
    /// runbooks.
    fn words(command: &str) -> Vec<String> {
        let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
        for character in command.chars() {
            match (character, quote) {
                ('"' | '\'', None) => quote = Some(character),
                (character, Some(open)) if character == open => quote = None,
                (' ', None) => words.push(std::mem::take(&mut word)),
                (character, _) => word.push(character),
            }
        }
        words.push(word);
        words.retain(|word| !word.is_empty());
        words
    }

    /// The commands of ours in console blocks and between backticks.
    fn commands(page: &str) -> Vec<String> {
        let lines = page
            .lines()
            .map(|line| line.trim().trim_start_matches("$ "));
        let typed = lines
            .filter(|line| line.starts_with("tidegate "))
            .map(str::to_owned);
        let joined = page.replace('\n', " ");
        let quoted = joined.split('`').skip(1).step_by(2).map(str::trim);
        let quoted = quoted
            .filter(|text| text.starts_with("tidegate "))
            .map(str::to_owned);
        typed.chain(quoted.collect::<Vec<_>>()).collect()
    }

    #[test]
    fn every_command_of_a_runbook_can_be_typed() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/runbooks");
        let mut count = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            for command in commands(&std::fs::read_to_string(&path).unwrap()) {
                let is_whole = |word: &String| !matches!(word.as_str(), "|" | ">" | "…");
                let words: Vec<String> = words(&filled(&command))
                    .into_iter()
                    .take_while(is_whole)
                    .collect();
                let parsed = Args::try_parse_from(words.iter().filter(|word| !word.is_empty()));
                // A command that is only named, as in `tidegate models`, may lack its arguments.
                let missing = |error: &clap::Error| {
                    use clap::error::ErrorKind::{
                        DisplayHelpOnMissingArgumentOrSubcommand, MissingRequiredArgument,
                    };
                    matches!(
                        error.kind(),
                        MissingRequiredArgument | DisplayHelpOnMissingArgumentOrSubcommand
                    )
                };
                let wrong = parsed.err().filter(|error| !missing(error));
                assert!(
                    wrong.is_none(),
                    "{}: {command}: {}",
                    path.display(),
                    wrong.unwrap()
                );
                count += 1;
            }
        }
        assert!(count > 40, "{count} commands were found");
    }
}
